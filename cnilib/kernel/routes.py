"""Routes (rtnetlink RTM; linux/rtnetlink.h)."""

import errno
import socket
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from pyroute2.netlink.rtnl.rtmsg import rtmsg

from cnilib.errors import KernelError
from cnilib.kernel.messages import AttributeReader
from cnilib.kernel.netlink import NLM_F_CREATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cnilib.kernel.netns import Namespace
    from cnilib.types.addresses import IPAddress, IPNetwork

_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_DEFAULTS = {4: "0.0.0.0/0", 6: "::/0"}
MAIN_TABLE = 254
_LONGEST_HEADER_TABLE = 255
_PROTOCOL_BOOT, _TYPE_UNICAST = 3, 1
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_IN_USE_BY_CACHE = 0x200  # RTM_F_CLONED


class RouteEntry(NamedTuple):
    """A route as the kernel has it, a multipath route once for each hop.

    ``gateway`` is None for what is on the link; ``oif`` 0 for what no link carries (blackhole).
    """

    dst: "IPNetwork"
    gateway: "IPAddress | None"
    oif: int
    priority: int
    table: int
    scope: int
    mtu: int
    advmss: int


def add_route(  # noqa: PLR0913 - a route has that many parts
    namespace: "Namespace",
    dst: "IPNetwork",
    *,
    oif: int,
    gateway: "IPAddress | None" = None,
    priority: int = 0,
    table: int = 0,
    scope: int | None = None,
    source: "IPAddress | None" = None,
    mtu: int = 0,
    advmss: int = 0,
) -> None:
    """Add a route out of the link with index ``oif``; 0 means the kernel's default.

    ``source`` is the address that packets from here get when they have none yet.

    An IPv6 route that differs in its gateway alone becomes part of a multipath route.

    Raises:
        KernelError: EEXIST, the route is there; ENETUNREACH, the gateway is not on a subnet.
    """
    request = _request(dst, table)
    if scope is None:
        scope = _SCOPE_UNIVERSE if gateway or dst.version == 6 else _SCOPE_LINK
    request["scope"] = scope
    request["attrs"].append(("RTA_OIF", oif))
    if gateway is not None:
        request["attrs"].append(("RTA_GATEWAY", str(gateway)))
    if source is not None:
        request["attrs"].append(("RTA_PREFSRC", str(source)))
    if priority:
        request["attrs"].append(("RTA_PRIORITY", priority))
    metrics = [(n, value) for n, value in (("RTAX_MTU", mtu), ("RTAX_ADVMSS", advmss)) if value]
    if metrics:
        request["attrs"].append(("RTA_METRICS", {"attrs": metrics}))
    thing = f"{dst}{f' via {gateway}' if gateway else ''} in {namespace.path}"
    namespace.netlink.act(request, _RTM_NEWROUTE, NLM_F_CREATE, "add route", thing)


def remove_route(namespace: "Namespace", dst: "IPNetwork", *, oif: int, table: int = 0) -> bool:
    """Remove a route out of a link, the kernel's own ones too; False when there is none."""
    request = _request(dst, table)
    request["proto"] = 0  # RTPROT_UNSPEC: any
    request["scope"] = 255  # RT_SCOPE_NOWHERE: any
    request["attrs"].append(("RTA_OIF", oif))
    try:
        thing = f"{dst} in {namespace.path}"
        namespace.netlink.act(request, _RTM_DELROUTE, 0, "remove route", thing)
    except KernelError as error:
        if error.errno in {errno.ESRCH, errno.ENODEV}:
            return False
        raise
    return True


def list_routes(
    namespace: "Namespace", *, family: int, table: int | None = MAIN_TABLE, oif: int | None = None
) -> list[RouteEntry]:
    """The routes of one table, or of all for None, and family (4 or 6), of one link if ``oif``."""
    request = rtmsg()
    request["family"] = _FAMILIES[family]
    wanted = (("RTA_TABLE", table), ("RTA_OIF", oif))
    request["attrs"] = [(name, value) for name, value in wanted if value is not None]
    thing = f"of {'all tables' if table is None else f'table {table}'} in {namespace.path}"
    try:
        messages = namespace.netlink.dump(request, _RTM_GETROUTE, "list routes", thing)
    except KernelError as error:
        if error.errno == errno.ENOENT:  # the table has never had a route
            return []
        raise
    entries = [e for m in messages if not m["flags"] & _IN_USE_BY_CACHE for e in _entries(m)]
    return [e for e in entries if table in {None, e.table} and oif in {None, e.oif}]


def find_default_device(namespace: "Namespace") -> int | None:
    """The index of the link of the first default route of the main table, IPv4's before IPv6's.

    Routes that no link carries are passed over; None when there is no other.
    """
    for family in (4, 6):
        for route in list_routes(namespace, family=family):
            if not route.dst.prefixlen and route.oif:
                return route.oif
    return None


def find_route_to(namespace: "Namespace", address: "IPAddress") -> int | None:
    """The index of the link a packet to ``address`` would leave by; None without a route."""
    request = rtmsg()
    request["family"] = _FAMILIES[address.version]
    request["dst_len"] = address.max_prefixlen
    request["attrs"] = [("RTA_DST", str(address))]
    thing = f"to {address} in {namespace.path}"
    try:
        answer = namespace.netlink.get(request, _RTM_GETROUTE, "find route", thing)
    except KernelError as error:
        if error.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL}:
            return None
        raise
    oif: int | None = AttributeReader(answer).get("RTA_OIF")
    return oif


def _request(dst: "IPNetwork", table: int) -> "Any":
    message = rtmsg()
    message["family"] = _FAMILIES[dst.version]
    message["dst_len"] = dst.prefixlen
    message["proto"] = _PROTOCOL_BOOT
    message["type"] = _TYPE_UNICAST
    table = table or MAIN_TABLE
    message["table"] = table if table <= _LONGEST_HEADER_TABLE else 0
    attrs: list[Any] = [("RTA_TABLE", table)]
    if dst.prefixlen:
        attrs.append(("RTA_DST", str(dst.network_address)))
    message["attrs"] = attrs
    return message


def _entries(message: "Any") -> "Iterator[RouteEntry]":
    attrs = AttributeReader(message)
    version = 4 if message["family"] == socket.AF_INET else 6
    dst = attrs.get("RTA_DST")
    metrics = attrs.nested("RTA_METRICS")
    hops = [
        (hop["oif"], AttributeReader(hop).get("RTA_GATEWAY"))
        for hop in attrs.get("RTA_MULTIPATH", ())
    ] or [(attrs.get("RTA_OIF", 0), attrs.get("RTA_GATEWAY"))]
    for oif, gateway in hops:
        yield RouteEntry(
            dst=ip_network(f"{dst}/{message['dst_len']}" if dst else _DEFAULTS[version]),
            gateway=ip_address(gateway) if gateway else None,
            oif=oif if message["type"] == _TYPE_UNICAST else 0,
            priority=attrs.get("RTA_PRIORITY", 0),
            table=attrs.get("RTA_TABLE", message["table"]),
            scope=message["scope"],
            mtu=metrics.get("RTAX_MTU", 0),
            advmss=metrics.get("RTAX_ADVMSS", 0),
        )
