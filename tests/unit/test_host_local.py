"""Ranges and leases of host-local, by properties that hold for any range."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnilib.attachment import Attachment, ValidAttachments
from cnilib.errors import CniError
from cnilib.undo import ErrorList
from plugins.ipam.host_local.leases import Leases
from plugins.ipam.host_local.ranges import Range, RangeSet, refuse_overlap

few = settings(derandomize=True, max_examples=60, deadline=None)


def attachment(number):
    return Attachment("red", f"c{number}", "eth0")


def interface(text):
    return ipaddress.ip_interface(text)


@st.composite
def ranges(draw):
    """A range of at most 30 addresses, with ends, gateway and exclusions anywhere."""
    network = draw(st.sampled_from(["10.1.2.0/27", "10.1.2.0/29", "fd00:1::/123", "fd00:1::/125"]))
    network = ipaddress.ip_network(network)
    address = st.integers(0, network.num_addresses - 1).map(lambda n: network[n])
    ends = draw(st.none() | st.tuples(address, address).map(sorted))
    start, end = ends or (None, None)
    return Range.of(
        interface(network.with_prefixlen),
        start=start,
        end=end,
        gateway=draw(st.none() | address),
        exclude=[ipaddress.ip_network(a) for a in draw(st.lists(address, max_size=4))],
    )


def everything(chosen):
    """What a set gives from the beginning until it is exhausted."""
    given_out = []
    after = None
    taken = set()
    while (address := chosen.next_free(taken, after)) is not None:
        given_out.append(address)
        taken.add(str(address))
        after = address
    return given_out


@given(ranges())
@few
def test_an_address_is_in_the_range_and_for_hosts(chosen):
    for address in everything(RangeSet.of(0, [chosen])):
        assert chosen.first <= int(address) <= chosen.last
        assert address != chosen.gateway
        assert address != chosen.network.network_address
        assert address.version == 6 or address != chosen.network.broadcast_address
        assert not chosen.is_reserved(address)


@given(ranges())
@few
def test_every_address_for_hosts_is_given_exactly_once(chosen):
    expected = [
        address
        for address in chosen.network
        if address in chosen and not chosen.is_reserved(address)
    ]
    assert sorted(everything(RangeSet.of(0, [chosen]))) == expected


@given(ranges(), st.data())
@few
def test_a_freed_address_comes_back_only_after_all_others(chosen, data):
    range_set = RangeSet.of(0, [chosen])
    order = everything(range_set)
    if not order:
        return
    last = data.draw(st.sampled_from(order))
    position = order.index(last)
    after_it = order[position + 1 :] + order[: position + 1]
    taken = set()
    for expected in after_it:
        assert range_set.next_free(taken, last) == expected
        taken.add(str(expected))
    assert range_set.next_free(taken, last) is None


@given(ranges())
@few
def test_a_search_that_starts_outside_starts_at_the_beginning(chosen):
    range_set = RangeSet.of(0, [chosen])
    outside = ipaddress.ip_address("192.0.2.1")
    assert range_set.next_free(set(), outside) == range_set.next_free(set(), None)


def test_a_huge_exclusion_is_jumped_over():
    chosen = Range.of(interface("fd00::/64"), exclude=[ipaddress.ip_network("fd00::/65")])
    assert RangeSet.of(0, [chosen]).next_free(set(), None) == ipaddress.ip_address(
        "fd00::8000:0:0:0"
    )


def test_ranges_of_a_set_are_one_pool():
    one = Range.of(interface("10.1.0.0/30"))
    two = Range.of(interface("10.2.0.0/30"))
    assert [str(a) for a in everything(RangeSet.of(0, [one, two]))] == ["10.1.0.2", "10.2.0.2"]


@pytest.mark.parametrize(
    ("first", "second"),
    [("10.1.0.0/24", "10.1.0.128/25"), ("fd00::/64", "fd00::/126")],
)
def test_sets_that_overlap_are_refused(first, second):
    one, two = (RangeSet.of(n, [Range.of(interface(s))]) for n, s in enumerate((first, second)))
    with pytest.raises(ValueError, match="overlaps"):
        refuse_overlap(two, [one])


@pytest.fixture
def leases(tmp_path):
    (tmp_path / "red").mkdir()
    return Leases(str(tmp_path / "red"))


@pytest.fixture
def pool():
    return RangeSet.of(0, [Range.of(interface("10.1.0.0/29"))])


def test_a_lease_has_the_reference_s_format(leases, pool, tmp_path):
    address = leases.take_next(attachment(1), pool)
    assert (tmp_path / "red" / str(address)).read_bytes() == b"c1\r\neth0"
    assert (tmp_path / "red" / "last_reserved_ip.0").read_bytes() == b"10.1.0.2"


def test_giving_back_takes_only_what_this_call_has_made(tmp_path, leases, pool):
    Leases(str(tmp_path / "red")).take_next(attachment(1), pool)
    leases.take_next(attachment(2), pool)
    leases.give_back()
    assert leases.taken() == {"10.1.0.2"}


def test_an_attachment_gets_no_second_address_of_a_set(leases, pool):
    leases.take_next(attachment(1), pool)
    with pytest.raises(CniError, match="duplicate allocation"):
        leases.take_next(attachment(1), pool)


def test_a_file_that_appears_without_the_lock_is_respected(leases, pool, tmp_path):
    taken = leases.taken()
    (tmp_path / "red" / "10.1.0.2").write_bytes(b"other\r\neth0")
    assert taken == set()
    assert str(leases.take_next(attachment(1), pool)) == "10.1.0.3"


@given(st.lists(st.sampled_from(["add", "del"]), max_size=40), st.data())
@few
def test_any_order_of_adds_and_dels_keeps_addresses_apart(tmp_path_factory, steps, data):
    directory = tmp_path_factory.mktemp("leases")
    pool = RangeSet.of(0, [Range.of(interface("10.1.0.0/28"))])
    held = {}
    for number, step in enumerate(steps):
        leases = Leases(str(directory))
        if step == "add":
            address = leases.take_next(attachment(number), pool) if len(held) < 13 else None
            assert address not in held.values() or address is None
            held |= {number: address} if address else {}
        elif held:
            leaving = data.draw(st.sampled_from(sorted(held)))
            leases.release(attachment(leaving), ErrorList())
            del held[leaving]
        assert leases.taken() == {str(address) for address in held.values()}


@given(st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5)))
@few
def test_gc_keeps_exactly_the_valid_ones(tmp_path_factory, present, valid):
    leases = Leases(str(tmp_path_factory.mktemp("leases")))
    pool = RangeSet.of(0, [Range.of(interface("10.1.0.0/28"))])
    names = {number: str(leases.take_next(attachment(number), pool)) for number in present}
    keep = ValidAttachments({(f"c{number}", "eth0") for number in valid})
    leases.collect(keep, ErrorList())
    assert leases.taken() == {names[number] for number in present & valid}
