"""vrf: the interface is in a VRF of the container, with its addresses and routes (vrf.md)."""

import json

import pytest

from tests.lab.network import Network

pytestmark = pytest.mark.kernel("vrf")

newer = pytest.mark.ours("Debian's release of the reference is older")
REFERENCE = "/usr/lib/cni"


@pytest.fixture
def container(host):
    """eth0 with both families, default routes and one with a metric; eth1 with 10.8.0.2/24."""
    container = host.container()
    container.run("ip", "link", "set", "lo", "up")
    add_link(container, "eth0", "10.9.0.2/24", "fd09::2/64")
    add_link(container, "eth1", "10.8.0.2/24")
    container.run("ip", "route", "add", "default", "via", "10.9.0.1")
    container.run("ip", "route", "add", "192.168.5.0/24", "via", "10.9.0.1", "metric", "77")
    container.run("ip", "-6", "route", "add", "default", "via", "fd09::1")
    return container


def add_link(container, name, *addresses):
    """An interface whose other end is in the container, too."""
    container.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"far-{name}")
    for end in (f"far-{name}", name):
        container.run("ip", "link", "set", end, "up")
    for address in addresses:
        container.run("ip", "address", "add", address, "dev", name)


def conf(container, vrfname="blue", ifname="eth0", version="1.0.0", **keys):
    ip = {"address": "10.9.0.2/24", "gateway": "10.9.0.1", "interface": 1}
    previous = {
        "cniVersion": version,
        "interfaces": [{"name": "vh"}, {"name": ifname, "sandbox": container.netns}],
        "ips": [ip | ({"version": "4"} if version < "1" else {})],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {"search": ["x.y"]},
    }
    base = {"cniVersion": version, "name": "v", "type": "vrf", "vrfname": vrfname}
    return base | {"prevResult": previous} | keys


def vrfs(container):
    """Name -> table."""
    found = container.show("link", "show", "type", "vrf")
    return {vrf["ifname"]: vrf["linkinfo"]["info_data"]["table"] for vrf in found if vrf}


def master(container, name="eth0"):
    (link,) = container.show("link", "show", "dev", name)
    return link.get("master")


def routes(container, table, family="-4"):
    """Destination -> unicast route; link-local ones come and go with the kernel's timing."""
    done = container.try_run("ip", "-j", family, "route", "show", "table", str(table))
    found = json.loads(done.stdout.strip() or "[]") if done.returncode == 0 else []
    return {
        route["dst"]: route
        for route in found
        if route.get("type", "unicast") == "unicast" and "fe80" not in route["dst"]
    }


def through(container, name="eth0"):
    """Destinations of both families in the main table that lead through an interface."""
    found = [*routes(container, "main").values(), *routes(container, "main", "-6").values()]
    return {route["dst"] for route in found if route.get("dev") == name}


def state(container):
    """Every route, address, VRF and master, less what IPv6 makes by itself with some delay."""
    lines = []
    for family in ("-4", "-6"):
        lines += container.run("ip", family, "route", "show", "table", "all").splitlines()
    own = ("fe80:", "ff00::", "anycast")
    lines = [line.strip() for line in lines if not any(word in line for word in own)]
    addresses = {name: sorted(container.addresses(name)) for name in ("eth0", "eth1")}
    masters = {name: master(container, name) for name in ("eth0", "eth1")}
    return sorted(lines), addresses, masters, vrfs(container)


# -- the page's examples ---------------------------------------------------------------


def test_the_interface_moves_into_a_new_vrf(host, container):
    given = conf(container)
    answer = host.add(given, container)
    assert {key: answer.json[key] for key in given["prevResult"]} == given["prevResult"]
    assert vrfs(container) == {"blue": 1}
    assert master(container) == "blue"
    (vrf,) = container.show("link", "show", "dev", "blue")
    assert "UP" in vrf["flags"]
    assert container.addresses() == ["10.9.0.2/24", "fd09::2/64"]
    assert through(container) == set()


