"""Which routes are made anew when a link changes its VRF (vrf.md 3.6)."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from cnilib.kernel.route_messages import PROTOCOL_KERNEL, Hop, LinkRoute
from cnilib.kernel.vrf import carried

MAIN, VRF, OTHER = 254, 1, 500
ROUTES = st.lists(
    st.builds(
        lambda third, table, protocol, shared: LinkRoute(
            dst=ip_network(f"10.{third}.0.0/16"),
            hops=(Hop(2, ip_address("10.9.0.1")),),
            table=table,
            protocol=protocol,
            others=(Hop(3),) if shared else (),
        ),
        st.integers(0, 20),
        st.sampled_from([MAIN, OTHER]),
        st.sampled_from([PROTOCOL_KERNEL, 3, 4]),
        st.booleans(),
    ),
    unique_by=lambda route: route.key,
)


@given(ROUTES)
def test_the_table_left_gives_all_but_what_the_kernel_makes_itself(routes):
    made = carried(routes, MAIN, VRF)
    moved = {r.dst for r in routes if r.table == MAIN and r.protocol != PROTOCOL_KERNEL}
    assert {route.dst for route in made if route.table == VRF} == moved
    assert [route for route in made if route.others and route.table == VRF] == []
    assert [r for r in made if r.table == OTHER] == [r for r in routes if r.table == OTHER]
    assert {route.table for route in made} <= {VRF, OTHER}


@given(ROUTES)
def test_going_back_keeps_the_hops_of_other_links(routes):
    expected = [r for r in routes if r.table != MAIN or r.protocol != PROTOCOL_KERNEL]
    assert carried(routes, MAIN, MAIN) == expected
