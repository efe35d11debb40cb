"""ptp: the acceptance examples of its page, and what it promises beyond the reference."""

import os
import re

import pytest

from tests.lab import packets
from tests.lab.network import Network

DEFAULT = {"dst": "0.0.0.0/0"}
BOTH_DEFAULTS = [DEFAULT, {"dst": "::/0"}]
DUAL_STACK = {
    "type": "host-local",
    "ranges": [[{"subnet": "10.30.0.0/24"}], [{"subnet": "fd00:30::/64"}]],
    "routes": BOTH_DEFAULTS,
}
REFERENCE = "/usr/lib/cni"

newer = pytest.mark.ours("Debian's release of the reference is older than this key")


def conf(**keys):
    ipam = {"type": "host-local", "subnet": "10.30.0.0/24", "routes": [DEFAULT]}
    base = {"cniVersion": "1.0.0", "name": "p1", "type": "ptp", "ipam": ipam}
    return base | keys


def static(*addresses, routes=(DEFAULT,)):
    """Addresses as "10.30.0.9/24 via 10.30.0.1"."""
    parts = [text.partition(" via ") for text in addresses]
    given = [{"address": a} | ({"gateway": g} if g else {}) for a, _, g in parts]
    return {"type": "static", "addresses": given, "routes": list(routes)}


def link(place, name):
    (found,) = place.show("link", "show", "dev", name)
    return found


def routes(place, *words):
    """dst -> what ``ip route`` tells; families apart."""
    return {route["dst"]: route for route in place.show(*words, "route")}


def veths(host):
    return {name for name in host.links() if name.startswith("veth")}


def host_addresses(host, name):
    (found,) = host.show("address", "show", "dev", name)
    return {f"{a['local']}/{a['prefixlen']}" for a in found["addr_info"] if a["scope"] == "global"}


@pytest.fixture
def servers():
    running = packets.Servers()
    yield running
    running.close()


@pytest.fixture
def world(host, servers):
    """A machine behind the host that tells who asks it."""
    machine = packets.outside_machine(host)
    servers.start(machine, "world")
    host.run("ping", "-c3", "-W5", packets.OUTSIDE6)  # its link needs a moment for IPv6
    return machine


def test_the_container_is_routed_by_the_host(host, container):
    result = host.add(conf(mtu=1400), container).json
    end, inside = result["interfaces"]
    assert re.fullmatch("veth[0-9a-f]{8}", end["name"])
    assert "sandbox" not in end
    assert (inside["name"], inside["sandbox"]) == ("eth0", container.netns)
    assert end["mac"] == link(host, end["name"])["address"]
    assert inside["mac"] == link(container, "eth0")["address"]
    assert result["ips"] == [{"address": "10.30.0.2/24", "gateway": "10.30.0.1", "interface": 1}]
    assert result["routes"] == [DEFAULT]
    assert link(host, end["name"])["mtu"] == link(container, "eth0")["mtu"] == 1400
    assert container.addresses() == ["10.30.0.2/24"]


def test_routes_of_container_and_host_are_those_of_the_page(host, container):
    end = host.add(conf(), container).json["interfaces"][0]["name"]
    inside = routes(container)
    assert inside["default"]["gateway"] == "10.30.0.1"
    subnet, gateway = inside["10.30.0.0/24"], inside["10.30.0.1"]
    assert (subnet["gateway"], subnet["prefsrc"]) == ("10.30.0.1", "10.30.0.2")
    assert (gateway["scope"], gateway["prefsrc"]) == ("link", "10.30.0.2")
    assert len(inside) == 3
    assert host_addresses(host, end) == {"10.30.0.1/32"}
    back = routes(host)["10.30.0.2"]
    assert (back["dev"], back["scope"]) == (end, "host")
    assert host.sysctl("net/ipv4/ip_forward") == "1"


def test_containers_reach_one_another_by_way_of_the_host(host):
    first, second = host.container(), host.container()
    for container in (first, second):
        host.add(conf(), container)
    shown = first.run("ping", "-c2", "-W2", "-n", "10.30.0.3")
    assert "ttl=63" in shown
    assert first.pings("10.30.0.1")