@newer
def test_the_routes_move_with_it(host, container):
    host.add(conf(container), container)
    table = routes(container, 1)
    assert set(table) == {"default", "192.168.5.0/24", "10.9.0.0/24"}
    assert table["192.168.5.0/24"]["metric"] == 77
    assert routes(container, 1, "-6")["default"]["gateway"] == "fd09::1"


def test_a_second_interface_joins_it(host, container):
    host.add(conf(container), container)
    host.add(conf(container, ifname="eth1"), container, ifname="eth1")
    assert vrfs(container) == {"blue": 1}
    assert master(container, "eth1") == "blue"
    assert {"10.9.0.0/24", "10.8.0.0/24"} <= set(routes(container, 1))


def test_each_vrf_has_a_table_of_its_own(host, container):
    host.add(conf(container), container)
    host.add(conf(container, "red", "eth1"), container, ifname="eth1")
    assert vrfs(container) == {"blue": 1, "red": 2}


def test_the_table_may_be_configured(host, container):
    host.add(conf(container, table=1001), container)
    assert vrfs(container) == {"blue": 1001}
    assert "10.9.0.0/24" in routes(container, 1001)


def test_another_table_than_the_vrf_s_is_refused(host, container):
    host.add(conf(container), container)
    before = state(container)
    answer = host.refused(conf(container, ifname="eth1", table=77), container, ifname="eth1")
    assert "blue" in answer.msg
    assert state(container) == before


def test_an_interface_with_another_master_is_refused(host, container):
    container.run("ip", "link", "add", "br0", "type", "bridge")
    container.run("ip", "link", "set", "eth0", "master", "br0")
    assert "br0" in host.refused(conf(container), container).msg
    assert master(container) == "br0"


def test_a_link_of_another_kind_with_the_name_is_refused(host, container):
    container.run("ip", "link", "add", "blue", "type", "dummy")
    host.refused(conf(container), container)
    assert master(container) is None


@pytest.mark.parametrize("name", ["", None, 5, "longer-than-15-b", "a/b", "a b"], ids=str)
def test_an_impossible_name_is_refused(host, container, name):
    host.refused(conf(container, vrfname=name), container)
    assert vrfs(container) == {}


@pytest.mark.parametrize("table", [-1, 2**32, "7", 1.5], ids=str)
def test_an_impossible_table_is_refused(host, container, table):
    host.refused(conf(container, table=table), container)
    assert vrfs(container) == {}


@pytest.mark.parametrize("command", ["ADD", "CHECK"])
def test_a_result_is_needed(host, container, command):
    host.refused(conf(container, prevResult=None), container, command)


@pytest.mark.parametrize("name", ["", None])
def test_del_needs_the_name(host, container, name):
    host.refused(conf(container, vrfname=name), container, "DEL")


def test_the_vrf_goes_with_its_last_interface(host, container):
    for name in ("eth0", "eth1"):
        host.add(conf(container, ifname=name), container, ifname=name)
    for _ in range(2):
        host.delete(conf(container, prevResult=None), container)
        assert vrfs(container) == {"blue": 1}
    assert (master(container), master(container, "eth1")) == (None, "blue")
    for _ in range(2):
        host.delete(conf(container), container, ifname="eth1")
        assert vrfs(container) == {}


def test_del_without_a_namespace_succeeds(host, container):
    host.delete(conf(container), container, CNI_NETNS="")
    host.delete(conf(container), container, CNI_NETNS="/run/gone")


@newer
def test_check_notices_when_the_interface_is_elsewhere(host, container):
    given = conf(container)
    host.add(given, container)
    assert host.cni("CHECK", given, container).ok
    container.run("ip", "link", "set", "eth0", "nomaster")
    assert "eth0" in host.refused(given, container, "CHECK").msg


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
def test_the_result_of_any_version_is_handed_on(host, container, version):
    given = conf(container, version=version)
    result = host.add(given, container).json
    assert {key: result[key] for key in given["prevResult"]} == given["prevResult"]


def test_older_versions_are_refused(host, container):
    assert host.refused(conf(container, version="0.3.0"), container).code == 1


# -- routes and addresses --------------------------------------------------------------


