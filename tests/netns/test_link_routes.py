"""Rules, and the routes of one link, against a real kernel."""

import time
from ipaddress import ip_address, ip_network

import pytest

from cnilib.errors import KernelError, TryAgain
from cnilib.kernel import links
from cnilib.kernel.link_routes import change_routes, list_link_routes, tables_with_routes
from cnilib.kernel.netns import Namespace
from cnilib.kernel.rules import add_rule, list_rules, remove_rule
from cnilib.kernel.tables import tables_in_use

pytestmark = pytest.mark.netns


@pytest.fixture
def eth0(container, ip):
    """A link with an address of each family, beside eth1, which has one, too."""
    for name, number in (("eth0", 1), ("eth1", 2)):
        ip(container, "link", "add", name, "type", "veth", "peer", "name", f"far-{name}")
        for end in (name, f"far-{name}"):
            ip(container, "link", "set", end, "up")
        ip(container, "address", "add", f"10.{number}.0.2/24", "dev", name)
        ip(container, "address", "add", f"fd0{number}::2/64", "dev", name, "nodad")
    return links.get_link(container, "eth0")


def shown(ip, namespace):
    """The routes as ip prints them, less those that the kernel makes when it likes."""
    lines = [
        line.strip()
        for family in ("-4", "-6")
        for line in ip(namespace, family, "route", "show", "table", "all").splitlines()
    ]
    return sorted(line for line in lines if "fe80:" not in line and "ff00:" not in line)


ROUTES = [
    "route add 10.70.0.0/16 via 10.1.0.1",
    "route add 10.70.0.0/16 via 10.1.0.1 metric 9 src 10.1.0.2 proto static",
    "route add 10.71.0.0/16 via 169.254.1.1 dev eth0 onlink",
    "route add 10.72.0.0/16 dev eth0 scope link mtu 1300 advmss 1200",
    "route add 10.73.0.0/16 via inet6 fd01::1 dev eth0",
    "route add 10.74.0.0/16 tos 0x10 via 10.1.0.1",
    "route add default nexthop via 10.1.0.1 weight 3 nexthop via 10.1.0.7",
    "route add default table 4000000000 via 10.1.0.1",
    "-6 route add fd70::/64 via fd01::1 metric 9 mtu 1300",
    "-6 route add fd71::/64 dev eth0 src fd01::2",
    "-6 route add fd72::/64 from fd01::/64 via fd01::1",
    "-6 route add fd73::/64 via fe80::1 dev eth0 pref high",
    "-6 route add fd74::/64 nexthop via fd01::1 weight 3 nexthop via fd01::7",
]


@pytest.mark.parametrize("words", ROUTES)
def test_a_route_comes_back_from_another_table_as_it_was(container, eth0, ip, words):
    ip(container, *words.split())
    before, text = list_link_routes(container, eth0.index), shown(ip, container)
    elsewhere = [route.in_table(700) for route in before]
    change_routes(container, before, elsewhere)
    moved = list_link_routes(container, eth0.index)
    assert set(moved) == set(elsewhere)
    change_routes(container, moved, before)
    assert set(list_link_routes(container, eth0.index)) == set(before)
    assert shown(ip, container) == text


@pytest.mark.parametrize("weight", ["1", "5"])
@pytest.mark.parametrize("family", ["-4", "-6"])
def test_the_other_link_s_part_of_a_multipath_route_stays(container, eth0, ip, family, weight):
    gateways = {"-4": ("10.1.0.1", "10.2.0.1"), "-6": ("fd01::1", "fd02::1")}[family]
    hops = [("nexthop", "via", gateway, "weight", weight) for gateway in gateways]
    ip(container, family, "route", "add", "default", *hops[0], *hops[1])
    before, text = list_link_routes(container, eth0.index), shown(ip, container)
    (shared,) = [route for route in before if route.others]
    private = shared.in_table(700)
    change_routes(container, before, [*(set(before) - {shared}), private])
    (mine,) = ip(container, family, "route", "show", "table", "700").splitlines()
    assert f"via {gateways[0]} dev eth0" in mine
    (left,) = ip(container, family, "route", "show", "default").splitlines()
    assert f"via {gateways[1]} dev eth1" in left
    change_routes(container, list_link_routes(container, eth0.index), before)
    assert shown(ip, container) == text


