"""The figures of a rate limit, and which packets it is for: what ``tc`` hands to the kernel.

Pure arithmetic after bandwidth.md and the kernel's net/sched/sch_tbf.c and sch_api.c.
"""

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.types.addresses import IPNetwork

    Keys = tuple[tuple[int, int, int], ...]

LIMITED, UNLIMITED = 0x10030, 0x10001
"""The classes 1:30 and 1:1."""
MAX_U32 = 0xFFFFFFFF

_TICK = 64  # nanoseconds: PSCHED_SHIFT 6, net/pkt_sched.h
_BILLION, _MILLION = 1_000_000_000, 1_000_000
_WORD = 32
_OFFSETS = {4: (12, 16), 6: (8, 24)}  # of source and destination in the header, bytes


class TokenBucket(NamedTuple):
    """``rate`` bytes a second, ``burst`` bytes at once, ``limit`` bytes that may wait.

    ``asked`` is the burst before it was cut to what the kernel can tell.
    """

    rate: int
    burst: int
    limit: int
    asked: int

    @property
    def buffer(self) -> int:
        """The time the burst takes at the rate, in ticks of 64 ns."""
        return _ticks(self.burst * _MILLION // self.rate)


def token_bucket(rate: int, burst: int, latency: int) -> TokenBucket:
    """A bucket of ``rate`` bits a second and ``burst`` bits that holds ``latency`` ms of packets.

    The kernel tells a burst as a time in 32 bits, so it is cut at 274.8 seconds of the rate.

    Raises:
        ValueError: rate or burst is less than a byte.
    """
    rate, burst = rate // 8, burst // 8
    if not rate or not burst:
        raise ValueError("a rate and a burst are at least 8 bits")
    cut = min(burst, max(1, rate * (MAX_U32 * _TICK) // _BILLION))
    return TokenBucket(rate, cut, min(rate * latency // 1000 + cut, MAX_U32), burst)


def _ticks(microseconds: int) -> int:
    return microseconds * 1000 // _TICK


class Split(NamedTuple):
    """Which packets are limited: those to or from ``subnets``, or with ``exempt`` all others.

    ``source`` tells which address of a packet is looked at.
    """

    subnets: "tuple[IPNetwork, ...]"
    exempt: bool
    source: bool

    @property
    def default(self) -> int:
        """The class of what is in none of the subnets."""
        return LIMITED if self.exempt else UNLIMITED

    @property
    def chosen(self) -> int:
        """The class of what is in one of them."""
        return UNLIMITED if self.exempt else LIMITED

    def keys(self, subnet: "IPNetwork") -> "Keys":
        """What u32 compares: the words of the address that the prefix reaches into."""
        offset = _OFFSETS[subnet.version][0 if self.source else 1]
        network, mask = int(subnet.network_address), int(subnet.netmask)
        shifts = range(subnet.max_prefixlen - _WORD, -1, -_WORD)
        words = [
            (network >> shift & MAX_U32, mask >> shift & MAX_U32, offset + index * 4)
            for index, shift in enumerate(shifts)
        ]
        return tuple(word for word in words if word[1]) or ((0, 0, offset),)


class Limit(NamedTuple):
    """What a root qdisc does: the bucket's figures as the kernel has them, and for whom.

    ``queue`` is in bytes and 0 for a class of htb; ``filters`` are (keys, class).
    """

    rate: int
    buffer: int
    queue: int
    default: int
    filters: "frozenset[tuple[Keys, int]]"


def expected_limit(bucket: TokenBucket, split: Split | None) -> Limit:
    """What ``set_limit`` makes, as ``find_limit`` tells it."""
    if split is None:
        return Limit(bucket.rate, bucket.buffer, bucket.limit, 0, frozenset())
    filters = frozenset((split.keys(subnet), split.chosen) for subnet in split.subnets)
    return Limit(bucket.rate, bucket.buffer, 0, split.default, filters)


def wrapped_limit(bucket: TokenBucket) -> Limit:
    """What the reference makes of a bucket for all packets: its figures wrap at 32 bits."""
    microseconds = bucket.asked * _MILLION // bucket.rate & MAX_U32
    queue = bucket.limit - bucket.burst + bucket.asked & MAX_U32
    return Limit(bucket.rate, _ticks(microseconds) & MAX_U32, queue, 0, frozenset())