def test_same_addresses_live_in_two_vrfs(host, container):
    container.run("ip", "address", "flush", "dev", "eth1")
    container.run("ip", "address", "add", "10.9.0.2/24", "dev", "eth1")
    host.add(conf(container), container)
    host.add(conf(container, "red", "eth1"), container, ifname="eth1")
    assert routes(container, 1)["10.9.0.0/24"]["dev"] == "eth0"
    assert routes(container, 2)["10.9.0.0/24"]["dev"] == "eth1"


def test_routes_of_other_interfaces_stay(host, container):
    container.run("ip", "route", "add", "10.70.0.0/16", "via", "10.8.0.1")
    before = through(container, "eth1")
    host.add(conf(container), container)
    assert through(container, "eth1") == before == {"10.8.0.0/24", "10.70.0.0/16"}


@pytest.mark.ours("routes without a gateway are lost, and those relying on them fail")
def test_routes_without_a_gateway_survive(host, container):
    container.run("ip", "route", "add", "192.168.6.0/24", "dev", "eth0")
    container.run("ip", "route", "add", "10.71.0.0/16", "via", "192.168.6.1")
    onlink = ("via", "169.254.9.9", "dev", "eth0", "onlink", "mtu", "1300")
    container.run("ip", "route", "add", "10.72.0.0/16", *onlink)
    host.add(conf(container), container)
    table = routes(container, 1)
    assert table["192.168.6.0/24"]["scope"] == "link"
    assert table["10.71.0.0/16"]["gateway"] == "192.168.6.1"
    assert table["10.72.0.0/16"]["flags"] == ["onlink"]
    assert table["10.72.0.0/16"]["metrics"] == [{"mtu": 1300}]


@pytest.mark.ours("they are lost")
def test_routes_of_other_tables_survive_in_their_own(host, container):
    container.run("ip", "route", "add", "10.71.0.0/16", "via", "10.9.0.1", "table", "500")
    container.run("ip", "-6", "route", "add", "fd71::/64", "via", "fd09::1", "table", "500")
    before = routes(container, 500), routes(container, 500, "-6")
    given = conf(container)
    host.add(given, container)
    assert (routes(container, 500), routes(container, 500, "-6")) == before
    host.delete(given, container)
    assert (routes(container, 500), routes(container, 500, "-6")) == before


FAMILIES = [
    pytest.param("-4", "10.8.0.1", "10.9.0.1", id="IPv4"),
    pytest.param("-6", "fd08::1", "fd09::1", id="IPv6"),
]


@pytest.mark.ours("the reference does not look into multipath routes (plugins#1253)")
@pytest.mark.parametrize(("family", "gateway", "other"), FAMILIES)
def test_a_default_shared_with_another_interface_is_parted(host, container, family, gateway, other):
    share_default(container, family, gateway, other)
    host.add(conf(container, ifname="eth1"), container, ifname="eth1")
    assert routes(container, 1, family)["default"]["gateway"] == gateway
    default = routes(container, "main", family)["default"]
    assert (default["gateway"], default["dev"]) == (other, "eth0")


@pytest.mark.ours("the reference does not look into multipath routes (plugins#1253)")
def test_del_joins_a_default_of_ipv6_again(host, container):
    share_default(container, "-6", "fd08::1", "fd09::1")
    before = state(container)
    given = conf(container, ifname="eth1")
    host.add(given, container, ifname="eth1")
    host.delete(given, container, ifname="eth1")
    assert state(container) == before


def share_default(container, family, gateway, other):
    """One default route by way of eth0 and of eth1."""
    container.run("ip", "address", "add", "fd08::2/64", "dev", "eth1")
    container.run("ip", family, "route", "flush", "default")
    hops = [("nexthop", "via", other), ("nexthop", "via", gateway)]
    container.run("ip", family, "route", "add", "default", *hops[0], *hops[1])


@newer
def test_an_ipv6_address_is_usable_also_after_duplicate_detection(host, container):
    container.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_dad")
    host.add(conf(container), container)
    address = container.run("ip", "-6", "-o", "address", "show", "dev", "eth0", "scope", "global")
    assert "fd09::2/64" in address
    assert "tentative" not in address
    local = container.run("ip", "-6", "route", "show", "table", "1", "type", "local")
    assert "fd09::2" in local