def test_both_families_work_at_once(host, world):
    first, second = host.container(), host.container()
    given = conf(ipam=DUAL_STACK)
    for container in (first, second):
        end = host.add(given, container).json["interfaces"][0]["name"]
        (found,) = container.show("-6", "address", "show", "dev", "eth0")
        assert not any(address.get("tentative") for address in found["addr_info"])
    assert host_addresses(host, end) == {"10.30.0.1/32", "fd00:30::1/128"}
    assert host.sysctl("net/ipv4/ip_forward") == host.sysctl("net/ipv6/conf/all/forwarding") == "1"
    inside = routes(first, "-6")
    assert inside["default"]["gateway"] == inside["fd00:30::/64"]["gateway"] == "fd00:30::1"
    assert routes(host, "-6")["fd00:30::3"]["dev"] == end
    for address in ("fd00:30::1", "fd00:30::3", "10.30.0.3", packets.OUTSIDE4, packets.OUTSIDE6):
        assert first.pings(address), address


@pytest.mark.parametrize(
    "backend",
    [
        None,
        pytest.param("iptables", marks=newer),
        pytest.param("nftables", marks=newer),
    ],
)
def test_masquerade_hides_the_container_from_other_networks_only(host, world, servers, backend):
    given = conf(ipam=DUAL_STACK, ipMasq=True) | ({"ipMasqBackend": backend} if backend else {})
    first, second = host.container(), host.container()
    for container in (first, second):
        host.add(given, container)
    servers.start(second, "second")
    assert packets.ask(first, packets.OUTSIDE4, 7000) == ("world", packets.HOST4)
    assert packets.ask(first, packets.OUTSIDE6, 7000) == ("world", packets.HOST6)
    assert packets.ask(first, "10.30.0.3", 7000) == ("second", "10.30.0.2")
    assert packets.ask(first, "fd00:30::3", 7000) == ("second", "fd00:30::2")
    host.delete(given, first)
    assert not re.search(r"10\.30\.0\.2\b|fd00:30::2\b", host.rules())
    assert packets.ask(second, packets.OUTSIDE4, 7000) == ("world", packets.HOST4)
    host.delete(given, second)
    assert not re.search(r"10\.30\.0\.3\b|fd00:30::3\b", host.rules())


def test_without_masquerade_the_world_sees_the_container(host, world, container):
    host.add(conf(), container)
    assert packets.ask(container, packets.OUTSIDE4, 7000) == ("world", "10.30.0.2")


def test_two_subnets_have_two_gateways(host, container, world):
    ipam = static("10.31.0.9/24 via 10.31.0.1", "10.32.0.9/24 via 10.32.0.254")
    end = host.add(conf(ipam=ipam), container).json["interfaces"][0]["name"]
    assert host_addresses(host, end) == {"10.31.0.1/32", "10.32.0.254/32"}
    inside = routes(container)
    assert inside["default"]["gateway"] == "10.31.0.1"
    assert inside["10.32.0.0/24"]["gateway"] == "10.32.0.254"
    for address in ("10.31.0.9", "10.32.0.9"):
        assert host.pings(address)


@pytest.mark.ours("the reference fails with file exists")
def test_two_addresses_may_share_subnet_and_gateway(host, container, world):
    ipam = static(
        "10.31.0.8/24 via 10.31.0.1",
        "10.31.0.9/24 via 10.31.0.1",
        "fd31::8/64 via fd31::1",
        "fd31::9/64 via fd31::1",
    )
    network = Network(host, [conf(ipam=ipam)], name="p1")
    end = network.add(container)["interfaces"][0]["name"]
    assert host_addresses(host, end) == {"10.31.0.1/32", "fd31::1/128"}
    assert network.check(container).ok
    for address in ("10.31.0.8", "10.31.0.9", "fd31::8", "fd31::9"):
        assert host.pings(address), address
    assert routes(container)["10.31.0.0/24"]["prefsrc"] == "10.31.0.8"
    network.delete(container)
    assert veths(host) == set()


