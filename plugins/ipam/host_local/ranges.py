"""Ranges of addresses: what may be handed out, and in which order.

Addresses are compared as integers: an IPv6 range is never walked address by address where it can
be jumped over.
"""

from ipaddress import ip_address, ip_interface
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence
    from typing import Self

    from cnilib.types.addresses import IPAddress, IPInterface, IPNetwork

_POINT_TO_POINT = 1  # host bits of a /31 (RFC 3021) or /127 (RFC 6164): both addresses are hosts


class Range(NamedTuple):
    """An inclusive range of one subnet; ``reserved`` are addresses in it that are not for hosts."""

    network: "IPNetwork"
    first: int
    last: int
    gateway: "IPAddress"
    reserved: "tuple[tuple[int, int], ...]"

    @classmethod
    def of(
        cls,
        subnet: "IPInterface",
        *,
        start: "IPAddress | None" = None,
        end: "IPAddress | None" = None,
        gateway: "IPAddress | None" = None,
        exclude: "Iterable[IPNetwork]" = (),
    ) -> "Self":
        """A range with its defaults (host-local.md 2.3).

        Raises:
            ValueError: the subnet has host bits set or is too small, or an end lies outside it.
        """
        network = subnet.network
        if subnet.ip != network.network_address:
            raise ValueError(f"subnet {subnet} has host bits set: the network is {network}")
        host_bits = network.max_prefixlen - network.prefixlen
        if host_bits < _POINT_TO_POINT:
            raise ValueError(f"subnet {network} is too small to allocate from")
        lowest, highest = int(network.network_address), int(network.broadcast_address)
        pair, broadcast = host_bits == _POINT_TO_POINT, network.version == 4
        for name, address in (("rangeStart", start), ("rangeEnd", end)):
            if address is not None and address not in network:
                raise ValueError(f"{name} {address} is not in subnet {network}")
        first = int(start) if start else lowest + (not pair)
        last = int(end) if end else highest - (broadcast and not pair)
        if first > last:
            raise ValueError(f"rangeStart {start} is behind rangeEnd {end}")
        router = gateway or network.network_address + (not pair)
        reserved = [(int(router), int(router))] if router.version == network.version else []
        if not pair:
            reserved.append((lowest, lowest))  # IPv6: the subnet-router anycast address, RFC 4291
        if broadcast and not pair:
            reserved.append((highest, highest))
        reserved += [
            (int(item.network_address), int(item.broadcast_address))
            for item in exclude
            if item.version == network.version
        ]
        return cls(network, first, last, router, tuple(reserved))

    def __contains__(self, address: object) -> bool:
        """Whether an address lies between the ends, handed out or not."""
        version = getattr(address, "version", None)
        return version == self.network.version and self.first <= int(address) <= self.last  # type: ignore[call-overload]

    def __str__(self) -> str:
        version = self.network.version
        return f"{_address(self.first, version)}-{_address(self.last, version)}"

    def overlaps(self, other: "Range") -> bool:
        """Whether an address lies in both."""
        same_family = self.network.version == other.network.version
        return same_family and self.first <= other.last and other.first <= self.last

    def hosts(self, first: int, last: int) -> "Iterator[IPAddress]":
        """The addresses for hosts from ``first`` to ``last``, each reserved block jumped over."""
        number = first
        while number <= last:
            block = next((top for low, top in self.reserved if low <= number <= top), None)
            if block is None:
                yield _address(number, self.network.version)
                number += 1
            else:
                number = block + 1

    def is_reserved(self, address: "IPAddress") -> bool:
        """Whether an address must not be handed out, not even on request."""
        return any(low <= int(address) <= top for low, top in self.reserved)

    def with_prefix(self, address: "IPAddress") -> "IPInterface":
        """An address with the subnet's prefix length."""
        return ip_interface((address, self.network.prefixlen))


class RangeSet(NamedTuple):
    """Ranges of one family that are one pool; ``range_id`` is its place in the configuration."""

    range_id: int
    ranges: "tuple[Range, ...]"

    @classmethod
    def of(cls, range_id: int, ranges: "Sequence[Range]") -> "Self":
        """A set that holds together.

        Raises:
            ValueError: it is empty, mixes families, or its ranges overlap.
        """
        if not ranges:
            raise ValueError("it has no range")
        if len({each.network.version for each in ranges}) > 1:
            raise ValueError("it mixes IPv4 and IPv6: give each family a set of its own")
        for position, each in enumerate(ranges):
            for other in ranges[:position]:
                if each.overlaps(other):
                    raise ValueError(f"ranges {other} and {each} overlap")
        return cls(range_id, tuple(ranges))

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.ranges[0].network.version

    def __contains__(self, address: object) -> bool:
        """Whether an address lies in one of the ranges."""
        return any(address in each for each in self.ranges)

    def __str__(self) -> str:
        return ",".join(str(each) for each in self.ranges)

    def range_of(self, address: "IPAddress") -> Range:
        """The range an address lies in."""
        return next(each for each in self.ranges if address in each)

    def next_free(self, taken: "Container[str]", after: "IPAddress | None") -> "IPAddress | None":
        """The first free host address behind ``after``, once around the set; None without any.

        An ``after`` outside the set starts at its beginning.
        """
        for address in self._around(after):
            if str(address) not in taken:
                return address
        return None

    def _around(self, after: "IPAddress | None") -> "Iterator[IPAddress]":
        if after is None or after not in self:
            for each in self.ranges:
                yield from each.hosts(each.first, each.last)
            return
        start = next(position for position, each in enumerate(self.ranges) if after in each)
        here = self.ranges[start]
        yield from here.hosts(int(after) + 1, here.last)
        for each in (*self.ranges[start + 1 :], *self.ranges[:start]):
            yield from each.hosts(each.first, each.last)
        yield from here.hosts(here.first, int(after))


def refuse_overlap(range_set: RangeSet, others: "Iterable[RangeSet]") -> None:
    """Two sets must not hand out the same address.

    Raises:
        ValueError: names the two ranges.
    """
    for other in others:
        for mine in range_set.ranges:
            for theirs in other.ranges:
                if mine.overlaps(theirs):
                    raise ValueError(f"{mine} overlaps {theirs} of range set {other.range_id}")


def _address(number: int, version: int) -> "IPAddress":
    if version == 4:
        return ip_address(number)
    return ip_address(number.to_bytes(16, "big"))
