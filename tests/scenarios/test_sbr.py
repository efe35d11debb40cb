"""sbr: each address uses the routes of its own interface (sbr.md)."""

import copy
import json
import os
from functools import partial

import pytest

from tests.lab.waiting import until

REFERENCE = "/usr/lib/cni"

newer = pytest.mark.ours("Debian's release of the reference is older than this key")


@pytest.fixture
def container(host):
    """eth0 with 10.9.0.2/24 and fd09::2/64, a default route of IPv4 and one to 192.168.5.0/24."""
    container = host.container()
    container.run("ip", "link", "set", "lo", "up")
    add_link(container, "eth0", "10.9.0.2/24", "fd09::2/64")
    for dst in ("default", "192.168.5.0/24"):
        container.run("ip", "route", "add", dst, "via", "10.9.0.1")
    return container


def add_link(container, name, *addresses):
    """An interface whose other end is in the container, too: only its routes matter."""
    container.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"far-{name}")
    for end in (f"far-{name}", name):
        container.run("ip", "link", "set", end, "up")
    for address in addresses:
        container.run("ip", "address", "add", address, "dev", name)
        until(partial(is_local, container, address.partition("/")[0]))


def is_local(container, ip):
    """An IPv6 address gets its routes some time after it was added."""
    family = "-6" if ":" in ip else "-4"
    return f"local {ip} " in container.run("ip", family, "route", "show", "table", "local")


def conf(container, ips=(("10.9.0.2/24", "10.9.0.1"),), ifname="eth0", version="1.0.0", **keys):
    entries = [{"address": address, "interface": 1} for address, _ in ips]
    for entry, (_, gateway) in zip(entries, ips, strict=True):
        if gateway:
            entry["gateway"] = gateway
        if version < "1":
            entry["version"] = "6" if ":" in entry["address"] else "4"
    interfaces = [{"name": "vh"}, {"name": ifname, "sandbox": container.netns}]
    previous = {"cniVersion": version, "interfaces": interfaces, "ips": entries}
    if version < "0.3":
        ((address, gateway),) = ips
        previous = {"cniVersion": version, "ip4": {"ip": address, "gateway": gateway}}
    base = {"cniVersion": version, "name": "s", "type": "sbr"}
    return base | {"prevResult": previous} | keys


DUAL = (("10.9.0.2/24", "10.9.0.1"), ("fd09::2/64", "fd09::1"))


def rules(container):
    """Source -> table of the rules that have one."""
    found = container.show("-4", "rule") + container.show("-6", "rule")
    return {rule["src"]: int(rule["table"]) for rule in found if rule["src"] != "all"}


def routes(container, table, family="-4"):
    """Destination -> route; link-local ones come and go with the kernel's timing."""
    done = container.try_run("ip", "-j", family, "route", "show", "table", str(table))
    found = json.loads(done.stdout.strip() or "[]") if done.returncode == 0 else []
    return {route["dst"]: route for route in found if "dst" in route and "fe80" not in route["dst"]}


def through(container, name="eth0", family="-4"):
    """Destinations in the main table that lead through an interface."""
    found = routes(container, "main", family).values()
    return {route["dst"] for route in found if route.get("dev") == name}


def state(container):
    """Every rule and route, less what IPv6 makes by itself some time after a link is up."""
    lines = []
    for family in ("-4", "-6"):
        lines += container.run("ip", family, "rule").splitlines()
        lines += container.run("ip", family, "route", "show", "table", "all").splitlines()
    own = ("fe80:", "ff00::", "anycast")
    return sorted(line.strip() for line in lines if not any(word in line for word in own))


# -- the page's examples ---------------------------------------------------------------


def test_routes_move_to_the_table_of_the_address(host, container):
    given = conf(container)
    result = host.add(given, container).json
    assert {key: result[key] for key in given["prevResult"]} == given["prevResult"]
    assert rules(container) == {"10.9.0.2": 100}
    table = routes(container, 100)
    assert table["default"]["gateway"] == table["192.168.5.0/24"]["gateway"] == "10.9.0.1"
    assert table["10.9.0.0/24"]["scope"] == "link"
    assert table["10.9.0.0/24"]["prefsrc"] == "10.9.0.2"
    assert through(container) == set()


