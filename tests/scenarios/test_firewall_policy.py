"""firewall: who reaches whom under an ingress policy, and firewalld (firewall.md)."""

import pytest

from tests.lab.firewalld import Firewalld
from tests.lab.network import Network
from tests.lab.packets import HOST4, OUTSIDE4, Servers, ask, outside_machine
from tests.scenarios.test_firewall import PORTMAP, bridge, network, newer, rules_with

isolated = pytest.param("isolated", marks=newer)
RESTRICTED = ["same-bridge", isolated]
NUMBERS = {"cni-red": 61, "cni-blue": 62, "cni-green": 63}


@pytest.fixture
def serve():
    """Start servers that end with the test."""
    servers = Servers()
    yield servers.start
    servers.close()


@pytest.fixture
def outside(host):
    """A machine beyond the host, which forwards everything that no policy forbids."""
    return outside_machine(host)


def network_of(host, name, policy, version="1.0.0", **keys):
    """A network with this policy on a bridge of its own, and published ports."""
    firewall = {"type": "firewall", "ingressPolicy": policy} | keys
    first = bridge(name, NUMBERS[name], hairpinMode=True)
    return Network(host, [first, PORTMAP, firewall], name=name, version=version)


@pytest.fixture
def attach(host):
    """A new container on a bridge with a policy."""

    def add(name, policy, runtime=None, **keys):
        container = host.container()
        network_of(host, name, policy, **keys).add(container, runtime=runtime)
        return container

    return add


def published(host_port):
    mapping = {"hostPort": host_port, "containerPort": 7000, "protocol": "tcp"}
    return {"portMappings": [mapping]}


@pytest.mark.parametrize("policy", RESTRICTED)
def test_restricted_bridges_do_not_reach_one_another(attach, serve, policy):
    red, blue = attach("cni-red", policy, published(18081)), attach("cni-blue", "same-bridge")
    assert not red.pings("10.62.0.2")
    assert not blue.pings("10.61.0.2")
    assert not blue.pings("fd61::2")
    serve(red, "red")
    assert ask(blue, "10.62.0.1", 18081) is None


@pytest.mark.parametrize("policy", RESTRICTED)
def test_a_restricted_bridge_reaches_open_ones_and_the_world(attach, outside, policy):
    red = attach("cni-red", policy)
    attach("cni-blue", "open")
    assert red.pings("10.62.0.2")
    assert red.pings(OUTSIDE4)
    assert red.pings("10.61.0.1")


@pytest.mark.parametrize("policy", RESTRICTED)
def test_published_ports_of_a_restricted_bridge_serve_the_world(
    host, attach, outside, serve, policy
):
    serve(attach("cni-red", policy, published(18081)), "red")
    assert ask(outside, HOST4, 18081).tag == "red"
    assert ask(host, "127.0.0.1", 18081).tag == "red"
    assert ask(host, HOST4, 18081).tag == "red"


@pytest.mark.parametrize("policy", RESTRICTED)
def test_the_world_reaches_a_restricted_bridge_by_its_address(host, attach, outside, policy):
    attach("cni-red", policy)
    assert outside.pings("10.61.0.2")
    host.run("ping", "-c2", "-W1", "-n", "10.61.0.2")


@pytest.mark.ours("the reference lets them in")
@pytest.mark.parametrize("policy", RESTRICTED)
def test_open_bridges_do_not_reach_restricted_ones(attach, policy):
    attach("cni-red", policy)
    blue = attach("cni-blue", "open")
    assert not blue.pings("10.61.0.2")
    assert not blue.pings("fd61::2")


@pytest.mark.parametrize("policy", ["", "open", "same-bridge"])
def test_containers_of_a_bridge_reach_one_another(attach, policy):
    first = attach("cni-red", policy)
    attach("cni-red", policy)
    assert first.pings("10.61.0.3")
    assert first.pings("fd61::3")


@pytest.fixture(params=[None, "0", "1"], ids=["unset", "no nf-call", "nf-call"])
def bridge_netfilter(request, host):
    """Whether bridged packets pass iptables."""
    key = "/proc/sys/net/bridge/bridge-nf-call-iptables"
    if request.param is None:
        return
    if host.try_run("test", "-e", key).returncode:
        pytest.skip("this kernel has no br_netfilter")
    host.run("sh", "-c", f"echo {request.param} > {key}")


@newer
def test_isolated_containers_do_not_reach_one_another(attach, serve, bridge_netfilter):
    first = attach("cni-red", "isolated")
    second = attach("cni-red", "isolated", published(18081))
    serve(second, "red")
    assert not first.pings("10.61.0.3")
    assert not first.pings("fd61::3")
    assert ask(first, "10.61.0.1", 18081) is None
    assert first.pings("10.61.0.1")
    assert first.pings("fd61::1")


