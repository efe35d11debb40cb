"""flannel: what is delegated, kept and replayed; two hosts of a cluster (flannel.md)."""

import json
import stat

import pytest

from tests.lab.flannel import MTU, SUBNET_FILE, cluster
from tests.lab.host import Host
from tests.lab.network import Network
from tests.lab.packets import Servers, ask, outside_machine

STATE = "/var/lib/cni/flannel"
LEASES = "/var/lib/cni/networks/cbr0"
FILE = {
    "FLANNEL_NETWORK": "10.244.0.0/16",
    "FLANNEL_SUBNET": "10.244.3.1/24",
    "FLANNEL_MTU": "1420",
    "FLANNEL_IPMASQ": "true",
}
DUAL = {"FLANNEL_IPV6_NETWORK": "fd44::/48", "FLANNEL_IPV6_SUBNET": "fd44:0:0:3::1/64"}
DELEGATED = {
    "cniVersion": "1.0.0",
    "ipMasq": False,
    "ipam": {
        "ranges": [[{"subnet": "10.244.3.0/24"}]],
        "routes": [{"dst": "10.244.0.0/16"}],
        "type": "host-local",
    },
    "isDefaultGateway": True,
    "isGateway": True,
    "mtu": 1420,
    "name": "cbr0",
    "type": "bridge",
}
SEED = [
    {"type": "flannel", "delegate": {"isDefaultGateway": True}},
    {"type": "portmap", "capabilities": {"portMappings": True}},
]


def conf(version="1.0.0", name="cbr0", **keys):
    plain = {"cniVersion": version, "name": name, "type": "flannel"}
    return plain | {"delegate": {"isDefaultGateway": True}} | keys


def write_subnet(host, *parts, without=(), **keys):
    values = dict(FILE)
    for part in (*parts, keys):
        values |= part
    lines = [f"{key}={value}\n" for key, value in values.items() if key not in without]
    host.write(SUBNET_FILE, "".join(lines))


def saved(host, name):
    return json.loads(host.read(f"{STATE}/{name}"))


def states(host):
    return host.listdir(STATE) if "flannel" in host.listdir("/var/lib/cni") else set()


@pytest.fixture(autouse=True)
def _flannel_is_there(binaries):
    """The reference plugins' package does not have it: it is a project of its own."""
    if not (binaries / "flannel").exists():
        pytest.skip(f"no flannel in {binaries}")


@pytest.fixture
def node(host):
    """A host with a lease."""
    write_subnet(host)
    return host


@pytest.fixture
def fake(node):
    """A delegate that notes what it is asked and fails where a file says so."""
    place = "/run/fake"
    script = f"""#!/bin/sh
cat > {place}/$CNI_COMMAND.in; echo $CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME >> {place}/calls
[ -e {place}/fail.$CNI_COMMAND ] && {{ cat {place}/fail.$CNI_COMMAND; exit 1; }}
[ $CNI_COMMAND = ADD ] && echo '{{"ips":[{{"address":"10.244.3.9/24"}}]}}'
exit 0
"""
    node.write(f"{place}/calls", "")
    for name in ("bridge", "other"):
        node.write(f"{place}/{name}", script)
        node.run("chmod", "+x", f"{place}/{name}")
    return Fake(node, place)


class Fake:
    def __init__(self, host, place):
        self.host, self.place = host, place

    def call(self, command, given, container=None, **options):
        return self.host.cni(command, given, container, CNI_PATH=self.place, **options)

    def fail(self, command, code):
        error = json.dumps({"code": code, "msg": "no"})
        self.host.write(f"{self.place}/fail.{command}", error)

    def recover(self, command):
        self.host.run("rm", f"{self.place}/fail.{command}")

    def calls(self):
        return self.host.read(f"{self.place}/calls").splitlines()

    def got(self, command):
        return json.loads(self.host.read(f"{self.place}/{command}.in"))