def test_each_family_has_a_table_of_its_own(host, container):
    host.add(conf(container, DUAL), container)
    assert rules(container) == {"10.9.0.2": 100, "fd09::2": 101}
    table = routes(container, 101, "-6")
    assert table["default"]["gateway"] == "fd09::1"
    assert "fd09::/64" in table
    assert through(container, family="-6") == set()


def test_a_table_that_a_rule_looks_up_is_not_taken(host, container):
    container.run("ip", "rule", "add", "from", "192.0.2.1", "lookup", "100")
    container.run("ip", "-6", "rule", "add", "from", "fd00::1", "lookup", "101")
    host.add(conf(container), container)
    assert rules(container)["10.9.0.2"] == 102


@newer
def test_with_a_table_only_rules_are_made(host, container):
    before = routes(container, "main")
    given = conf(container, DUAL, table=1234)
    host.add(given, container)
    assert rules(container) == {"10.9.0.2": 1234, "fd09::2": 1234}
    assert routes(container, "main") == before
    host.delete(given | {"table": 99}, container)
    assert rules(container) == {"10.9.0.2": 1234, "fd09::2": 1234}
    host.delete(given, container)
    assert rules(container) == {}


@newer
def test_a_configured_gateway_wins_over_the_result_s(host, container):
    container.run("ip", "route", "del", "default")
    host.add(conf(container, gateways=["10.9.0.254"]), container)
    assert routes(container, 100)["default"]["gateway"] == "10.9.0.254"


@newer
@pytest.mark.parametrize(
    "gateways",
    [
        ["10.9.0.3", "10.9.0.4"],
        ["fd09::3", "fd09::4"],
        ["10.9.0.3", "fd09::3", "10.9.0.5"],
        ["gateway"],
        ["10.9.0.1/24"],
        [""],
        [5],
        "10.9.0.3",
    ],
    ids=str,
)
def test_impossible_gateways_are_refused(host, container, gateways):
    before = state(container)
    host.refused(conf(container, gateways=gateways), container)
    assert state(container) == before


@newer
def test_source_hints_leave_the_subnet_in_the_main_table(host, container):
    host.add(conf(container, DUAL, addSourceHints=True), container)
    assert set(routes(container, 100)) == {"default", "10.9.0.0/24", "192.168.5.0/24"}
    assert through(container) == {"10.9.0.0/24"}
    assert through(container, family="-6") == {"fd09::/64"}
    assert routes(container, "main")["10.9.0.0/24"]["prefsrc"] == "10.9.0.2"
    assert routes(container, "main", "-6")["fd09::/64"]["prefsrc"] == "fd09::2"


def test_del_removes_the_rules_and_may_be_repeated(host, container):
    container.run("ip", "rule", "add", "from", "192.0.2.1", "lookup", "700")
    given = conf(container, DUAL)
    host.add(given, container)
    del given["prevResult"]
    for _ in range(2):
        host.delete(given, container)
        assert rules(container) == {"192.0.2.1": 700}


@pytest.mark.parametrize(
    "previous", [None, {"cniVersion": "1.0.0"}, {"cniVersion": "1.0.0", "ips": []}], ids=str
)
def test_a_result_with_addresses_is_needed(host, container, previous):
    before = state(container)
    host.refused(conf(container, prevResult=previous), container)
    assert state(container) == before


@pytest.mark.ours("the reference fails, and leaves an empty file where the namespace was")
def test_del_without_a_namespace_succeeds_and_makes_no_file(host, container):
    given = conf(container)
    host.delete(given, container, CNI_NETNS="/run/gone")
    host.delete(given, container, CNI_NETNS="")
    assert "gone" not in host.listdir("/run")


def test_a_namespace_that_is_none_is_refused(host, container):
    host.write("/run/file", "")
    for command in ("ADD", "DEL"):
        host.refused(conf(container), container, command, CNI_NETNS="/run/file")


# -- addresses and interfaces ----------------------------------------------------------


def test_addresses_of_other_interfaces_are_left_alone(host, container):
    add_link(container, "net1", "10.60.0.2/24")
    given = conf(container, (("10.9.0.2/24", "10.9.0.1"), ("10.60.0.2/24", "10.60.0.1")))
    given["prevResult"]["interfaces"].append({"name": "net1", "sandbox": container.netns})
    given["prevResult"]["ips"][1]["interface"] = 2
    host.add(given, container)
    assert rules(container) == {"10.9.0.2": 100}
    assert through(container, "net1") == {"10.60.0.0/24"}