@newer
def test_isolation_is_checked_and_ends_with_the_policy(host, attach):
    container = host.container()
    red = network_of(host, "cni-red", "isolated")
    result = red.add(container)
    assert red.check(container).ok
    (port,) = host.ports("cni-red")
    host.run("bridge", "link", "set", "dev", port, "isolated", "off")
    assert red.check(container).code == 999
    firewall = red.conf(red.plugins[-1], result)
    host.add(firewall, container)
    host.delete(firewall, container)
    host.add(firewall | {"ingressPolicy": "same-bridge"}, container)
    second = attach("cni-red", "same-bridge")
    assert second.pings("10.61.0.2")


@pytest.mark.ours("the reference does not check isolation")
def test_check_tells_lost_isolation(host):
    container = host.container()
    red = network_of(host, "cni-red", "same-bridge")
    red.add(container)
    assert red.check(container).ok
    host.run("nft", "flush", "map", "ip", "cni_plugins", "isolation")
    assert red.check(container).code == 999


@pytest.mark.ours("the reference never removes isolation")
@pytest.mark.parametrize("policy", RESTRICTED)
def test_the_last_container_takes_its_bridge_out_of_the_rules(host, policy):
    red = network_of(host, "cni-red", policy)
    first, last = host.container(), host.container()
    red.add(first)
    red.add(last)
    red.delete(first)
    assert rules_with(host, "cni-red") != []
    red.delete(last)
    assert rules_with(host, "cni-red") == []


@pytest.mark.ours("GC of the reference does nothing")
def test_gc_of_the_last_container_does_as_well(host):
    red = network_of(host, "cni-red", "same-bridge", version="1.1.0")
    container = host.container()
    red.add(container)
    container.vanish()
    red.collect()
    assert rules_with(host, "cni-red") == []


@pytest.mark.parametrize("policy", RESTRICTED)
def test_a_bridge_stays_restricted_while_it_has_containers(host, attach, policy):
    red = network_of(host, "cni-red", policy)
    first = host.container()
    red.add(first)
    attach("cni-red", policy)
    blue = attach("cni-blue", "same-bridge")
    red.delete(first)
    assert not blue.pings("10.61.0.3")


@pytest.mark.ours("drops of isolated stay there")
def test_a_new_policy_of_a_bridge_replaces_the_old_one(host, attach):
    container = host.container()
    red = network_of(host, "cni-red", "isolated")
    red.add(container)
    red.delete(container)
    first = attach("cni-red", "same-bridge")
    second = attach("cni-red", "same-bridge")
    second_address = second.addresses()[0].split("/")[0]
    assert first.pings(second_address)


def test_an_administrator_s_accept_does_not_end_isolation(host, attach):
    attach("cni-red", "same-bridge")
    blue = attach("cni-blue", "same-bridge")
    host.run("iptables", "-I", "CNI-ADMIN", "-j", "ACCEPT")
    assert not blue.pings("10.61.0.2")


@pytest.fixture
def firewalld(tmp_path):
    """A firewalld on a bus of its own."""
    with Firewalld(tmp_path / "bus") as daemon:
        yield daemon


@pytest.fixture
def zoned(host, container, firewalld):
    """Call firewall with firewalld running, for a container that has its addresses."""
    before = host.add(network(host).conf(bridge()), container)

    def call(command, **keys):
        conf = network(host).conf({"type": "firewall", **keys}, before.json)
        return host.cni(command, conf, container, **firewalld.environ)

    return call


SOURCES = {("trusted", "10.61.0.2/32"), ("trusted", "fd61::2/128")}


@pytest.mark.parametrize(
    "keys",
    [{}, {"backend": ""}, {"backend": "firewalld"}, {"firewalldZone": ""}],
    ids=["found", "empty", "asked for", "empty zone"],
)
def test_addresses_are_sources_of_a_firewalld_zone(zoned, firewalld, keys):
    assert zoned("ADD", **keys).ok
    assert firewalld.sources == SOURCES
    assert zoned("CHECK", **keys).ok
    for _ in range(2):
        assert zoned("DEL", **keys).ok
        assert firewalld.sources == set()


def test_the_zone_can_be_another(zoned, firewalld):
    assert zoned("ADD", firewalldZone="work").ok
    assert {zone for zone, _ in firewalld.sources} == {"work"}
    assert zoned("DEL", firewalldZone="work").ok
    assert firewalld.sources == set()


def test_a_source_that_is_in_the_zone_already_is_fine(zoned, firewalld):
    firewalld.refusal = "ZONE_ALREADY_SET: 10.61.0.2/32"
    assert zoned("ADD").ok