def test_a_route_by_a_nexthop_object_moves_and_is_removed(container, eth0, ip):
    ip(container, "nexthop", "add", "id", "5", "via", "10.1.0.1", "dev", "eth0")
    ip(container, "route", "add", "10.70.0.0/16", "nhid", "5")
    before, text = list_link_routes(container, eth0.index), shown(ip, container)
    change_routes(container, before, [route.in_table(700) for route in before])
    moved = list_link_routes(container, eth0.index)
    assert {route.table for route in moved} == {700}
    change_routes(container, moved, before)
    assert shown(ip, container) == text


def test_another_link_s_route_gives_way_only_when_that_is_asked(container, eth0, ip):
    ip(container, "route", "add", "default", "via", "10.2.0.1")
    before = list_link_routes(container, eth0.index)
    gateway = before[0].hops[0]._replace(gateway=ip_address("10.1.0.1"))
    mine = before[0]._replace(dst=ip_network("0.0.0.0/0"), hops=(gateway,), source=None, scope=0)
    change_routes(container, before, [*before, mine])
    assert "10.2.0.1" in ip(container, "route", "show", "default")
    change_routes(container, before, [*before, mine], replace=True)
    assert "10.1.0.1" in ip(container, "route", "show", "default")


def test_an_unreachable_gateway_is_an_error_that_names_it(container, eth0, ip):
    ip(container, "route", "add", "10.70.0.0/16", "via", "10.1.0.1")
    before = list_link_routes(container, eth0.index)
    route = next(route for route in before if route.gateways)
    far = route._replace(hops=(route.hops[0]._replace(gateway=ip_address("10.99.0.1")),))
    with pytest.raises(KernelError, match=r"10\.70\.0\.0/16 via 10\.99\.0\.1 of table 254"):
        change_routes(container, before, [far])


def test_tables_of_any_kind_of_route_and_of_rules_are_in_use(container, eth0, ip):
    ip(container, "route", "add", "blackhole", "10.70.0.0/16", "table", "700")
    ip(container, "-6", "route", "add", "unreachable", "fd70::/64", "table", "70000")
    ip(container, "-6", "rule", "add", "iif", "eth0", "lookup", "701")
    assert {254, 255, 700, 70000} <= tables_with_routes(container)
    assert {253, 254, 255, 700, 701, 70000} <= tables_in_use(container)


@pytest.mark.parametrize(
    ("source", "table"), [("10.1.0.2/32", 100), ("10.1.0.2/32", 70000), ("fd01::2/128", 100)]
)
def test_a_rule_is_added_found_and_removed(container, source, table):
    network = ip_network(source)
    before = list_rules(container, network.version)
    add_rule(container, network, table)
    (rule,) = [r for r in list_rules(container, network.version) if r not in before]
    assert rule == (network.version, 32765, network, table, True)
    assert not remove_rule(container, network, table, priority=5)
    assert remove_rule(container, network, table, rule.priority)
    assert not remove_rule(container, network, table, rule.priority)
    assert list_rules(container, network.version) == before


def test_the_newest_rule_is_asked_first(container):
    for table in (100, 101):
        add_rule(container, ip_network(f"10.1.0.{table}"), table)
    assert [rule.table for rule in list_rules(container, 4)][1:3] == [101, 100]


@pytest.mark.parametrize(
    "more",
    [
        "fwmark 1",
        "to 10.9.0.0/24",
        "iif eth0",
        "tos 0x10",
        "ipproto tcp",
        "suppress_prefixlength 0",
    ],
)
def test_a_rule_that_looks_at_more_than_the_source_is_not_plain(container, ip, more):
    ip(container, "rule", "add", "from", "10.1.0.2", *more.split(), "lookup", "100")
    (rule,) = [rule for rule in list_rules(container, 4) if rule.source]
    assert not rule.plain


def test_a_rule_without_a_table_is_not_plain(container, ip):
    ip(container, "rule", "add", "from", "10.1.0.2", "prohibit")
    (rule,) = [rule for rule in list_rules(container, 4) if rule.source]
    assert not rule.plain


def test_a_namespace_is_locked_by_whatever_path_it_was_opened(container):
    soon = time.monotonic() + 5
    with Namespace.open(f"/proc/self/fd/{container.fd}") as same, container.locked(soon):
        held = same.locked(time.monotonic())
        with pytest.raises(TryAgain, match="is held by process"):
            held.__enter__()
    with Namespace.open(container.path) as again, again.locked(time.monotonic()):
        pass