@pytest.mark.parametrize("index", [None, 7, -1])
def test_an_address_of_no_interface_is_the_interface_s_own(host, container, index):
    given = conf(container)
    given["prevResult"]["ips"][0]["interface"] = index
    host.add(given, container)
    assert rules(container) == {"10.9.0.2": 100}


@pytest.mark.ours("the reference removes all routes and puts them nowhere")
def test_without_an_address_of_the_interface_nothing_changes(host, container):
    given = conf(container)
    given["prevResult"]["ips"][0]["interface"] = 0
    before = state(container)
    assert host.add(given, container).json == given["prevResult"]
    assert state(container) == before


@pytest.mark.ours("the second table keeps the first address as its source")
def test_two_addresses_of_a_subnet_have_two_tables_and_each_its_source(host, container):
    container.run("ip", "address", "add", "10.9.0.3/24", "dev", "eth0")
    both = (("10.9.0.2/24", "10.9.0.1"), ("10.9.0.3/24", "10.9.0.1"))
    host.add(conf(container, both), container)
    assert rules(container) == {"10.9.0.2": 100, "10.9.0.3": 101}
    for table, source in ((100, "10.9.0.2"), (101, "10.9.0.3")):
        found = routes(container, table)
        assert set(found) == {"default", "10.9.0.0/24", "192.168.5.0/24"}
        assert found["10.9.0.0/24"]["prefsrc"] == source


def test_each_subnet_s_routes_go_to_its_own_address(host, container):
    container.run("ip", "address", "add", "10.19.0.2/24", "dev", "eth0")
    container.run("ip", "route", "add", "192.168.6.0/24", "via", "10.19.0.1")
    two = (("10.9.0.2/24", "10.9.0.1"), ("10.19.0.2/24", None))
    host.add(conf(container, two), container)
    assert set(routes(container, 100)) == {"default", "10.9.0.0/24", "192.168.5.0/24"}
    assert set(routes(container, 101)) == {"10.19.0.0/24", "192.168.6.0/24"}
    assert through(container) == set()


def test_a_second_interface_finds_the_next_table(host, container):
    add_link(container, "net1", "10.60.0.2/24")
    host.add(conf(container), container)
    host.add(conf(container, (("10.60.0.2/24", "10.60.0.1"),), "net1"), container, ifname="net1")
    assert rules(container) == {"10.9.0.2": 100, "10.60.0.2": 101}
    assert routes(container, 101)["default"]["gateway"] == "10.60.0.1"


def test_interfaces_that_come_at_the_same_time_get_tables_of_their_own(host, container):
    names = [f"net{number}" for number in range(8)]
    for number, name in enumerate(names):
        add_link(container, name, f"10.60.{number}.2/24")
    calls = [
        host.start(
            "ADD",
            conf(container, ((f"10.60.{number}.2/24", f"10.60.{number}.1"),), name),
            container,
            ifname=name,
        )
        for number, name in enumerate(names)
    ]
    assert [host.finish(call).status for call in calls] == [0] * len(names)
    found = rules(container)
    assert sorted(found.values()) == list(range(100, 108))
    for number in range(len(names)):
        table = routes(container, found[f"10.60.{number}.2"])
        assert table["default"]["gateway"] == f"10.60.{number}.1"
        assert set(table) == {"default", f"10.60.{number}.0/24"}


def test_the_interface_is_needed(host, container):
    before = state(container)
    host.refused(conf(container, ifname="none0"), container, ifname="none0")
    assert state(container) == before


@pytest.mark.ours("Debian's release of the reference is older: DEL fails there")
def test_del_succeeds_when_the_interface_is_gone(host, container):
    given = conf(container)
    host.add(given, container)
    container.run("ip", "link", "del", "eth0")
    host.delete(given, container)
    assert rules(container) == {}
    del given["prevResult"]
    host.delete(given, container)


