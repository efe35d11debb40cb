"""portmap behind bridge: who reaches a published port, until DEL or GC (portmap.md)."""

import shutil
from typing import NamedTuple

import pytest

from tests.lab.host import Container
from tests.lab.network import Network
from tests.lab.packets import HOST4, HOST6, OUTSIDE4, OUTSIDE6, Servers, ask, outside_machine

WEB = {"hostPort": 18080, "containerPort": 7000, "protocol": "tcp"}
DNS = {"hostPort": 18053, "containerPort": 7000, "protocol": "udp"}
GATEWAY4, GATEWAY6 = "10.60.0.1", "fd60::1"
ROUTE_LOCALNET = "net/ipv4/conf/cni-web/route_localnet"
BRIDGE = {
    "type": "bridge",
    "bridge": "cni-web",
    "isGateway": True,
    "hairpinMode": True,
    "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "10.60.0.0/24"}], [{"subnet": "fd60::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
    },
}
STATIC = BRIDGE | {
    "ipam": {
        "type": "static",
        "addresses": [{"address": "10.60.0.9/24", "gateway": GATEWAY4}],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
}
newer = pytest.mark.ours("Debian's release of the reference is older")
BACKENDS = [{}, {"backend": "iptables"}, pytest.param({"backend": "nftables"}, marks=newer)]


class Site(NamedTuple):
    """A container with a server, and the network that publishes it."""

    network: Network
    container: Container

    def call(self, command, **environ):
        """portmap alone, with the result and the mappings that the runtime kept."""
        return self.network.host.cni(command, self.conf, self.container, **environ)

    def delete(self, **environ):
        self.network.host.delete(self.conf, self.container, **environ)

    @property
    def conf(self):
        kept = self.network.results[self.container.id, "eth0"]
        return self.network.conf(self.network.plugins[-1], *kept)


def network_of(host, first=BRIDGE, name="web", version="1.0.0", **keys):
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}} | keys
    return Network(host, [first, portmap], name=name, version=version)


@pytest.fixture
def serve():
    """Start servers that end with the test."""
    servers = Servers()
    yield servers.start
    servers.close()


@pytest.fixture
def outside(host):
    return outside_machine(host)


@pytest.fixture
def publish(host, serve):
    """A new container that says its tag on port 7000, with these mappings."""

    def run(*mappings, tag="web", **keys):
        network, container = network_of(host, **keys), host.container()
        network.add(container, runtime={"portMappings": list(mappings)})
        serve(container, tag)
        return Site(network, container)

    return run


@pytest.fixture(params=BACKENDS, ids=["chosen", "iptables", "nftables"])
def backend(request):
    return request.param


def forwards(host, *words):
    """Whether rules are left in which one of the words is."""
    rules = host.rules()
    return any(word in rules for word in words)


def test_the_result_is_handed_on(host, container, backend):
    network = network_of(host, **backend)
    before = host.add(network.conf(BRIDGE), container).json
    conf = network.conf(network.plugins[-1], before, {"portMappings": [WEB]})
    assert host.add(conf, container).json == before


def test_the_world_reaches_the_container_and_is_seen(publish, outside, backend):
    publish(WEB, DNS, **backend)
    assert ask(outside, HOST4, 18080) == ("web", OUTSIDE4)
    assert ask(outside, HOST6, 18080) == ("web", OUTSIDE6)
    assert ask(outside, HOST4, 18053, "udp") == ("web", OUTSIDE4)
    assert ask(outside, HOST6, 18053, "udp") == ("web", OUTSIDE6)


def test_an_address_of_static_is_published_as_well(publish, outside, backend):
    publish(WEB, first=STATIC, **backend)
    assert ask(outside, HOST4, 18080) == ("web", OUTSIDE4)
    assert ask(outside, HOST6, 18080) is None


def test_the_host_reaches_it_on_every_address(host, publish, outside, backend):
    publish(WEB, **backend)
    assert host.sysctl(ROUTE_LOCALNET) == "1"
    assert ask(host, "127.0.0.1", 18080) == ("web", GATEWAY4)
    assert ask(host, HOST4, 18080).tag == "web"
    assert ask(host, HOST6, 18080).tag == "web"


def test_the_container_reaches_itself(publish, outside, backend):
    site = publish(WEB, **backend)
    assert ask(site.container, HOST4, 18080) == ("web", GATEWAY4)
    assert ask(site.container, HOST6, 18080) == ("web", GATEWAY6)


def test_a_sibling_reaches_it(publish, outside, backend):
    publish(WEB, **backend)
    sibling = publish(tag="sibling", **backend).container
    assert ask(sibling, HOST4, 18080).tag == "web"
    assert ask(sibling, HOST6, 18080).tag == "web"


def test_a_host_ip_is_the_only_address(host, publish, outside, backend):
    publish(WEB | {"hostIP": HOST4}, **backend)
    assert ask(outside, HOST4, 18080).tag == "web"
    assert ask(host, "127.0.0.1", 18080) is None
    assert ask(outside, HOST6, 18080) is None


@pytest.mark.parametrize(
    ("wildcard", "open_", "shut"), [("::", HOST6, HOST4), ("0.0.0.0", HOST4, HOST6)]
)
def test_a_wildcard_is_for_its_family(publish, outside, backend, wildcard, open_, shut):
    publish(WEB | {"hostIP": wildcard}, **backend)
    assert ask(outside, open_, 18080).tag == "web"
    assert ask(outside, shut, 18080) is None