def test_a_container_gets_an_address_of_the_nodes_subnet(node):
    container = node.container("cid1")
    result = node.add(conf(), container).json
    assert result["ips"][0]["address"] == "10.244.3.2/24"
    assert container.addresses() == ["10.244.3.2/24"]
    (link,) = container.show("link", "show", "eth0")
    assert link["mtu"] == 1420
    routes = {route["dst"]: route.get("gateway") for route in container.show("route")}
    assert routes == {
        "default": "10.244.3.1",
        "10.244.0.0/16": "10.244.3.1",
        "10.244.3.0/24": None,
    }
    assert node.show("address", "show", "cni0")[0]["addr_info"][0]["local"] == "10.244.3.1"
    assert "masq" not in node.rules().lower()
    assert node.read(f"{STATE}/cid1") == json.dumps(DELEGATED, separators=(",", ":"))
    modes = node.run("stat", "-c", "%a", STATE, f"{STATE}/cid1").split()
    assert [int(mode, 8) for mode in modes] == [stat.S_IRWXU, stat.S_IRUSR | stat.S_IWUSR]


def test_del_needs_no_subnet_file(node, container):
    node.add(conf(), container)
    node.run("rm", SUBNET_FILE)
    for _ in range(2):
        node.delete(conf(delegate={"type": "no-such"}), container)
        assert "eth0" not in container.links()
        assert node.listdir(LEASES) <= {"lock", "last_reserved_ip.0"}
        assert node.listdir(STATE) == set()


@pytest.mark.ours("the reference bridge leaves its masquerade rules")
def test_del_after_the_namespace_is_gone_releases_everything(node, container):
    write_subnet(node, FLANNEL_IPMASQ="false")
    node.add(conf(), container)
    container.vanish()
    node.delete(conf(), container, CNI_NETNS="")
    assert node.listdir(STATE) == set()
    assert node.listdir(LEASES) <= {"lock", "last_reserved_ip.0"}
    assert "10.244.3.2" not in node.rules()


def test_what_the_reference_kept_is_deleted_as_well(node, container):
    node.add(conf(), container)
    kept = DELEGATED | {"cniVersion": "0.3.1"}
    node.write(f"{STATE}/{container.id}", json.dumps(kept, separators=(",", ":")))
    node.run("rm", SUBNET_FILE)
    node.delete(conf("0.3.1"), container)
    assert "eth0" not in container.links()
    assert node.listdir(STATE) == set()


@pytest.mark.parametrize(
    ("flanneld", "delegate", "masquerades"),
    [("true", {}, False), ("false", {}, True), ("false", {"ipMasq": False}, False)],
)
def test_the_delegate_masquerades_where_flanneld_does_not(host, flanneld, delegate, masquerades):
    write_subnet(host, FLANNEL_IPMASQ=flanneld)
    machine, container = outside_machine(host), host.container()
    host.add(conf(delegate={"isDefaultGateway": True} | delegate), container)
    assert saved(host, container.id)["ipMasq"] is masquerades
    servers = Servers()
    servers.start(machine, "outside")
    try:
        reply = ask(container, "192.0.2.50", 7000)
        assert reply.peer == ("192.0.2.1" if masquerades else "10.244.3.2")
    finally:
        servers.close()


def test_both_families_are_delegated(node, container):
    write_subnet(node, DUAL)
    result = node.add(conf(), container).json
    assert [ip["address"] for ip in result["ips"]] == ["10.244.3.2/24", "fd44:0:0:3::2/64"]
    assert saved(node, container.id)["ipam"]["ranges"] == [
        [{"subnet": "10.244.3.0/24"}],
        [{"subnet": "fd44:0:0:3::/64"}],
    ]
    assert {"dst": "fd44::/48"} in result["routes"]
    assert container.pings("fd44:0:0:3::1")


def test_every_network_has_a_route_after_the_configured_ones(node, container):
    write_subnet(node, FLANNEL_NETWORK="10.244.0.0/16,10.245.0.0/16,10.244.0.0/16")
    result = node.add(conf(ipam={"routes": [{"dst": "10.96.0.0/12"}]}), container).json
    routes = [route["dst"] for route in result["routes"]]
    assert routes[:3] == ["10.96.0.0/12", "10.244.0.0/16", "10.245.0.0/16"]


def test_another_delegate_gets_no_keys_of_a_bridge(node, container):
    node.add(conf(delegate={"type": "ptp", "mtu": 1300}), container)
    delegated = saved(node, container.id)
    assert (delegated["type"], delegated["mtu"]) == ("ptp", 1300)
    assert "isGateway" not in delegated
    (link,) = container.show("link", "show", "eth0")
    assert link["mtu"] == 1300
    node.delete(conf(), container)
    assert "eth0" not in container.links()