@pytest.mark.ours("the reference leaves the rule of an address whose interface is gone")
def test_del_keeps_the_rule_of_an_address_that_another_interface_took_over(host, container):
    given = conf(container)
    host.add(given, container)
    container.run("ip", "link", "del", "eth0")
    add_link(container, "net1", "10.9.0.2/24")
    host.delete(given, container)
    assert rules(container) == {"10.9.0.2": 100}


# -- which routes ----------------------------------------------------------------------


def test_the_default_route_of_the_interface_wins_over_the_gateway(host, container):
    container.run("ip", "route", "replace", "default", "via", "10.9.0.7")
    host.add(conf(container), container)
    assert routes(container, 100)["default"]["gateway"] == "10.9.0.7"


def test_a_route_keeps_its_metric_source_protocol_and_mtu(host, container):
    words = "route add 10.77.0.0/16 via 10.9.0.9 metric 77 proto static mtu 1300 src 10.9.0.2"
    container.run("ip", *words.split())
    before = routes(container, "main")["10.77.0.0/16"]
    host.add(conf(container), container)
    assert routes(container, 100)["10.77.0.0/16"] == before
    assert (before["metric"], before["protocol"], before["prefsrc"]) == (77, "static", "10.9.0.2")
    assert before["metrics"] == [{"mtu": 1300}]


@pytest.mark.ours("such routes are lost: no address's subnet has the gateway")
def test_an_on_link_gateway_outside_of_the_subnet_is_kept(host, container):
    add_link(container, "net1", "10.60.0.2/32")
    container.run("ip", "route", "add", "169.254.1.1", "dev", "net1")
    container.run("ip", "route", "add", "10.70.0.0/16", "via", "169.254.1.1", "dev", "net1")
    onlink = ("via", "169.254.9.9", "dev", "net1", "onlink")
    container.run("ip", "route", "add", "10.71.0.0/16", *onlink)
    host.add(conf(container, (("10.60.0.2/32", None),), "net1"), container, ifname="net1")
    table = routes(container, 100)
    assert set(table) == {"169.254.1.1", "10.70.0.0/16", "10.71.0.0/16"}
    assert table["10.71.0.0/16"]["flags"] == ["onlink"]


@pytest.mark.ours("the reference copies them to the tables of both families")
def test_a_family_without_an_address_keeps_its_routes(host, container):
    before = routes(container, "main", "-6")
    host.add(conf(container), container)
    assert routes(container, "main", "-6") == before
    assert routes(container, 100, "-6") == {}


@pytest.mark.ours("link-local addresses cannot be reached any more there")
def test_the_link_local_subnet_stays_in_the_main_table_too(host, container):
    host.add(conf(container, DUAL), container)
    for table in ("main", "101"):
        assert "fe80::/64 dev eth0" in container.run("ip", "-6", "route", "show", "table", table)


@pytest.mark.ours("the reference only looks at the main table")
def test_a_table_that_has_routes_is_not_taken(host, container):
    add_link(container, "net1", "10.60.0.2/24")
    container.run("ip", "route", "add", "10.70.0.0/16", "dev", "net1", "table", "100")
    container.run("ip", "-6", "route", "add", "unreachable", "fd77::/64", "table", "101")
    host.add(conf(container), container)
    assert rules(container) == {"10.9.0.2": 102}


@pytest.mark.ours("a repeated ADD fails there and leaves another rule")
def test_a_rule_to_a_table_of_another_interface_is_not_taken_over(host, container):
    add_link(container, "net1", "10.60.0.2/24")
    container.run("ip", "route", "add", "default", "via", "10.60.0.1", "table", "700")
    container.run("ip", "rule", "add", "from", "10.9.0.2", "lookup", "700")
    before = routes(container, 700)
    for _ in range(2):
        host.add(conf(container), container)
        assert routes(container, 700) == before
        found = [rule["table"] for rule in container.show("rule") if rule["src"] == "10.9.0.2"]
        assert found == ["100", "700"]


@pytest.mark.ours("the table would have no default route (plugins#654)")
def test_a_gateway_that_only_a_route_of_the_result_tells_is_used(host, container):
    container.run("ip", "route", "del", "default")
    given = conf(container, (("10.9.0.2/24", None),))
    given["prevResult"]["routes"] = [{"dst": "0.0.0.0/0", "gw": "10.9.0.5"}]
    host.add(given, container)
    assert routes(container, 100)["default"]["gateway"] == "10.9.0.5"


