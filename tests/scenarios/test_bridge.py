"""bridge: the acceptance examples of its page, and what it promises beyond the reference."""

import subprocess

import pytest

from tests.lab.network import Network

L2 = {"cniVersion": "1.0.0", "name": "n2", "type": "bridge", "bridge": "cbr2"}

newer = pytest.mark.ours("Debian's release of the reference is older than this key")


def conf(subnet="10.20.0.0/24", **keys):
    ipam = {"type": "host-local", "subnet": subnet}
    base = {"cniVersion": "1.0.0", "name": "n1", "type": "bridge", "bridge": "cbr1", "ipam": ipam}
    return base | keys


def link(place, name):
    (found,) = place.show("link", "show", "dev", name)
    return found


def bridge_addresses(host, name="cbr1"):
    (found,) = host.show("address", "show", "dev", name)
    return [f"{a['local']}/{a['prefixlen']}" for a in found["addr_info"] if a["scope"] == "global"]


def test_a_gateway_network_connects_the_container(host, container):
    given = conf(isDefaultGateway=True)
    result = host.add(given, container).json
    assert bridge_addresses(host) == ["10.20.0.1/24"]
    assert link(host, "cbr1")["operstate"] == "UP"
    assert container.addresses() == ["10.20.0.2/24"]
    (route,) = container.show("route", "show", "default")
    assert (route["gateway"], route["dev"]) == ("10.20.0.1", "eth0")
    assert [i["name"] for i in result["interfaces"]][::2] == ["cbr1", "eth0"]
    assert result["interfaces"][2]["sandbox"] == container.netns
    assert result["ips"][0]["interface"] == 2
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.20.0.1"}]
    assert host.sysctl("net/ipv4/ip_forward") == "1"
    assert container.pings("10.20.0.1")
    host.delete(given, container)
    host.delete(given, container)
    assert container.links() == {"lo"}
    assert host.links() == {"lo", "cbr1"}


def test_the_result_tells_the_kernel_s_macs(host, container):
    bridge, port, inside = host.add(conf(isGateway=True), container).json["interfaces"]
    assert bridge["mac"] == link(host, "cbr1")["address"]
    assert port["mac"] == link(host, port["name"])["address"]
    assert inside["mac"] == link(container, "eth0")["address"]
    assert host.ports("cbr1") == [port["name"]]


def test_a_layer_2_network_brings_the_link_up_without_address(host, container):
    result = host.add(L2, container).json
    assert link(container, "eth0")["operstate"] == "UP"
    assert container.addresses() == []
    assert "ips" not in result


@pytest.mark.ours("the reference asks an IPAM plugin without a name")
def test_check_of_a_layer_2_network_succeeds(host, container):
    result = host.add(L2, container).json
    assert host.cni("CHECK", L2 | {"prevResult": result}, container).ok


def test_the_strongest_mac_wins(host, container):
    given = L2 | {
        "args": {"cni": {"mac": "02:00:00:00:00:02"}},
        "runtimeConfig": {"mac": "02:00:00:00:00:03"},
    }
    host.add(given, container, CNI_ARGS="IgnoreUnknown=1;MAC=02:00:00:00:00:01")
    assert link(container, "eth0")["address"] == "02:00:00:00:00:03"


def test_masquerade_hides_the_container_from_other_networks_only(host, container, outside):
    given = conf(isDefaultGateway=True, ipMasq=True)
    host.add(given, container)
    second = host.container()
    host.add(given, second)
    assert heard_from(container, outside, "192.0.2.9") == "192.0.2.1"
    assert heard_from(container, second, "10.20.0.3") == "10.20.0.2"
    host.delete(given, container)
    assert "10.20.0.2" not in host.rules()
    assert "10.20.0.3" in host.rules()