@pytest.mark.ours("the reference has no route to the gateway yet (plugins#150)")
@pytest.mark.parametrize(
    "address",
    [
        "10.30.9.9/32 via 10.30.9.1",
        "10.30.9.9/32 via 169.254.1.1",
        "10.30.9.9/24 via 192.168.7.1",
    ],
)
def test_the_gateway_may_be_outside_the_subnet(host, container, world, address):
    network = Network(host, [conf(ipam=static(address))], name="p1")
    network.add(container)
    assert network.check(container).ok
    gateway = address.rpartition(" ")[2]
    inside = routes(container)
    assert inside[gateway]["scope"] == "link"
    assert inside["default"]["gateway"] == gateway
    assert packets.ask(container, packets.OUTSIDE4, 7000) == ("world", "10.30.9.9")


@pytest.mark.ours("the reference has no route to the gateway yet (plugins#150)")
@pytest.mark.parametrize("gateway", ["fd09::1", "fe80::1"])
def test_a_single_ipv6_address_works(host, container, world, gateway):
    ipam = static(f"fd09::9/128 via {gateway}", routes=[{"dst": "::/0"}])
    network = Network(host, [conf(ipam=ipam)], name="p1")
    network.add(container)
    assert packets.ask(container, packets.OUTSIDE6, 7000) == ("world", "fd09::9")
    assert network.check(container).ok


@pytest.mark.ours("the reference leaves nonsense routes in the container")
@pytest.mark.parametrize(
    ("address", "gateway"),
    [("10.30.9.9/24", "10.30.9.1"), ("10.30.9.1/31", "10.30.9.0"), ("fd09::9/64", "fd09::1")],
)
def test_without_a_gateway_the_first_address_of_the_subnet_is_it(host, container, address, gateway):
    result = host.add(conf(ipam=static(address, routes=())), container).json
    assert result["ips"][0]["gateway"] == gateway
    assert container.pings(gateway)


@pytest.mark.parametrize("address", ["10.30.9.9/32", "10.30.9.1/24", "fd09::9/128"])
def test_no_gateway_at_all_is_an_error_that_leaves_nothing(host, container, address):
    answer = host.refused(conf(ipam=static(address, routes=())), container)
    if "gateway" in answer.msg:  # ours: before anything is made
        assert container.links() == {"lo"}
        assert veths(host) == set()


@pytest.mark.parametrize("netns", ["real", "", "/run/netns/gone"])
def test_del_can_be_repeated_and_releases_the_lease(host, container, netns):
    host.add(conf(), container)
    target = container.netns if netns == "real" else netns
    if netns != "real":
        container.vanish()
    for _ in range(3):
        host.delete(conf(), container, CNI_NETNS=target)
    assert "10.30.0.2" not in host.listdir("/var/lib/cni/networks/p1")
    if netns == "real":  # otherwise the kernel takes the pair away with the namespace, later
        assert host.links() == container.links() == {"lo"}


@pytest.mark.ours("masquerade rules stay there (plugins#810)")
@pytest.mark.parametrize("netns", ["", "/run/netns/gone"])
def test_del_after_the_namespace_is_gone_leaves_no_rule(host, container, netns):
    given = conf(ipMasq=True)
    host.add(given, container)
    assert "10.30.0.2" in host.rules()
    container.vanish()
    host.delete(given, container, CNI_NETNS=netns)
    assert "10.30.0.2" not in host.rules()


@pytest.mark.ours("the reference looks at no result")
def test_del_finds_the_pair_of_an_unreachable_namespace_by_the_result(host, container):
    result = host.add(conf(), container).json
    host.delete(conf(prevResult=result), container, CNI_NETNS="/run/netns/gone")
    assert veths(host) == set()
    assert container.links() == {"lo"}


@pytest.mark.ours("the reference takes whatever link has the name")
def test_del_spares_the_container_that_the_path_leads_to_now(host):
    gone, other = host.container(), host.container()
    result = host.add(conf(), gone).json
    host.add(conf(), other)
    host.delete(conf(prevResult=result), gone, CNI_NETNS=other.netns)
    assert other.addresses() == ["10.30.0.3/24"]
    assert gone.links() == {"lo"}


