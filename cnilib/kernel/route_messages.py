"""Routes of one link as messages of the kernel (rtnetlink RTM; linux/rtnetlink.h).

Attributes that need no understanding are kept as the bytes they are.
"""

import socket
import struct
import sys
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from cnilib.kernel.routes import MAIN_TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from cnilib.types.addresses import IPAddress, IPNetwork

    Attributes = tuple[tuple[str, bytes], ...]

LOCAL_TABLE = 255
PROTOCOL_KERNEL, PROTOCOL_BOOT = 2, 3
SCOPE_UNIVERSE, SCOPE_LINK = 0, 253
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

_VERSIONS = {family: version for version, family in FAMILIES.items()}
_UNICAST = 1
_ONLINK = 0x4  # RTNH_F_ONLINK
_LONGEST_HEADER_TABLE = 255
_NEXTHOP = struct.Struct("=HBBi")  # rtnexthop: length, flags, hops, interface index
_ATTRIBUTE = struct.Struct("=HH")
_OF_HOP = ("RTA_FLOW", "RTA_ENCAP_TYPE", "RTA_ENCAP")
_OF_ROUTE = ("RTA_METRICS", "RTA_PREF")


class Hop(NamedTuple):
    """One way out; ``gateway`` is None for what is on the link itself."""

    oif: int
    gateway: "IPAddress | None" = None
    onlink: bool = False
    weight: int = 0
    rest: "Attributes" = ()


class LinkRoute(NamedTuple):
    """A unicast route; ``source`` is its preferred source address.

    ``origin`` is the network an IPv6 route is confined to; ``nexthop_id`` names a nexthop object.
    """

    dst: "IPNetwork"
    hops: tuple[Hop, ...]
    table: int = MAIN_TABLE
    priority: int = 0
    source: "IPAddress | None" = None
    protocol: int = PROTOCOL_BOOT
    scope: int = SCOPE_UNIVERSE
    tos: int = 0
    origin: "IPNetwork | None" = None
    rest: "Attributes" = ()
    others: tuple[Hop, ...] = ()
    nexthop_id: int = 0

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.dst.version

    @property
    def gateways(self) -> "list[IPAddress]":
        """Those of the link's own hops."""
        return [hop.gateway for hop in self.hops if hop.gateway is not None]

    @property
    def key(self) -> tuple[object, ...]:
        """What tells routes of a table apart; the rest says where they lead."""
        return self.table, self.dst, self.origin, self.tos, self.priority

    def in_table(self, table: int) -> "LinkRoute":
        """The same for another table, without the next hops of other links."""
        hops = self.hops if len(self.hops) > 1 else (self.hops[0]._replace(weight=0),)
        return self._replace(table=table, hops=hops, others=(), nexthop_id=0)


class Message(nlmsg):  # type: ignore[misc] # pyroute2 is untyped
    """A route message with its attributes as bytes."""

    prefix = "RTA_"
    fields = rtmsg.fields
    nla_map = (
        (1, "RTA_DST", "cdata"),
        (2, "RTA_SRC", "cdata"),
        (4, "RTA_OIF", "cdata"),
        (5, "RTA_GATEWAY", "cdata"),
        (6, "RTA_PRIORITY", "cdata"),
        (7, "RTA_PREFSRC", "cdata"),
        (8, "RTA_METRICS", "cdata"),
        (9, "RTA_MULTIPATH", "cdata"),
        (11, "RTA_FLOW", "cdata"),
        (15, "RTA_TABLE", "cdata"),
        (18, "RTA_VIA", "cdata"),
        (20, "RTA_PREF", "cdata"),
        (21, "RTA_ENCAP_TYPE", "cdata"),
        (22, "RTA_ENCAP", "cdata"),
        (30, "RTA_NH_ID", "cdata"),
    )


_NUMBERS = {name: number for number, name, _ in Message.nla_map}
_NAMES = {number: name for name, number in _NUMBERS.items()}


def table_of(message: "Any") -> int:
    """The table a message is about; the header has room for numbers to 255 only."""
    attrs = dict(message["attrs"])
    return _number(attrs["RTA_TABLE"]) if "RTA_TABLE" in attrs else int(message["table"])