def test_without_snat_only_the_world_is_served(host, publish, outside, backend):
    publish(WEB, snat=False, **backend)
    assert ask(outside, HOST4, 18080) == ("web", OUTSIDE4)
    assert ask(host, "127.0.0.1", 18080) is None
    assert host.sysctl(ROUTE_LOCALNET) == "0"


@newer
def test_masq_all_hides_everybody(publish, outside, backend):
    publish(WEB, masqAll=True, **backend)
    assert ask(outside, HOST4, 18080) == ("web", GATEWAY4)
    assert ask(outside, HOST6, 18080) == ("web", GATEWAY6)


def test_udp_clients_follow_a_replaced_container(publish, outside, backend):
    first = publish(DNS, tag="first", **backend)
    assert ask(outside, HOST4, 18053, "udp", 40001).tag == "first"
    first.delete()
    publish(DNS, tag="second", **backend)
    assert ask(outside, HOST4, 18053, "udp", 40001).tag == "second"


@pytest.mark.ours("flows are cut at ADD alone there (plugins#1190)")
def test_udp_clients_return_to_the_host_after_del(host, publish, serve, outside, backend):
    serve(host, "host", 18053)
    site = publish(DNS, **backend)
    assert ask(outside, HOST4, 18053, "udp", 40002).tag == "web"
    site.delete()
    assert ask(outside, HOST4, 18053, "udp", 40002).tag == "host"


@pytest.mark.skipif(not shutil.which("conntrack"), reason="conntrack(8) is not installed")
@pytest.mark.ours("every flow with that port is cut there")
def test_flows_to_other_hosts_with_that_port_are_spared(host, publish, serve, outside, backend):
    publish(WEB, **backend)
    serve(outside, "resolver", 18053)
    assert ask(host, OUTSIDE4, 18053, "udp", 40003).tag == "resolver"
    publish(DNS, **backend)
    assert "sport=40003" in host.run("conntrack", "-L", "-p", "udp")


CONDITIONS = [
    {"backend": "iptables", "conditionsV4": ["-s", OUTSIDE4]},
    pytest.param({"backend": "nftables", "conditionsV4": ["ip", "saddr", OUTSIDE4]}, marks=newer),
    pytest.param({"conditionsV4": ["ip", "saddr", OUTSIDE4]}, marks=newer),
]


@pytest.mark.parametrize("keys", CONDITIONS)
def test_conditions_are_of_one_container(host, publish, outside, keys):
    site = publish(WEB, **keys)
    other = {"backend": keys.get("backend", "nftables")}
    publish(WEB | {"hostPort": 18081}, tag="other", **other)
    assert ask(outside, HOST4, 18080).tag == "web"
    assert ask(host, HOST4, 18080) is None
    assert ask(host, HOST4, 18081).tag == "other"
    site.delete()
    assert not forwards(host, "18080")


def test_del_closes_the_port_without_a_namespace(host, publish, outside, backend):
    site = publish(WEB, DNS, **backend)
    site.container.vanish()
    for _ in range(2):
        site.delete(CNI_NETNS="")
        assert ask(outside, HOST4, 18080) is None
        assert not forwards(host, "18080", "18053", "10.60.0.2", "fd60::2")


def test_del_without_prev_result_closes_the_port(host, publish, outside, backend):
    site = publish(WEB, **backend)
    network = site.network
    host.delete(network.conf(network.plugins[-1], None, {"portMappings": [WEB]}), site.container)
    assert not forwards(host, "18080", "10.60.0.2", "fd60::2")


@pytest.mark.ours("without mappings the reference does nothing")
def test_del_without_mappings_closes_the_port(host, publish, outside, backend):
    site = publish(WEB, **backend)
    site.network.delete(site.container, cached=False)
    assert not forwards(host, "18080", "10.60.0.2", "fd60::2")


def test_add_twice_needs_one_del(host, publish, outside, backend):
    site = publish(WEB, **backend)
    assert site.call("ADD").ok
    assert ask(outside, HOST4, 18080).tag == "web"
    site.delete()
    assert not forwards(host, "18080", "10.60.0.2", "fd60::2")


def test_networks_of_a_container_are_independent(host, publish, outside, backend):
    first = publish(WEB, **backend)
    second = network_of(host, name="second", **backend)
    conf = second.conf(
        second.plugins[-1],
        first.conf["prevResult"],
        {"portMappings": [WEB | {"hostPort": 18081}]},
    )
    host.add(conf, first.container)
    first.delete()
    assert ask(outside, HOST4, 18080) is None
    assert ask(outside, HOST4, 18081).tag == "web"
    host.delete(conf, first.container)
    assert not forwards(host, "18081", "10.60.0.2")


@pytest.mark.ours("GC of the reference does nothing")
def test_gc_closes_what_has_no_container(host, publish, outside, backend):
    keys = {"version": "1.1.0", **backend}
    publish(WEB, tag="lost", **keys)
    kept = publish(WEB | {"hostPort": 18081}, tag="kept", **keys)
    publish(WEB | {"hostPort": 18082}, tag="other", name="other", first=STATIC, **keys)
    kept.network.collect(kept.container)
    assert ask(outside, HOST4, 18080) is None
    assert ask(outside, HOST4, 18081).tag == "kept"
    assert ask(outside, HOST4, 18082).tag == "other"
    assert not forwards(host, "18080", "10.60.0.2")
    assert kept.call("CHECK").ok


@pytest.mark.ours("the reference has no ranges")
def test_of_overlapping_mappings_the_first_counts(publish, outside):
    site = publish(WEB, {"hostPort": 18079, "hostPortEnd": 18081, "containerPort": 6998})
    assert ask(outside, HOST4, 18080).tag == "web"
    assert site.call("CHECK").ok