@pytest.mark.ours("it is about the reference's own leftovers")
@pytest.mark.skipif(not os.path.exists(f"{REFERENCE}/ptp"), reason="needs the reference plugins")
def test_what_the_reference_added_is_deleted(host, container):
    given = conf(ipMasq=True, ipam=DUAL_STACK)
    host.add(given, container, binaries=REFERENCE, CNI_PATH=REFERENCE)
    assert "10.30.0.2" in host.rules()
    host.delete(given, container)
    assert not re.search(r"10\.30\.0\.2\b|fd00:30::2\b", host.rules())
    assert host.links() == {"lo"}
    assert not host.listdir("/var/lib/cni/networks/p1") & {"10.30.0.2", "fd00:30::2"}


@pytest.mark.ours("it is about a roll-over from the reference")
@pytest.mark.skipif(not os.path.exists(f"{REFERENCE}/ptp"), reason="needs the reference plugins")
def test_what_the_reference_added_passes_check(host, container):
    given = conf(ipam=DUAL_STACK)
    result = host.add(given, container, binaries=REFERENCE, CNI_PATH=REFERENCE).json
    answer = host.cni("CHECK", given | {"prevResult": result}, container)
    assert answer.ok, answer


def test_an_unknown_ipam_plugin_leaves_nothing(host, container):
    answer = host.refused(conf(ipam={"type": "nothing-there"}), container)
    assert "nothing-there" in answer.msg
    assert host.links() == container.links() == {"lo"}


@pytest.fixture
def checked(host, container):
    """A network with one container, checked once."""
    network = Network(host, [conf(ipam=DUAL_STACK)], name="p1")
    network.add(container)
    assert network.check(container).ok
    return network


@pytest.mark.parametrize(
    "damage",
    [
        "ip route del default",
        "ip address del 10.30.0.2/24 dev eth0",
        "ip -6 route flush default",
        "ip link set eth0 address 02:00:00:00:00:99",
        "ip link set eth0 down",
        "ip link del eth0",
    ],
)
def test_check_tells_damage_in_the_container(checked, container, damage):
    container.run(*damage.split())
    assert not checked.check(container).ok


def test_check_does_not_mind_a_route_more(checked, container):
    container.run("ip", "route", "add", "10.98.0.0/16", "via", "10.30.0.1")
    assert checked.check(container).ok


@pytest.mark.ours("the reference does not look at the host's side")
@pytest.mark.parametrize(
    "damage",
    [
        "ip address del 10.30.0.1/32 dev {end}",
        "ip route del 10.30.0.2/32 dev {end}",
        "ip -6 route del fd00:30::2/128 dev {end}",
    ],
)
def test_check_tells_damage_on_the_host(checked, host, container, damage):
    (end,) = veths(host)
    host.run(*damage.format(end=end).split())
    assert not checked.check(container).ok


@pytest.mark.ours("the reference looks into the main table alone")
def test_route_attributes_are_applied_and_checked(host, container):
    route = {"dst": "203.0.113.0/24", "mtu": 1300, "advmss": 1200, "priority": 50, "table": 77}
    given = conf(cniVersion="1.1.0", ipam=static("10.30.0.2/24 via 10.30.0.1", routes=[route]))
    network = Network(host, [given], name="p1", version="1.1.0")
    network.add(container)
    (found,) = container.show("route", "show", "table", "77")
    assert (found["metric"], found["gateway"]) == (50, "10.30.0.1")
    assert found["metrics"] == [{"mtu": 1300, "advmss": 1200}]
    assert network.check(container).ok
    container.run("ip", "route", "flush", "table", "77")
    assert not network.check(container).ok


def test_an_old_version_gets_an_old_result(host, container):
    result = host.add(conf(cniVersion="0.2.0"), container).json
    assert result["ip4"] == {"ip": "10.30.0.2/24", "gateway": "10.30.0.1", "routes": [DEFAULT]}
    assert "interfaces" not in result


@pytest.mark.ours("Debian's release of the reference cannot have two routes to one gateway")
@pytest.mark.parametrize("masquerade", [False, True])
def test_two_interfaces_of_a_container_are_independent(host, container, world, masquerade):
    given = conf(ipMasq=masquerade, ipam=DUAL_STACK)
    for ifname in ("eth0", "eth1"):
        host.add(given, container, ifname=ifname)
    host.delete(given, container)
    assert container.addresses("eth1") == ["10.30.0.3/24", "fd00:30::3/64"]
    seen = packets.HOST4 if masquerade else "10.30.0.3"
    assert packets.ask(container, packets.OUTSIDE4, 7000) == ("world", seen)
    assert container.pings(packets.OUTSIDE6)