@pytest.mark.ours("the reference waits for an address that cannot get usable without a carrier")
def test_a_link_without_a_carrier_is_moved_too(host, container):
    container.run("ip", "link", "set", "far-eth0", "down")
    host.add(conf(container), container)
    assert master(container) == "blue"
    assert container.addresses() == ["10.9.0.2/24", "fd09::2/64"]


@pytest.mark.ours("the reference takes them")
def test_tables_with_rules_or_routes_are_not_chosen(host, container):
    container.run("ip", "route", "add", "10.71.0.0/16", "via", "10.8.0.1", "table", "1")
    container.run("ip", "-6", "rule", "add", "from", "fd00::1", "lookup", "2")
    host.add(conf(container), container)
    assert vrfs(container) == {"blue": 3}


def test_two_vrfs_may_have_one_table(host, container):
    host.add(conf(container, table=60), container)
    host.add(conf(container, "red", "eth1", table=60), container, ifname="eth1")
    assert vrfs(container) == {"blue": 60, "red": 60}


@pytest.mark.ours("the reference has no lock")
@pytest.mark.parametrize("together", [True, False])
def test_interfaces_that_come_at_the_same_time_find_their_vrf(host, container, together):
    names = [f"net{number}" for number in range(4)]
    for number, name in enumerate(names):
        add_link(container, name, f"10.60.{number}.2/24")
    of_name = {name: "blue" if together else f"v-{name}" for name in names}
    calls = [
        host.start("ADD", conf(container, of_name[name], name), container, ifname=name)
        for name in names
    ]
    assert [host.finish(call).status for call in calls] == [0] * len(names)
    assert {name: master(container, name) for name in names} == of_name
    expected = [1] if together else [1, 2, 3, 4]
    assert sorted(vrfs(container).values()) == expected


# -- all or nothing --------------------------------------------------------------------


@pytest.mark.ours("the reference makes the VRF first and leaves it")
def test_a_failed_add_leaves_no_vrf(host, container):
    before = state(container)
    host.refused(conf(container, ifname="none0"), container, ifname="none0")
    assert state(container) == before


@pytest.mark.ours("the reference leaves the interface in the VRF")
def test_an_add_that_fails_half_way_is_undone(host, container):
    """Duplicate detection that never ends: the far end keeps every neighbour solicitation."""
    share_default(container, "-6", "fd08::1", "fd09::1")
    before = state(container)
    for name in ("accept_dad", "dad_transmits"):
        value = "1" if name == "accept_dad" else "600"
        container.run("sh", "-c", f"echo {value} > /proc/sys/net/ipv6/conf/eth1/{name}")
    answer = host.refused(conf(container, ifname="eth1"), container, ifname="eth1")
    assert "fd08::2" in answer.msg
    assert vrfs(container) == {}
    assert master(container, "eth1") is None
    assert container.addresses("eth1") == ["10.8.0.2/24", "fd08::2/64"]
    assert state(container)[0] == [line for line in before[0] if "local fd08::2" not in line]


@pytest.mark.ours("the interface 'already has a master' there")
def test_a_repeated_add_changes_nothing(host, container):
    given = conf(container)
    answer = host.add(given, container)
    after = state(container)
    assert host.add(given, container).json == answer.json
    assert state(container) == after


@pytest.mark.ours("the reference loses IPv6 addresses and routes")
def test_del_puts_everything_back(host, container):
    container.run("ip", "route", "add", "10.71.0.0/16", "dev", "eth0")
    before = state(container)
    given = conf(container)
    host.add(given, container)
    host.delete(given, container)
    assert state(container) == before


@pytest.mark.ours("the reference loses IPv6 addresses and routes")
def test_nothing_piles_up_over_many_rounds(host, container):
    before = state(container)
    given = conf(container)
    for _ in range(5):
        host.add(given, container)
        host.delete(given, container)
    assert state(container) == before


@pytest.mark.ours("the reference fails, and the empty VRF stays")
def test_del_removes_the_vrf_when_the_interface_is_gone(host, container):
    host.add(conf(container), container)
    container.run("ip", "link", "del", "eth0")
    host.delete(conf(container), container)
    assert vrfs(container) == {}