def test_what_the_runtime_asks_for_reaches_the_delegate(node, container):
    node.add(conf(runtimeConfig={"mac": "c2:00:00:00:00:01"}), container)
    (link,) = container.show("link", "show", "eth0")
    assert link["address"] == "c2:00:00:00:00:01"


@pytest.mark.parametrize("version", ["0.2.0", "0.3.1", "0.4.0", "1.0.0"])
def test_every_version_is_spoken(node, container, version):
    result = node.add(conf(version), container).json
    ip = result["ip4"]["ip"] if version == "0.2.0" else result["ips"][0]["address"]
    assert (result["cniVersion"], ip) == (version, "10.244.3.2/24")
    node.delete(conf(version), container)


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"subnetFile": "/run/absent.env"}, "/run/absent.env"),
        ({"delegate": {"name": "x"}}, "name"),
        ({"delegate": {"ipam": {}}}, "ipam"),
        ({"delegate": {"type": 5}}, "type"),
        ({"delegate": []}, "delegate"),
        ({"ipam": {"routes": [{"dst": "x"}]}}, "ipam.routes"),
    ],
    ids=["no file", "name", "ipam", "type", "no object", "route"],
)
def test_what_cannot_be_delegated_is_refused(node, container, keys, word):
    assert word in node.refused(conf(**keys), container).msg
    assert not states(node)


def test_without_state_nothing_is_delegated(node, container):
    node.write(STATE, "in the way")
    assert node.refused(conf(), container).code in {5, 999}
    assert container.links() == {"lo"}
    assert "cni0" not in node.links()


@pytest.mark.ours("the reference keeps the file of a failed ADD")
def test_a_delegate_that_is_not_installed_is_named(node, container):
    answer = node.refused(conf(delegate={"type": "no-such"}), container)
    assert (answer.code, answer.msg.startswith("failed to delegate add")) == (999, True)
    assert "no-such" in answer.msg
    assert not states(node)


@pytest.mark.ours("STATUS of the reference does nothing")
@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\n", "FLANNEL_MTU"),
        ("FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.2", "FLANNEL_MTU"),
        ("FLANNEL_NETWORK\n", "in line 1"),
        (
            "FLANNEL_MTU=x\nFLANNEL_IPMASQ=true\n" + "".join(f"{k}={v}\n" for k, v in DUAL.items()),
            "'x'",
        ),
        ("", "FLANNEL_SUBNET"),
    ],
    ids=["incomplete", "half-written", "no value", "no number", "empty"],
)
def test_a_broken_subnet_file_is_told_by_add_and_status(host, container, text, word):
    host.write(SUBNET_FILE, text)
    for answer in (
        host.refused(conf("1.1.0"), container),
        host.refused(conf("1.1.0"), command="STATUS"),
    ):
        assert word in answer.msg
        assert SUBNET_FILE in answer.msg
    assert answer.code == 50


@pytest.mark.ours("STATUS of the reference does nothing")
def test_status_waits_for_flanneld(host):
    answer = host.refused(conf("1.1.0"), command="STATUS")
    assert (answer.code, SUBNET_FILE in answer.msg) == (50, True)
    write_subnet(host)
    assert host.cni("STATUS", conf("1.1.0")).ok
    assert host.refused(conf("1.1.0", delegate={"type": "no-such"}), command="STATUS").code == 50


@pytest.mark.ours("STATUS of the reference does nothing")
def test_status_asks_the_delegate(fake):
    assert fake.call("STATUS", conf("1.1.0")).ok
    assert fake.got("STATUS")["ipam"] == DELEGATED["ipam"]
    fake.fail("STATUS", 50)
    assert fake.call("STATUS", conf("1.1.0")).code == 50
    fake.fail("STATUS", 4)  # of a delegate older than STATUS
    assert fake.call("STATUS", conf("1.1.0")).ok


@pytest.mark.ours("the reference believes the file")
def test_a_lease_that_flannels_device_no_longer_has_is_stale(node, container):
    vxlan = ("type", "vxlan", "id", "1", "dstport", "8472", "local", "127.0.0.1")
    node.run("ip", "link", "add", "flannel.1", *vxlan)
    node.run("ip", "address", "add", "10.244.9.0/32", "dev", "flannel.1")
    answer = node.refused(conf("1.1.0"), container)
    assert (answer.code, "10.244.9.0" in answer.msg) == (11, True)
    assert node.refused(conf("1.1.0"), command="STATUS").code == 50
    write_subnet(node, FLANNEL_SUBNET="10.244.9.1/24")
    assert node.cni("STATUS", conf("1.1.0")).ok
    node.add(conf("1.1.0"), container)