def decode(message: "Any", index: int) -> LinkRoute | None:
    """The route as one of the link's; None when it has no hop there."""
    attrs = {name: value for name, value in message["attrs"] if name in _NUMBERS}
    hops = list(_hops(attrs, message["flags"]))
    own = tuple(hop for hop in hops if hop.oif == index)
    table = table_of(message)
    if not own or message["type"] != _UNICAST or table == LOCAL_TABLE:
        return None
    size = {4: 4, 6: 16}[_VERSIONS[message["family"]]]
    dst = ip_network((attrs.get("RTA_DST", bytes(size)), message["dst_len"]))
    return LinkRoute(
        dst=dst,
        hops=own,
        table=table,
        priority=_number(attrs.get("RTA_PRIORITY", b"")),
        source=ip_address(attrs["RTA_PREFSRC"]) if "RTA_PREFSRC" in attrs else None,
        protocol=message["proto"],
        scope=message["scope"],
        tos=message["tos"],
        origin=ip_network((attrs["RTA_SRC"], message["src_len"])) if "RTA_SRC" in attrs else None,
        rest=_some(attrs, _OF_ROUTE),
        others=tuple(hop for hop in hops if hop.oif != index),
        nexthop_id=_number(attrs.get("RTA_NH_ID", b"")),
    )


def _hops(attrs: dict[str, bytes], flags: int) -> "Iterator[Hop]":
    if "RTA_MULTIPATH" not in attrs:
        if "RTA_OIF" in attrs:
            yield _hop(_number(attrs["RTA_OIF"]), attrs, flags, 0)
        return
    data = attrs["RTA_MULTIPATH"]
    while len(data) >= _NEXTHOP.size:
        length, hop_flags, weight, oif = _NEXTHOP.unpack_from(data)
        yield _hop(oif, dict(_unpack(data[_NEXTHOP.size : length])), hop_flags, weight)
        data = data[(length + 3) & ~3 :]


def _hop(oif: int, attrs: dict[str, bytes], flags: int, weight: int) -> Hop:
    """RTA_VIA is a gateway of the other family: struct rtvia, family and address."""
    gateway = attrs.get("RTA_GATEWAY") or attrs.get("RTA_VIA", b"")[2:]
    return Hop(
        oif=oif,
        gateway=ip_address(gateway) if gateway else None,
        onlink=bool(flags & _ONLINK),
        weight=weight,
        rest=_some(attrs, _OF_HOP),
    )


def encode(route: LinkRoute, hops: "Sequence[Hop]") -> "Any":
    """The message that adds or removes the route with these next hops."""
    message = Message()
    message["family"] = FAMILIES[route.version]
    message["dst_len"] = route.dst.prefixlen
    message["tos"], message["scope"] = route.tos, route.scope
    message["proto"], message["type"] = route.protocol, _UNICAST
    message["table"] = route.table if route.table <= _LONGEST_HEADER_TABLE else 0
    attrs: list[tuple[str, bytes]] = [("RTA_TABLE", _bytes(route.table)), *route.rest]
    if route.dst.prefixlen:
        attrs.append(("RTA_DST", route.dst.network_address.packed))
    if route.origin is not None:
        message["src_len"] = route.origin.prefixlen
        attrs.append(("RTA_SRC", route.origin.network_address.packed))
    if route.priority:
        attrs.append(("RTA_PRIORITY", _bytes(route.priority)))
    if route.source is not None:
        attrs.append(("RTA_PREFSRC", route.source.packed))
    if route.nexthop_id:
        attrs.append(("RTA_NH_ID", _bytes(route.nexthop_id)))
    elif len(hops) == 1 and not hops[0].weight:
        message["flags"] = _ONLINK if hops[0].onlink else 0
        attrs += [("RTA_OIF", _bytes(hops[0].oif)), *_hop_attributes(hops[0], route.version)]
    else:
        multipath = b"".join(_pack_hop(hop, route.version) for hop in hops)
        attrs.append(("RTA_MULTIPATH", multipath))
    message["attrs"] = attrs
    return message


def _hop_attributes(hop: Hop, version: int) -> "Attributes":
    if hop.gateway is None:
        return hop.rest
    if hop.gateway.version == version:
        return ("RTA_GATEWAY", hop.gateway.packed), *hop.rest
    family = FAMILIES[hop.gateway.version].to_bytes(2, sys.byteorder)
    return ("RTA_VIA", family + hop.gateway.packed), *hop.rest


def _pack_hop(hop: Hop, version: int) -> bytes:
    attrs = b"".join(_pack(name, data) for name, data in _hop_attributes(hop, version))
    flags = _ONLINK if hop.onlink else 0
    return _NEXTHOP.pack(_NEXTHOP.size + len(attrs), flags, hop.weight, hop.oif) + attrs


def _pack(name: str, data: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(data)
    return _ATTRIBUTE.pack(length, _NUMBERS[name]) + data + bytes(-length % 4)


def _unpack(data: bytes) -> "Iterator[tuple[str, bytes]]":
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if kind in _NAMES:
            yield _NAMES[kind], data[_ATTRIBUTE.size : length]
        data = data[max((length + 3) & ~3, _ATTRIBUTE.size) :]


def _some(attrs: dict[str, bytes], names: "Iterable[str]") -> "Attributes":
    return tuple((name, attrs[name]) for name in names if name in attrs)


def _bytes(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)


def _number(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)