@pytest.mark.ours("the reference takes it out of any master")
def test_del_leaves_an_interface_in_another_vrf(host, container):
    host.add(conf(container), container)
    host.add(conf(container, "red", "eth1"), container, ifname="eth1")
    host.delete(conf(container, "red"), container)
    assert (master(container), master(container, "eth1")) == ("blue", "red")


@pytest.mark.ours("this is about both")
def test_what_the_reference_made_is_removed(host, container):
    given = conf(container)
    host.add(given, container, binaries=REFERENCE)
    assert vrfs(container) == {"blue": 1}
    host.delete(given, container)
    assert vrfs(container) == {}
    assert master(container) is None
    assert through(container) >= {"10.9.0.0/24", "fd09::/64"}


@pytest.mark.ours("the reference looks at neither")
@pytest.mark.parametrize("change", ["down", "table"])
def test_check_notices_a_vrf_that_is_down_or_has_another_table(host, container, change):
    given = conf(container)
    host.add(given, container)
    if change == "down":
        container.run("ip", "link", "set", "blue", "down")
    else:
        given["table"] = 99
    assert "blue" in host.refused(given, container, "CHECK").msg


@newer
def test_status_and_gc_have_nothing_to_say(host):
    given = {"cniVersion": "1.1.0", "name": "v", "type": "vrf", "vrfname": "blue"}
    for command, more in (("STATUS", {}), ("GC", {"cni.dev/valid-attachments": []})):
        answer = host.cni(command, given | more)
        assert (answer.ok, answer.stdout) == (True, "")


# -- packets ---------------------------------------------------------------------------


def router(host, number):
    """A machine on bridge ``br<number>``; all have the same address, each knows another network."""
    machine = host.container()
    host.run("ip", "link", "add", f"br{number}", "type", "bridge")
    pair = ("link", "add", f"up{number}", "type", "veth", "peer", "name", "in0")
    host.run("ip", *pair, "netns", machine.name)
    host.run("ip", "link", "set", f"up{number}", "master", f"br{number}", "up")
    machine.run("ip", "link", "set", "in0", "up")
    machine.run("ip", "link", "set", "lo", "up")
    for address in ("10.9.0.1/24", "fd09::1/64"):
        machine.run("ip", "address", "add", address, "dev", "in0")
    for address in (f"198.51.100.{number}", f"2001:db8:51::{number}"):
        machine.run("ip", "address", "add", address, "dev", "lo")


def network(host, number, vrfname):
    addresses = [
        {"address": "10.9.0.2/24", "gateway": "10.9.0.1"},
        {"address": "fd09::2/64", "gateway": "fd09::1"},
    ]
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    ipam = {"type": "static", "addresses": addresses, "routes": routes}
    bridge = {"type": "bridge", "bridge": f"br{number}", "ipam": ipam}
    return Network(host, [bridge, {"type": "vrf", "vrfname": vrfname}], name=f"net{number}")


@newer
def test_networks_with_the_same_addresses_are_reached_each_in_its_vrf(host):
    for number in (1, 2):
        router(host, number)
    inside = host.container()
    chains = [network(host, number, name) for number, name in ((1, "blue"), (2, "red"))]
    for number, chain in enumerate(chains):
        chain.add(inside, ifname=f"net{number}")
    for number, name in ((1, "blue"), (2, "red")):
        for far in ("198.51.100.{}", "2001:db8:51::{}"):
            words = ("ping", "-c2", "-W2", "-n", "-I", name)
            assert inside.try_run(*words, far.format(number)).returncode == 0
            assert inside.try_run(*words, far.format(3 - number)).returncode != 0
    for number, chain in enumerate(chains):
        chain.delete(inside, ifname=f"net{number}")
    assert vrfs(inside) == {}


@pytest.mark.ours("CHECK of the reference's main plugins looks at the main table only")
def test_the_whole_chain_passes_its_check(host):
    router(host, 1)
    inside = host.container()
    chain = network(host, 1, "blue")
    chain.add(inside)
    answer = chain.check(inside)
    assert answer.ok, answer