def test_a_refusal_of_firewalld_is_an_error(zoned, firewalld):
    firewalld.refusal = "INVALID_ZONE: nowhere"
    answer = zoned("ADD")
    assert answer.code == 999
    assert "INVALID_ZONE" in answer.msg


@pytest.mark.ours("the reference keeps what it did before it failed")
def test_a_refusal_of_firewalld_leaves_nothing(host, zoned, firewalld):
    firewalld.refusal = "INVALID_ZONE: nowhere"
    zoned("ADD", ingressPolicy="same-bridge")
    assert rules_with(host, "10.61.0.2") == []
    assert rules_with(host, "cni-red") == []


@pytest.mark.ours("the reference ignores what firewalld says")
def test_check_tells_a_source_that_a_reload_has_lost(zoned, firewalld):
    zoned("ADD")
    firewalld.sources.clear()
    answer = zoned("CHECK")
    assert answer.code == 999
    assert "10.61.0.2" in answer.msg


def test_firewalld_that_was_asked_for_must_run(host, container):
    red = network(host, backend="firewalld")
    result = host.add(red.conf(red.plugins[0]), container).json
    conf = red.conf(red.plugins[-1], result)
    environ = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/run/no-bus"}
    assert host.refused(conf, container, **environ).code == 999
    assert rules_with(host, "10.61.0.2") == []


@pytest.mark.ours("the reference fails")
def test_del_does_not_need_firewalld(host, container):
    red = network(host, backend="firewalld")
    result = host.add(red.conf(red.plugins[0]), container).json
    environ = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/run/no-bus"}
    host.delete(red.conf(red.plugins[-1], result), container, **environ)


def test_policies_hold_beside_firewalld(host, firewalld, outside):
    blue, red = host.container(), host.container()
    environ = firewalld.environ
    network_of(host, "cni-red", "same-bridge", backend="firewalld").add(red, **environ)
    network_of(host, "cni-blue", "same-bridge", backend="firewalld").add(blue, **environ)
    assert not blue.pings("10.61.0.2")
    assert blue.pings(OUTSIDE4)


@pytest.mark.ours("the reference has no closed (plugins#584)")
def test_a_closed_container_is_reached_by_the_host_and_its_published_ports(
    host, attach, outside, serve
):
    red, blue = attach("cni-red", "closed", published(18081)), attach("cni-blue", "open")
    host.run("ip", "route", "replace", "10.61.0.0/24", "dev", "cni-red")
    assert not outside.pings("10.61.0.2")
    assert not outside.pings("fd61::2")
    assert not blue.pings("10.61.0.2")
    serve(red, "red")
    assert ask(outside, HOST4, 18081).tag == "red"
    assert host.pings("10.61.0.2")
    assert red.pings(OUTSIDE4)


@pytest.mark.ours("the reference has no closed")
def test_what_was_closed_opens_with_another_policy_and_goes_with_del(host, outside):
    red, container = network_of(host, "cni-red", "closed"), host.container()
    red.add(container)
    assert red.check(container).ok
    result, _ = red.results[container.id, "eth0"]
    host.add(network_of(host, "cni-red", "open").conf({"type": "firewall"}, result), container)
    assert outside.pings("10.61.0.2")
    red.delete(container)
    assert rules_with(host, "10.61.0.2") == []


@pytest.mark.ours("the reference marks nothing")
@pytest.mark.parametrize("text", ["0x80000\n", "524288"])
def test_a_host_may_choose_the_bit_of_the_mark(host, container, outside, text):
    host.run("sh", "-c", "cp -a /etc /run/etc && mount --bind /run/etc /etc")
    host.write("/etc/cni/firewall/mark", text)
    host.run("iptables", "-P", "FORWARD", "DROP")
    red = network_of(host, "cni-red", "same-bridge")
    red.add(container)
    assert container.pings(OUTSIDE4)
    assert red.check(container).ok
    rules = host.rules()
    assert "0x80000" in rules.replace("0x00080000", "0x80000")
    assert "0x1000 " not in rules.replace("0x00001000", "0x1000")


@pytest.mark.ours("the reference marks nothing")
@pytest.mark.parametrize("text", ["", "0x3000", "one", "0x100000000", "-1"])
def test_a_mark_that_is_no_bit_is_an_error_that_names_the_file(host, container, text):
    host.run("sh", "-c", "cp -a /etc /run/etc && mount --bind /run/etc /etc")
    host.write("/etc/cni/firewall/mark", text)
    red = network_of(host, "cni-red", "same-bridge")
    answer = red.try_add(container)
    assert answer.code == 7
    assert "/etc/cni/firewall/mark" in answer.msg
    red.delete(container)