FAMILIES = [
    pytest.param("-4", "10.60.0.2/24", "10.60.0.1", "10.9.0.1", id="IPv4"),
    pytest.param("-6", "fd60::2/64", "fd60::1", "fd09::1", id="IPv6"),
]


@pytest.mark.ours("the reference does not look into multipath routes (plugins#1253)")
@pytest.mark.parametrize(("family", "address", "gateway", "other"), FAMILIES)
def test_a_default_shared_with_another_interface_is_parted(
    host, container, family, address, gateway, other
):
    share_default(container, family, address, gateway, other)
    host.add(conf(container, ((address, None),), "net1"), container, ifname="net1")
    assert routes(container, 100, family)["default"]["gateway"] == gateway
    main = routes(container, "main", family)["default"]
    assert (main["gateway"], main["dev"]) == (other, "eth0")


@pytest.mark.ours("the reference does not look into multipath routes (plugins#1253)")
def test_del_joins_a_default_of_ipv6_again(host, container):
    share_default(container, "-6", "fd60::2/64", "fd60::1", "fd09::1")
    before = state(container)
    given = conf(container, (("fd60::2/64", None),), "net1")
    host.add(given, container, ifname="net1")
    host.delete(given, container, ifname="net1")
    assert state(container) == before


@pytest.mark.ours("the reference does not look into multipath routes")
@pytest.mark.parametrize(("family", "address", "gateway", "other"), FAMILIES)
def test_a_failed_add_joins_a_shared_default_again(
    host, container, family, address, gateway, other
):
    share_default(container, family, address, gateway, other)
    unreachable = {"-4": ("fd99::2/64", "fd99::1"), "-6": ("10.99.0.2/24", "10.99.0.1")}[family]
    before = state(container)
    given = conf(container, ((address, None), unreachable), "net1")
    host.refused(given, container, ifname="net1")
    assert state(container) == before


def share_default(container, family, address, gateway, other):
    """One default route by way of eth0 and of net1."""
    add_link(container, "net1", address)
    container.run("ip", family, "route", "flush", "default")
    hops = [("nexthop", "via", other), ("nexthop", "via", gateway)]
    container.run("ip", family, "route", "add", "default", *hops[0], *hops[1])


@pytest.mark.parametrize(("family", "address", "gateway", "other"), FAMILIES)
@pytest.mark.ours("the reference does not look into multipath routes")
def test_a_route_of_several_gateways_moves_whole(host, container, family, address, gateway, other):
    add_link(container, "net1", address)
    second = f"{gateway}7"
    hops = [("nexthop", "via", gateway, "weight", "3"), ("nexthop", "via", second)]
    dst = "10.70.0.0/16" if family == "-4" else "fd70::/64"
    container.run("ip", family, "route", "add", dst, *hops[0], *hops[1])
    before = routes(container, "main", family)[dst]
    host.add(conf(container, ((address, None),), "net1"), container, ifname="net1")
    assert routes(container, 100, family)[dst] == before
    assert dst not in routes(container, "main", family)


# -- all or nothing --------------------------------------------------------------------


@pytest.mark.ours("the reference leaves its rule, and half of the routes moved")
def test_a_failed_add_changes_nothing(host, container):
    container.run("ip", "route", "del", "default")
    before = state(container)
    answer = host.refused(conf(container, gateways=["10.99.0.1"]), container)
    assert "10.99.0.1" in answer.msg
    assert state(container) == before


@pytest.mark.ours("a repeated ADD fails there and leaves a second rule")
def test_a_repeated_add_changes_nothing(host, container):
    container.run("ip", "route", "replace", "default", "via", "10.9.0.7")
    given = conf(container, DUAL)
    answer = host.add(given, container)
    after = state(container)
    assert host.add(given, container).json == answer.json
    assert state(container) == after