@pytest.mark.ours("the reference keeps the file of a failed ADD")
def test_a_bridge_of_an_earlier_lease_takes_the_new_address_by_force(node):
    first, second = node.container(), node.container()
    node.add(conf(), first)
    write_subnet(node, FLANNEL_SUBNET="10.244.9.1/24")
    assert "forceAddress" in node.refused(conf(), second).msg
    forced = {"isDefaultGateway": True, "forceAddress": True}
    assert node.add(conf(delegate=forced), second).addresses[0].startswith("10.244.9.")
    assert node.listdir(STATE) == {first.id, second.id}


@pytest.mark.ours("the reference undoes nothing")
def test_the_error_of_the_delegate_is_passed_on_and_its_add_undone(fake, container):
    fake.fail("ADD", 11)
    assert fake.call("ADD", conf(), container).code == 11
    assert [line.split()[0] for line in fake.calls()] == ["ADD", "DEL"]
    assert fake.host.listdir(STATE) == set()
    fake.fail("DEL", 123)
    assert fake.call("ADD", conf(), container).code == 11
    assert fake.host.listdir(STATE) == set()


@pytest.mark.ours("the reference forgets what it delegated")
def test_a_delegate_that_fails_to_delete_is_asked_again(fake, container):
    fake.call("ADD", conf(), container)
    fake.fail("DEL", 123)
    assert fake.call("DEL", conf(), container).code == 123
    assert fake.host.listdir(STATE) == {container.id}
    fake.recover("DEL")
    assert fake.call("DEL", conf(), container).ok
    assert fake.host.listdir(STATE) == set()


@pytest.mark.ours("the reference leaves file and address for ever")
@pytest.mark.parametrize("junk", ["", '{"type": "bri', "[]", '{"name": "cbr0"}'])
def test_a_broken_state_file_is_built_anew(fake, container, junk):
    fake.host.write(f"{STATE}/{container.id}", junk)
    assert fake.call("DEL", conf(), container).ok
    assert fake.got("DEL") == DELEGATED
    assert fake.host.listdir(STATE) == set()
    fake.host.write(f"{STATE}/{container.id}", junk)
    fake.host.run("rm", SUBNET_FILE)
    assert fake.call("DEL", conf(), container).ok
    assert fake.host.listdir(STATE) == set()


@pytest.mark.ours("CHECK of the reference does nothing")
def test_check_is_replayed_with_the_present_result(node, container):
    given = conf()
    result = node.add(given, container).json
    assert node.cni("CHECK", given | {"prevResult": result}, container).ok
    assert "prevResult" in node.refused(given, container, "CHECK").msg
    container.run("ip", "link", "set", "eth0", "down")
    assert "down" in node.refused(given | {"prevResult": result}, container, "CHECK").msg
    node.delete(given, container)
    assert STATE in node.refused(given | {"prevResult": result}, container, "CHECK").msg


@pytest.mark.ours("the second network overwrites the first's file there")
def test_networks_of_a_container_keep_state_of_their_own(node, container):
    other = conf(name="other", delegate={"bridge": "other0"})
    first = node.start("ADD", conf(), container)
    second = node.start("ADD", other, container, ifname="eth1")
    assert node.finish(first).ok
    assert node.finish(second).ok
    assert len(node.listdir(STATE)) == 2
    node.delete(other, container, ifname="eth1")
    assert {"eth0", "eth1"} & container.links() == {"eth0"}
    node.delete(conf(), container)
    assert node.listdir(STATE) == set()
    assert "eth0" not in container.links()