@pytest.mark.ours("the reference asks an IPAM plugin without a name")
@pytest.mark.parametrize("ipam", [None, {}, {"type": ""}])
def test_without_ipam_it_is_a_pair_without_addresses(host, container, ipam):
    given = conf(cniVersion="1.1.0") | {"ipam": ipam}
    network = Network(host, [given], name="p1", version="1.1.0")
    result = network.add(container)
    assert "ips" not in result
    end = result["interfaces"][0]["name"]
    assert {link(host, end)["operstate"], link(container, "eth0")["operstate"]} == {"UP"}
    assert container.addresses() == []
    assert network.check(container).ok
    assert host.cni("STATUS", given).ok
    network.delete(container)
    assert host.links() == container.links() == {"lo"}


@pytest.mark.ours("the reference has made the pair by then")
def test_an_old_version_without_addresses_is_refused_first(host, container):
    host.refused(conf(cniVersion="0.2.0", ipam={}), container)
    assert host.links() == container.links() == {"lo"}


@pytest.mark.ours("the reference has random MACs only")
def test_the_strongest_mac_wins(host, container):
    asked = {
        "args": {"cni": {"mac": "02:00:00:00:00:02"}},
        "runtimeConfig": {"mac": "02:00:00:00:00:03"},
    }
    args = "MAC=02-00-00-00-00-01;IgnoreUnknown=1"
    for number, keys in enumerate(({}, {"args": asked["args"]}, asked), 1):
        result = host.add(conf(**keys), container, ifname=f"e{number}", CNI_ARGS=args).json
        mac = f"02:00:00:00:00:0{number}"
        assert result["interfaces"][1]["mac"] == link(container, f"e{number}")["address"] == mac


@pytest.mark.ours("the reference's IPAM plugin judges CNI_ARGS")
def test_foreign_cni_args_are_not_its_business(host, container):
    host.add(conf(ipam={}), container, CNI_ARGS="WHAT=ever;;no")
    assert container.links() == {"lo", "eth0"}


@pytest.mark.ours("the reference has no hostInterfaceName")
def test_the_host_s_end_has_the_name_asked_for_once(host, container):
    given = conf(hostInterfaceName="pod1")
    assert host.add(given, container).json["interfaces"][0]["name"] == "pod1"
    second = host.container()
    answer = host.refused(given, second)
    assert "pod1 already exists" in answer.msg
    assert second.links() == {"lo"}
    assert container.pings("10.30.0.1")
    host.delete(given, container)
    host.add(given, second)


@pytest.mark.ours("GC of the reference does nothing")
def test_gc_removes_what_has_no_container(host):
    network = Network(host, [conf(ipMasq=True)], name="p1", version="1.1.0")
    network.plugins[0]["cniVersion"] = "1.1.0"
    kept, lost, other = host.container(), host.container(), host.container()
    network.add(kept)
    network.add(lost)
    elsewhere = {"type": "host-local", "subnet": "10.39.0.0/24"}
    host.add(conf(name="p9", ipMasq=True, ipam=elsewhere), other)
    lost.vanish()
    network.collect(kept)
    rules = host.rules()
    assert lost.id not in rules
    assert kept.id in rules
    assert "10.39.0.2" in rules
    leases = host.listdir("/var/lib/cni/networks/p1")
    assert "10.30.0.2" in leases
    assert "10.30.0.3" not in leases


@pytest.mark.ours("the reference takes duplicate detection for granted")
@pytest.mark.parametrize(("key", "flag"), [({}, "nodad"), ({"enabledad": True}, None)])
def test_duplicate_detection_is_on_only_where_asked_for(host, container, key, flag):
    container.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/accept_dad")
    host.add(conf(ipam=DUAL_STACK, **key), container)
    (found,) = container.show("-6", "address", "show", "dev", "eth0")
    (address,) = (a for a in found["addr_info"] if a["scope"] == "global")
    assert not address.get("tentative")
    assert bool(address.get("nodad")) == (flag == "nodad")
    assert container.run("cat", "/proc/sys/net/ipv6/conf/eth0/accept_dad").strip() == str(
        int("enabledad" in key)
    )
    assert container.pings("fd00:30::1")


