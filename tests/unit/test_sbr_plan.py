"""Which route goes to which table (sbr.md 3)."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnilib.kernel.route_messages import Hop, LinkRoute
from cnilib.kernel.tables import RESERVED_TABLES, free_table
from cnilib.types.result import Interface, IPConfig, Result, Route
from plugins.meta.sbr.plan import (
    MADE,
    Owner,
    left_in_main,
    moved,
    moved_back,
    owners_of,
    source_hints,
)

ETH0, OTHER = 2, 3
A = Owner(ip_interface("10.9.0.2/24"), ip_address("10.9.0.1"))
B = Owner(ip_interface("10.19.0.2/24"), None)
SIX = Owner(ip_interface("fd09::2/64"), ip_address("fd09::1"))


def route(dst, gateway=None, **fields):
    hop = Hop(ETH0, ip_address(gateway) if gateway else None)
    return LinkRoute(dst=ip_network(dst), hops=(hop,), **fields)


SUBNET = route("10.9.0.0/24", source=ip_address("10.9.0.2"), scope=253, protocol=2)
DEFAULT = route("0.0.0.0/0", "10.9.0.1")
LINK_LOCAL = route("fe80::/64", protocol=2, priority=256)


def in_table(routes, table):
    return {entry.dst: entry for entry in routes if entry.table == table}


def plan(routes, tables, **options):
    return moved(routes, tables, ETH0, **({"keep_subnets": False} | options))


def result(*ips, routes=()):
    interfaces = (Interface(name="vh"), Interface(name="eth0", sandbox="/n"))
    return Result(interfaces=interfaces, ips=ips, routes=routes)


@pytest.mark.parametrize(
    ("interface", "names"),
    [(1, ["10.9.0.2/32"]), (None, ["10.9.0.2/32"]), (9, ["10.9.0.2/32"]), (0, [])],
)
def test_owners_are_the_addresses_that_may_be_on_the_interface(interface, names):
    ips = IPConfig(address=A.address, interface=interface)
    assert [str(owner.source) for owner in owners_of(result(ips), "eth0", ())] == names


def test_the_strongest_gateway_is_the_configured_one():
    ip = IPConfig(address=A.address, gateway=A.gateway, interface=1)
    routed = Route(dst=ip_interface("0.0.0.0/0"), gw=ip_address("10.9.0.7"))
    outside = Route(dst=ip_interface("0.0.0.0/0"), gw=ip_address("10.99.0.7"))
    bare = IPConfig(address=A.address, interface=1)

    def gateway(*ips, routes=(), configured=()):
        (owner,) = owners_of(result(*ips, routes=routes), "eth0", configured)
        return owner.gateway and str(owner.gateway)

    configured = (ip_address("10.9.0.9"), ip_address("fd09::9"))
    assert gateway(ip, routes=(routed,), configured=configured) == "10.9.0.9"
    assert gateway(ip, routes=(routed,)) == "10.9.0.1"
    assert gateway(bare, routes=(outside, routed)) == "10.9.0.7"
    assert gateway(bare, routes=(outside,)) is None


@given(st.sets(st.integers(90, 300)), st.integers(0, 260))
def test_a_free_table_is_the_first_that_nobody_uses(used, first):
    table = free_table(used, first)
    assert table >= first
    assert table not in used | RESERVED_TABLES
    assert set(range(first, table)) <= used | RESERVED_TABLES


def test_the_interface_s_default_wins_over_the_one_made():
    assert plan([SUBNET], {A: 100})[0].protocol == MADE
    assert in_table(plan([SUBNET, DEFAULT], {A: 100}), 100) == {
        SUBNET.dst: SUBNET.in_table(100),
        DEFAULT.dst: DEFAULT.in_table(100),
    }


def test_another_metric_stands_beside_the_one_made():
    weak = DEFAULT._replace(priority=7)
    wanted = plan([SUBNET, weak], {A: 100})
    assert {(entry.priority, entry.protocol) for entry in wanted if not entry.dst.prefixlen} == {
        (0, MADE),
        (7, weak.protocol),
    }


def test_a_route_follows_its_gateway_to_the_subnet_s_address():
    mine, theirs = route("10.70.0.0/16", "10.9.0.5"), route("10.71.0.0/16", "10.19.0.5")
    wanted = plan([mine, theirs], {A: 100, B: 101})
    assert mine.dst in in_table(wanted, 100)
    assert set(in_table(wanted, 101)) == {theirs.dst}
    assert in_table(wanted, 254) == {}


@pytest.mark.parametrize("gateway", [None, "169.254.1.1", "fe80::1"])
def test_a_route_of_no_subnet_goes_to_every_table_of_its_family(gateway):
    stray = route("10.70.0.0/16", gateway)
    wanted = plan([stray], {A: 100, B: 101, SIX: 102})
    assert [stray.dst in in_table(wanted, table) for table in (100, 101, 102)] == [
        True,
        True,
        False,
    ]


def test_a_family_without_an_address_stays():
    six = route("fd70::/64", "fd09::5", priority=1024)
    wanted = plan([DEFAULT, six, LINK_LOCAL], {A: 100})
    assert in_table(wanted, 254) == {six.dst: six, LINK_LOCAL.dst: LINK_LOCAL}


def test_routes_of_foreign_tables_stay():
    foreign = route("10.70.0.0/16", "10.9.0.5", table=700)
    assert in_table(plan([foreign], {A: 100}), 700) == {foreign.dst: foreign}


def test_hops_of_other_interfaces_do_not_move():
    shared = DEFAULT._replace(others=(Hop(OTHER, ip_address("10.1.0.1")),), nexthop_id=5)
    copy = in_table(plan([shared], {A: 100}), 100)[DEFAULT.dst]
    assert (copy.others, copy.nexthop_id) == ((), 0)


def test_source_hints_name_the_address_in_the_main_table():
    subnet6 = route("fd09::/64", protocol=2, priority=256)
    kept = plan([SUBNET, DEFAULT, subnet6], {A: 100, SIX: 101}, keep_subnets=True)
    hinted = in_table(source_hints(kept, (A, SIX), ETH0), 254)
    assert hinted == {
        SUBNET.dst: SUBNET,
        subnet6.dst: subnet6._replace(source=ip_address("fd09::2")),
    }


OWNERS = st.lists(
    st.builds(
        lambda low, gateway: Owner(
            ip_interface(f"10.9.0.{low}/24"), ip_address("10.9.0.1") if gateway else None
        ),
        st.integers(2, 9),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda owner: owner.address,
)
ROUTES = st.lists(
    st.builds(
        lambda third, gateway, metric: route(f"10.{third}.0.0/16", gateway, priority=metric),
        st.integers(20, 25),
        st.sampled_from([None, "10.9.0.1", "10.9.0.7", "169.254.1.1"]),
        st.sampled_from([0, 77]),
    ),
    max_size=6,
    unique_by=lambda entry: entry.key,
)


@given(OWNERS, ROUTES)
def test_what_was_moved_is_moved_back(owners, routes):
    tables = {owner: 100 + number for number, owner in enumerate(owners)}
    before = [SUBNET._replace(source=owners[0].address.ip), *routes]
    after = plan(before, tables)
    assert in_table(after, 254) == {}
    assert left_in_main(after, owners) == []
    assert set(moved_back(after, list(tables.values()))) == set(before)


@given(OWNERS, ROUTES)
def test_moving_again_changes_nothing(owners, routes):
    tables = {owner: 100 + number for number, owner in enumerate(owners)}
    after = plan([SUBNET, *routes], tables)
    assert set(plan(after, tables)) == set(after)


def test_advertised_routes_may_come_back_to_the_main_table():
    advertised = route("::/0", "fe80::1", protocol=9)
    assert left_in_main([advertised, LINK_LOCAL, SUBNET], (A, SIX)) == [SUBNET]