@pytest.mark.ours("GC of the reference does nothing")
def test_gc_deletes_what_was_delegated_for_containers_that_are_gone(fake):
    host = fake.host
    kept, lost, other = (host.container() for _ in range(3))
    for container in (kept, lost):
        fake.call("ADD", conf("1.1.0"), container)
    fake.call("ADD", conf("1.1.0", name="other"), other)
    fake.call("ADD", conf("1.1.0", name="other"), lost, ifname="eth1")
    host.run("touch", "-d", "yesterday", *(f"{STATE}/{name}" for name in host.listdir(STATE)))
    valid = [{"containerID": kept.id, "ifname": "eth0"}, {"containerID": other.id, "ifname": "x"}]
    answer = fake.call("GC", conf("1.1.0") | {"cni.dev/valid-attachments": valid})
    assert (answer.ok, answer.stdout) == (True, "")
    assert host.listdir(STATE) == {kept.id, other.id, f"{lost.id}-eth1"}
    assert fake.got("GC")["cni.dev/valid-attachments"] == valid
    assert fake.got("GC")["name"] == "cbr0"
    fake.call("GC", conf("1.1.0", name="other") | {"cni.dev/valid-attachments": valid})
    assert host.listdir(STATE) == {kept.id, other.id}


@pytest.mark.ours("GC of the reference does nothing")
def test_gc_without_a_lease_uses_what_was_kept(node, container):
    node.add(conf("1.1.0"), container)
    container.vanish()
    node.run("rm", SUBNET_FILE)
    node.run("touch", "-d", "yesterday", f"{STATE}/{container.id}")
    answer = node.cni("GC", conf("1.1.0") | {"cni.dev/valid-attachments": None})
    assert (answer.ok, answer.stdout) == (True, "")
    assert node.listdir(STATE) == set()
    assert node.listdir(LEASES) <= {"lock", "last_reserved_ip.0"}


@pytest.fixture
def nodes(host, binaries):
    """Two nodes of a cluster."""
    second = Host(binaries)
    yield cluster(host, second)
    second.close()


def test_containers_of_two_hosts_reach_each_other(nodes):
    containers, servers = [], Servers()
    for node in nodes:
        container = node.host.container()
        node.host.add(conf(), container)
        containers.append(container)
        servers.start(container, f"node{node.number}")
    try:
        for here, there in ((0, 1), (1, 0)):
            for address, own in (("10.244.{}.2", "10.244.{}.2"), ("fd44:0:0:{}::2",) * 2):
                reply = ask(containers[here], address.format(there + 1), 7000)
                assert reply == (f"node{there + 1}", own.format(here + 1))
    finally:
        servers.close()


def test_the_mtu_fits_into_the_tunnel(nodes):
    first, second = (node.host.container() for node in nodes)
    for node, container in zip(nodes, (first, second), strict=True):
        node.host.add(conf(), container)
    (link,) = first.show("link", "show", "eth0")
    assert link["mtu"] == MTU
    for address, headers in (("10.244.2.2", 28), ("fd44:0:0:2::2", 48)):
        largest = ("ping", "-c2", "-W2", "-n", "-M", "do", "-s", str(MTU - headers), address)
        assert first.try_run(*largest).returncode == 0


def test_only_what_leaves_the_cluster_is_masqueraded(nodes):
    machine = outside_machine(nodes[0].host)
    containers, servers = [], Servers()
    for node in nodes:
        container = node.host.container()
        node.host.add(conf(), container)
        containers.append(container)
    servers.start(machine, "outside")
    servers.start(containers[1], "inside")
    try:
        assert ask(containers[0], "192.0.2.50", 7000).peer == "192.0.2.1"
        assert ask(containers[0], "2001:db8:2::50", 7000).peer == "2001:db8:2::1"
        assert ask(containers[0], "10.244.2.2", 7000).peer == "10.244.1.2"
        assert ask(containers[0], "fd44:0:0:2::2", 7000).peer == "fd44:0:0:1::2"
    finally:
        servers.close()


def test_a_port_published_on_one_node_answers_everywhere(nodes):
    first, second = nodes
    network = Network(first.host, SEED, name="flannel", version="0.3.1")
    web, asking = first.host.container(), second.host.container()
    port = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
    network.add(web, runtime={"portMappings": [port]})
    second.host.add(conf(name="flannel"), asking)
    servers = Servers()
    servers.start(web, "web", 80)
    try:
        for place in (asking, second.host):
            for version in (4, 6):
                assert ask(place, first.underlay[version], 8080).tag == "web"
        assert ask(first.host, "127.0.0.1", 8080).tag == "web"
        assert ask(asking, "10.244.1.2", 80).tag == "web"
        network.delete(web)
        assert ask(second.host, first.underlay[4], 8080) is None
    finally:
        servers.close()
    assert first.host.listdir(STATE) == set()
    assert "8080" not in first.host.rules()