@pytest.mark.ours("the reference leaves the routes in the private tables")
@pytest.mark.parametrize("keys", [{}, {"addSourceHints": True}, {"table": 1234}], ids=str)
@pytest.mark.parametrize("with_default", [True, False])
def test_del_puts_everything_back(host, container, keys, with_default):
    container.run("ip", "address", "add", "10.9.0.3/24", "dev", "eth0")
    container.run("ip", "route", "add", "10.77.0.0/16", "via", "10.9.0.9", "metric", "77")
    if not with_default:
        container.run("ip", "route", "del", "default")
    before = state(container)
    given = conf(container, (*DUAL, ("10.9.0.3/24", "10.9.0.1")), **keys)
    host.add(given, container)
    assert len(rules(container)) == 3
    host.delete({k: v for k, v in given.items() if k != "prevResult"}, container)
    assert state(container) == before


@pytest.mark.ours("the reference leaves the routes in the private tables")
def test_nothing_piles_up_over_many_rounds(host, container):
    before = state(container)
    given = conf(container, DUAL)
    for _ in range(25):
        host.add(given, container)
        assert rules(container) == {"10.9.0.2": 100, "fd09::2": 101}
        host.delete(given, container)
    assert state(container) == before


@pytest.mark.ours("this is about both")
@pytest.mark.skipif(not os.path.exists(f"{REFERENCE}/sbr"), reason="no reference plugins here")
def test_what_the_reference_made_is_removed(host, container):
    given = conf(container, DUAL)
    host.add(given, container, binaries=REFERENCE)
    assert rules(container) == {"10.9.0.2": 100, "fd09::2": 101}
    host.delete(given, container)
    assert rules(container) == {}
    assert routes(container, 100) == routes(container, 101, "-6") == {}
    assert through(container) == {"default", "10.9.0.0/24", "192.168.5.0/24"}


@pytest.mark.ours("the reference fails")
def test_routes_of_a_table_that_others_use_stay(host, container):
    given = conf(container)
    host.add(given, container)
    container.run("ip", "rule", "add", "from", "192.0.2.1", "lookup", "100")
    host.delete(given, container)
    assert rules(container) == {"192.0.2.1": 100}
    assert "default" in routes(container, 100)


# -- CHECK and the rest ----------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        {},
        pytest.param({"addSourceHints": True}, marks=newer),
        pytest.param({"table": 9}, marks=newer),
    ],
    ids=str,
)
def test_check_finds_what_add_made(host, container, keys):
    given = conf(container, DUAL, **keys)
    host.add(given, container)
    assert host.cni("CHECK", given, container).ok


CHANGES = [
    ("rule del from 10.9.0.2", {}, "from 10.9.0.2"),
    ("-6 rule del from fd09::2", {}, "from fd09::2"),
    ("route del default table 100", {}, "default"),
    ("route add 10.9.0.0/24 dev eth0", {}, "10.9.0.0/24"),
    ("rule del from 10.9.0.2", {"table": 9}, "lookup 9"),
    ("link del eth0", {}, "eth0"),
]


@pytest.mark.ours("the reference checks nothing")
@pytest.mark.parametrize(("change", "keys", "told"), CHANGES)
def test_check_notices_a_change(host, container, change, keys, told):
    given = conf(container, DUAL, **keys)
    host.add(given, container)
    container.run("ip", *change.split())
    assert told in host.refused(given, container, "CHECK").msg


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"])
def test_the_result_of_any_version_is_handed_on(host, container, version):
    given = conf(container, version=version)
    expected = copy.deepcopy(given["prevResult"])
    result = host.add(given, container).json
    assert {key: result[key] for key in expected} == expected
    assert rules(container) == {"10.9.0.2": 100}


@newer
@pytest.mark.parametrize("table", [0, -1, 2**32, "100", 1.5], ids=str)
def test_an_impossible_table_is_refused(host, container, table):
    before = state(container)
    host.refused(conf(container, table=table), container)
    assert state(container) == before


@pytest.mark.ours("DEL with impossible keys fails there")
def test_del_does_not_judge_the_configuration(host, container):
    host.add(conf(container), container)
    host.delete(conf(container, gateways=["none"]), container)
    assert rules(container) == {}


@pytest.mark.ours("Debian's release does not know 1.1.0")
def test_status_and_gc_have_nothing_to_say(host):
    given = {"cniVersion": "1.1.0", "name": "s", "type": "sbr"}
    for command, more in (("STATUS", {}), ("GC", {"cni.dev/valid-attachments": []})):
        answer = host.cni(command, given | more)
        assert (answer.ok, answer.stdout) == (True, "")
