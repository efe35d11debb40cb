"""The arithmetic of rate limits, and the words of a packet that tell its subnet."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnilib.errors import ConfigError
from cnilib.kernel.shaping import (
    LIMITED,
    MAX_U32,
    UNLIMITED,
    Split,
    expected_limit,
    token_bucket,
    wrapped_limit,
)
from cnilib.kernel.tc_messages import selector, selector_keys
from cnilib.types.base import decode
from plugins.meta.bandwidth.config import Conf

U64 = 2**64 - 1
RATES = st.integers(8, U64)
BURSTS = st.integers(8, 8 * (MAX_U32 - 1) + 7)
LATENCIES = st.integers(1, 1000)


def limits(**keys):
    return decode(Conf, keys).limits()


@pytest.mark.parametrize(
    ("rate", "burst", "bucket", "buffer"),
    [
        (8_000_000, 800_000, (1_000_000, 100_000, 125_000), 1_562_500),
        (4_000_000, 160_000, (500_000, 20_000, 32_500), 625_000),
        (100_000_000_000, 8_000, (12_500_000_000, 1_000, 312_501_000), 0),
    ],
)
def test_the_figures_are_those_of_the_page(rate, burst, bucket, buffer):
    assert token_bucket(rate, burst, 25) == (*bucket, burst // 8)
    assert token_bucket(rate, burst, 25).buffer == buffer


@given(rate=RATES, burst=BURSTS, latency=LATENCIES)
def test_no_figure_wraps(rate, burst, latency):
    bucket = token_bucket(rate, burst, latency)
    assert bucket.rate == rate // 8
    assert 1 <= bucket.burst <= burst // 8
    assert bucket.burst <= bucket.limit <= MAX_U32
    assert 0 <= bucket.buffer <= MAX_U32


@given(rate=RATES, burst=BURSTS, latency=LATENCIES)
def test_a_burst_is_as_configured_or_the_longest_there_is(rate, burst, latency):
    bucket = token_bucket(rate, burst, latency)
    is_whole = bucket.burst == burst // 8
    assert is_whole or 274 <= bucket.burst / bucket.rate <= 275


@given(rate=RATES, burst=BURSTS, latency=LATENCIES)
def test_the_figures_of_the_reference_are_ours_where_they_fit(rate, burst, latency):
    bucket = token_bucket(rate, burst, latency)
    if bucket.burst == burst // 8 and bucket.limit < MAX_U32:
        assert wrapped_limit(bucket) == expected_limit(bucket, None)


def test_a_burst_of_kubernetes_wraps_in_the_reference():
    wrapped = wrapped_limit(token_bucket(1_000_000, 2_147_483_647, 25))
    assert (wrapped.buffer, wrapped.queue) == (33_554_431_875 & MAX_U32, 268_438_580)


@given(rate=st.integers(0, U64), burst=st.integers(0, U64))
def test_a_direction_is_limited_free_or_refused(rate, burst):
    keys = {"egressRate": rate, "egressBurst": burst}
    if rate == burst == 0:
        assert limits(**keys) == (None, None)
    elif rate < 8 or burst < 8 or burst // 8 >= MAX_U32:
        with pytest.raises(ConfigError):
            limits(**keys)
    else:
        assert limits(**keys).egress.bucket.rate == rate // 8


def test_lists_of_the_configuration_go_with_figures_of_the_runtime():
    given_by_runtime = {"egressRate": 8000, "egressBurst": 8000}
    both = limits(runtimeConfig={"bandwidth": given_by_runtime}, shapedSubnets=["10.1.2.3/8"])
    assert both.egress.split == ((ip_network("10.0.0.0/8"),), False, False)


ADDRESSES = st.one_of(
    st.integers(0, 2**32 - 1).map(ip_address),
    st.integers(2**32, 2**128 - 1).map(ip_address),
)


@given(address=ADDRESSES, other=ADDRESSES, data=st.data(), source=st.booleans())
def test_keys_match_the_packets_of_the_subnet(address, other, data, source):
    length = data.draw(st.integers(0, address.max_prefixlen))
    subnet = ip_network((address, length), strict=False)
    keys = Split((subnet,), exempt=True, source=source).keys(subnet)
    for candidate in (address, other):
        if candidate.version == address.version:
            matches = all(word(candidate, at, source) & mask == value for value, mask, at in keys)
            assert matches == (candidate in subnet)


def word(address, offset, source):
    """The 32 bits at ``offset`` of the header of a packet from, or to, an address."""
    first = {(4, True): 12, (4, False): 16, (6, True): 8, (6, False): 24}[address.version, source]
    return int.from_bytes(address.packed[offset - first : offset - first + 4], "big")


@given(keys=st.lists(st.tuples(*[st.integers(0, MAX_U32)] * 2, st.integers(0, 36)), max_size=4))
def test_a_selector_holds_its_keys(keys):
    assert selector_keys(selector(tuple(keys))) == tuple(keys)


@pytest.mark.parametrize(
    ("exempt", "chosen", "default"), [(True, UNLIMITED, LIMITED), (False, LIMITED, UNLIMITED)]
)
def test_what_is_in_no_subnet_is_limited_when_subnets_are_exempt(exempt, chosen, default):
    split = Split((), exempt=exempt, source=True)
    assert (split.chosen, split.default) == (chosen, default)