def heard_from(sender, receiver, address):
    """The address that the receiver sees as the sender's."""
    server = receiver.host.command(
        *("ip", "netns", "exec", receiver.name, "timeout", "10", "python3", "-u", "-c", LISTEN)
    )
    process = subprocess.Popen(server, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    sender.run("python3", "-c", SEND, address)
    return process.communicate(timeout=20)[0].strip()


LISTEN = """
import socket
listening = socket.create_server(("", 9999))
print("ready")
print(listening.accept()[1][0])
"""
SEND = "import socket, sys; socket.create_connection((sys.argv[1], 9999), 5)"


def test_a_spoofed_mac_is_not_heard(host):
    given = L2 | {"macspoofchk": True}
    first, second = host.container(), host.container()
    for number, container in enumerate((first, second), 1):
        host.add(given, container)
        container.run("ip", "address", "add", f"10.9.0.{number}/24", "dev", "eth0")
    true_mac = link(first, "eth0")["address"]
    assert first.pings("10.9.0.2")
    first.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:99")
    second.run("ip", "neigh", "flush", "all")
    assert not first.pings("10.9.0.2")
    first.run("ip", "link", "set", "eth0", "address", true_mac)
    assert first.pings("10.9.0.2")
    host.delete(given, first)
    assert first.id not in host.rules()
    assert second.id in host.rules()


def test_an_address_of_somebody_else_on_the_bridge_is_a_conflict(host, container):
    host.run("ip", "link", "add", "cbr1", "type", "bridge")
    host.run("ip", "address", "add", "10.99.0.1/16", "dev", "cbr1")
    answer = host.cni("ADD", conf(isGateway=True), container)
    assert "cbr1" in answer.msg
    assert bridge_addresses(host) == ["10.99.0.1/16"]


def test_force_address_replaces_it(host, container):
    host.run("ip", "link", "add", "cbr1", "type", "bridge")
    host.run("ip", "address", "add", "10.99.0.1/16", "dev", "cbr1")
    host.add(conf(isGateway=True, forceAddress=True), container)
    assert bridge_addresses(host) == ["10.20.0.1/24"]


@pytest.mark.ours("the reference leaves the pair, and a retry fails (plugins#29)")
def test_a_failed_add_leaves_nothing_and_a_retry_succeeds(host, container):
    host.run("ip", "link", "add", "cbr1", "type", "bridge")
    host.run("ip", "address", "add", "10.99.0.1/16", "dev", "cbr1")
    assert not host.cni("ADD", conf(isGateway=True, ipMasq=True, macspoofchk=True), container).ok
    assert container.links() == {"lo"}
    assert host.ports("cbr1") == []
    assert container.id not in host.rules()
    assert "10.20.0." not in host.rules()
    host.run("ip", "address", "flush", "dev", "cbr1")
    assert host.add(conf(isGateway=True), container).addresses == ["10.20.0.3"]


@newer
def test_isolated_ports_reach_the_gateway_and_not_one_another(host):
    given = conf(isDefaultGateway=True, portIsolation=True)
    first, second = host.container(), host.container()
    for container in (first, second):
        host.add(given, container)
    assert first.pings("10.20.0.1")
    assert not first.pings("10.20.0.3")


def test_an_old_version_gets_an_old_result(host, container):
    result = host.add(conf(cniVersion="0.2.0"), container).json
    assert result["ip4"]["ip"] == "10.20.0.2/24"
    assert "interfaces" not in result


@pytest.mark.parametrize("version", ["0.1.0", "0.3.1", "0.4.0", "1.0.0", ""])
def test_del_of_any_version_takes_the_link_away(host, container, version):
    given = conf(cniVersion=version)
    host.add(given, container)
    host.delete(given, container)
    assert container.links() == {"lo"}


@pytest.fixture
def checked(host, container):
    """A network with one container, checked once."""
    plugin = {**conf(isGateway=True)}
    network = Network(host, [plugin], name="n1")
    network.add(container)
    assert network.check(container).ok
    return network


def test_check_tells_a_lost_address(checked, container):
    container.run("ip", "address", "flush", "dev", "eth0")
    assert "10.20.0.2" in checked.check(container).msg


def test_check_tells_a_port_that_left_the_bridge(checked, host, container):
    (port,) = host.ports("cbr1")
    host.run("ip", "link", "set", port, "nomaster")
    assert not checked.check(container).ok


def test_check_does_not_mind_a_route_more(checked, container):
    container.run("ip", "route", "add", "203.0.113.0/24", "dev", "eth0")
    assert checked.check(container).ok


def test_check_tells_a_changed_mac(checked, container):
    container.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:77")
    assert not checked.check(container).ok


@pytest.mark.ours("masquerade rules stay there (plugins#810)")
@pytest.mark.parametrize("netns", ["", "/run/netns/gone"])
def test_del_after_the_namespace_is_gone_leaves_nothing(host, container, netns):
    given = conf(isGateway=True, ipMasq=True, macspoofchk=True)
    host.add(given, container)
    container.vanish()
    host.delete(given, container, CNI_NETNS=netns)
    assert container.id not in host.rules()
    assert "10.20.0.2" not in host.rules()
    assert "10.20.0.2" not in host.listdir("/var/lib/cni/networks/n1")


@pytest.mark.ours("the reference takes whatever link has the name")
def test_del_spares_the_container_that_the_path_leads_to_now(host):
    """Runtimes send paths like /proc/PID/ns/net long after the process number is used again."""
    gone, other = host.container(), host.container()
    given = conf(ipMasq=True)
    result = host.add(given, gone).json
    host.add(given, other)
    host.delete(given | {"prevResult": result}, gone, CNI_NETNS=other.netns)
    assert other.addresses() == ["10.20.0.3/24"]
    assert gone.links() == {"lo"}  # reached from the host's end
    assert "10.20.0.2" not in host.rules()


@pytest.mark.ours("the reference adds the default route twice and fails")
def test_a_default_route_of_the_ipam_section_is_enough(host, container):
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": "10.20.0.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    host.add(conf(isDefaultGateway=True, ipam=ipam), container)
    (route,) = container.show("route", "show", "default")
    assert route["gateway"] == "10.20.0.1"


@pytest.mark.ours("the reference takes its own second gateway for a conflict")
def test_two_subnets_have_their_gateways_side_by_side(host):
    ranges = [[{"subnet": "10.20.0.0/24"}], [{"subnet": "10.21.0.0/24"}], [{"subnet": "fd20::/64"}]]
    given = conf(isGateway=True, ipam={"type": "host-local", "ranges": ranges})
    for container in (host.container(), host.container()):
        host.add(given, container)
        for gateway in ("10.20.0.1", "10.21.0.1", "fd20::1"):
            assert container.pings(gateway)
    assert bridge_addresses(host) == ["10.20.0.1/24", "10.21.0.1/24", "fd20::1/64"]


@pytest.mark.ours("Debian's older release does not know these attributes")
def test_route_attributes_are_applied(host, container):
    route = {"dst": "203.0.113.0/24", "mtu": 1300, "advmss": 1200, "priority": 50, "table": 77}
    ipam = {
        "type": "static",
        "addresses": [{"address": "10.20.0.2/24", "gateway": "10.20.0.1"}],
        "routes": [route],
    }
    network = Network(host, [conf(ipam=ipam)], name="n1", version="1.1.0")
    network.plugins[0]["cniVersion"] = "1.1.0"
    network.add(container)
    (found,) = container.show("route", "show", "table", "77")
    assert (found["metric"], found["gateway"]) == (50, "10.20.0.1")
    assert found["metrics"] == [{"mtu": 1300, "advmss": 1200}]
    assert network.check(container).ok
    container.run("ip", "route", "flush", "table", "77")
    assert not network.check(container).ok


@pytest.mark.ours("GC of the reference does nothing")
@pytest.mark.parametrize("later", [{}, {"ipMasq": False, "macspoofchk": False}], ids=["", "off"])
def test_gc_removes_what_has_no_container(host, later):
    given = conf(isGateway=True, ipMasq=True, macspoofchk=True)
    network = Network(host, [given], name="n1", version="1.1.0")
    network.plugins[0]["cniVersion"] = "1.1.0"
    kept, lost, other = host.container(), host.container(), host.container()
    network.add(kept)
    network.add(lost)
    host.add(conf("10.30.0.0/24", name="n9", bridge="cbr9", ipMasq=True), other)
    lost.vanish()
    given.update(later)
    network.collect(kept)
    rules = host.rules()
    assert lost.id not in rules
    assert kept.id in rules
    assert "10.30.0.2" in rules
    assert host.listdir("/var/lib/cni/networks/n1") >= {"10.20.0.2"}
    assert "10.20.0.3" not in host.listdir("/var/lib/cni/networks/n1")


@pytest.mark.ours("the reference reads the MAC of an empty bridge and cannot write it back")
def test_an_empty_unpinned_bridge_can_become_a_gateway(host):
    first, second = host.container(), host.container()
    host.run("ip", "link", "add", "cbr1", "type", "bridge")
    given = conf()
    host.add(given, first)
    host.delete(given, first)
    host.add(conf(isGateway=True), second)
    assert link(host, "cbr1")["address"] != "00:00:00:00:00:00"


@pytest.mark.ours("a bridge without a gateway changes its MAC there with every port")
def test_a_bridge_of_ours_keeps_its_mac(host):
    first, second = host.container(), host.container()
    host.add(L2, first)
    mac = link(host, "cbr2")["address"]
    host.add(L2, second)
    host.delete(L2, first)
    assert link(host, "cbr2")["address"] == mac


@pytest.mark.ours("the reference has no pruneBridge")
def test_an_empty_bridge_of_ours_is_pruned_when_asked(host):
    given = conf(pruneBridge=True)
    first, second = host.container(), host.container()
    host.add(given, first)
    host.add(given, second)
    host.delete(given, first)
    assert "cbr1" in host.links()
    host.delete(given, second)
    assert host.links() == {"lo"}


@pytest.mark.ours("the reference has no pruneBridge")
def test_a_bridge_that_was_there_before_is_not_pruned(host, container):
    host.run("ip", "link", "add", "cbr1", "type", "bridge")
    host.add(conf(pruneBridge=True), container)
    host.delete(conf(pruneBridge=True), container)
    assert "cbr1" in host.links()


@pytest.mark.ours("the reference has no uplinkInterface")
def test_an_uplink_becomes_a_port(host, container, outside):
    host.add(L2 | {"uplinkInterface": "out0"}, container)
    assert "out0" in host.ports("cbr2")
    container.run("ip", "address", "add", "192.0.2.44/24", "dev", "eth0")
    assert container.pings("192.0.2.9")
    host.delete(L2 | {"uplinkInterface": "out0"}, container)
    assert "out0" in host.ports("cbr2")


@pytest.mark.ours("the reference has no uplinkInterface")
def test_a_missing_uplink_is_named(host, container):
    assert "nope" in host.cni("ADD", L2 | {"uplinkInterface": "nope"}, container).msg
    assert container.links() == {"lo"}


@pytest.mark.ours("the IPv6 gateway is tentative there at first")
def test_the_ipv6_gateway_is_usable_at_once(host, container):
    host.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/accept_dad")
    host.add(conf("fd20::/64", isDefaultGateway=True), container)
    (found,) = host.show("-6", "address", "show", "dev", "cbr1", "scope", "global")
    assert not any(address.get("tentative") for address in found["addr_info"])
    assert container.pings("fd20::1")


@pytest.mark.ours("STATUS of the reference does not tell it with this code")
def test_status_tells_a_missing_ipam_plugin(host):
    answer = host.cni("STATUS", conf(cniVersion="1.1.0", ipam={"type": "nothing-there"}))
    assert answer.code == 50


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"hairpinMode": True, "promiscMode": True}, "hairpin"),
        ({"vlan": 5000}, "VLAN"),
        pytest.param({"vlanTrunk": [{"minID": 20, "maxID": 10}]}, "", marks=newer),
        pytest.param({"vlanTrunk": [{"minID": 20}]}, "", marks=newer),
        pytest.param({"disableContainerInterface": True}, "IPAM", marks=newer),
        ({"bridge": ""}, ""),
        ({"bridge": "x" * 300}, ""),
        ({"bridge": "a/b"}, ""),
        ({"mtu": "big"}, "mtu"),
        ({"mtu": 10}, ""),
        pytest.param(
            {"ipam": {"type": "nothing-there"}},
            "nothing-there",
            marks=pytest.mark.ours("the reference leaves the pair of links (plugins#29)"),
        ),
        ({"runtimeConfig": {"mac": "zz"}}, "zz"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_a_wrong_configuration_leaves_the_container_alone(host, container, keys, words):
    answer = host.cni("ADD", conf(**keys), container)
    assert not answer.ok
    assert words in answer.msg + answer.json.get("details", "")
    assert container.links() == {"lo"}


def test_a_link_that_is_no_bridge_is_refused(host, container):
    host.run("ip", "link", "add", "cbr1", "type", "veth", "peer", "name", "other")
    assert "not a bridge" in host.cni("ADD", conf(), container).msg
    assert container.links() == {"lo"}


def test_an_interface_that_exists_is_refused_and_kept(host, container):
    container.run("ip", "link", "add", "eth0", "type", "bridge")
    assert "eth0" in host.cni("ADD", conf(), container).msg
    assert link(container, "eth0")["linkinfo"]["info_kind"] == "bridge"