@pytest.mark.ours("the reference announces nothing")
def test_an_address_that_is_used_again_is_announced(host, container):
    host.add(conf(), container)
    assert container.run("cat", "/proc/sys/net/ipv4/conf/eth0/arp_notify").strip() == "1"


@pytest.mark.ours("the reference leaves the pair, its rules and the lease")
@pytest.mark.parametrize(
    "keys",
    [
        {"ipam": static("10.30.0.9/24 via 10.30.0.1", routes=[DEFAULT, DEFAULT])},
        {"ipam": static("10.30.0.9/24 via 10.30.0.1", "224.0.0.9/24 via 10.30.0.1")},
        {"ipMasqBackend": "magic"},
        {"mtu": 5},
        {"runtimeConfig": {"mac": "zz"}},
        {"runtimeConfig": {"mac": "01:00:00:00:00:01"}},
        {"hostInterfaceName": "a/b"},
    ],
    ids=",".join,
)
def test_a_failed_add_leaves_nothing_and_a_retry_succeeds(host, container, keys):
    host.refused(conf(ipMasq=True, **keys), container)
    assert host.links() == container.links() == {"lo"}
    assert container.id not in host.rules()
    assert "10.30.0." not in host.rules()
    leases = host.try_run("ls", "/var/lib/cni/networks/p1").stdout
    assert "10.30." not in leases
    host.add(conf(ipMasq=True), container)


@pytest.mark.ours("the reference leaves a pair of links behind")
def test_an_interface_that_exists_is_refused_and_kept(host, container):
    container.run("ip", "link", "add", "eth0", "type", "bridge")
    assert "eth0" in host.refused(conf(), container).msg
    assert link(container, "eth0")["linkinfo"]["info_kind"] == "bridge"
    assert host.links() == {"lo"}
    assert "10.30.0.2" not in host.listdir("/var/lib/cni/networks/p1")


@pytest.mark.parametrize("bad", [{"mtu": "1500"}, {"ipMasq": "yes"}, {"ipam": "host-local"}])
def test_a_wrong_type_is_refused(host, container, bad):
    host.refused(conf(**bad), container)
    assert host.links() == container.links() == {"lo"}


def test_status_asks_the_ipam_plugin(host):
    assert not host.cni("STATUS", conf(cniVersion="1.1.0", ipam={"type": "nothing-there"})).ok


def test_many_containers_at_once_come_and_go(host):
    given = conf(ipMasq=True, ipam=DUAL_STACK)
    containers = [host.container() for _ in range(30)]
    for command in ("ADD", "DEL"):
        started = [host.start(command, given, container) for container in containers]
        answers = [host.finish(process) for process in started]
        assert [answer.msg for answer in answers if not answer.ok] == []
        if command == "ADD":
            assert len({answer.addresses[0] for answer in answers}) == 30
            containers[0].run("ping", "-c3", "-W2", answers[-1].addresses[0])
    assert host.links() == {"lo"}
    assert not re.search(r"10\.30\.0\.|fd00:30::", host.rules())


def test_two_hundred_containers_leave_nothing(host, container):
    """Links, addresses, routes, rules and leases are those of the time before."""
    given = conf(ipMasq=True, ipam=DUAL_STACK)
    host.add(given, container)
    host.delete(given, container)
    before = state(host)
    for _ in range(200):
        host.add(given, container)
        host.delete(given, container)
    assert state(host) == before


def state(host):
    shown = host.run("ip", "-o", "address") + host.run("ip", "route", "show", "table", "all")
    shown += host.run("ip", "-6", "route", "show", "table", "all") + host.rules()
    files = host.run("find", "/run", "/var/lib/cni", "-type", "f", "-o", "-type", "l")
    return re.sub(r"counter packets \d+ bytes \d+", "", shown), sorted(files.split())
