"""The routes of one link with all they carry, to be taken to another table and back again.

A multipath route belongs to several links. Here it is the route of each of them: ``hops`` are the
link's own next hops, ``others`` the rest, and taking the route away leaves those behind.
"""

import errno
from contextlib import nullcontext

from cnilib.errors import KernelError
from cnilib.kernel.netlink import NLM_F_CREATE, NLM_F_EXCL
from cnilib.kernel.route_messages import FAMILIES, LinkRoute, Message, decode, encode, table_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    from cnilib.kernel.netns import Namespace

_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
_NLM_F_REPLACE = 0x100
_CLONED = 0x200  # RTM_F_CLONED
_NO_ERRORS = nullcontext()


def list_link_routes(namespace: "Namespace", index: int) -> list[LinkRoute]:
    """The unicast routes of a link in all tables but the local one, IPv4 first."""
    return [
        route
        for family in (4, 6)
        for message in _dump(namespace, family)
        if (route := decode(message, index)) is not None
    ]


def tables_with_routes(namespace: "Namespace", *, besides: int = 0) -> set[int]:
    """The tables that have a route of any kind and family other than those of link ``besides``."""
    return {
        table_of(message)
        for family in (4, 6)
        for message in _dump(namespace, family)
        if not besides or decode(message, besides) is None
    }


def change_routes(
    namespace: "Namespace",
    now: "Collection[LinkRoute]",
    wanted: "Collection[LinkRoute]",
    *,
    replace: bool = False,
    errors: "AbstractContextManager[object]" = _NO_ERRORS,
) -> None:
    """Turn a link's routes from ``now`` into ``wanted``: the new ones first, then less the old.

    A new route takes the place of another link's with the same destination and metric if
    ``replace`` says so. Otherwise it stands beside an IPv6 one, as the kernel has it, and gives
    way to an IPv4 one. Each change is made inside ``errors``, where an ``ErrorList`` lets the
    rest go on.

    Raises:
        KernelError: ENETUNREACH, a gateway is not on a subnet; EINVAL, a source is no address.
    """
    new = [route for route in wanted if route not in now]
    own = {route.key for route in now if not route.others}
    for route in sorted(new, key=_order):
        with errors:
            _put(namespace, route, replace=replace or route.key in own)
    placed = {route.key for route in new}
    for route in now:
        if route not in wanted and (route.key not in placed or route.others):
            with errors:
                _remove(namespace, route)


def _order(route: LinkRoute) -> tuple[bool, bool]:
    """A gateway is only accepted when there is a way to it: on-link routes first."""
    return bool(route.gateways), not route.dst.prefixlen


def _put(namespace: "Namespace", route: LinkRoute, *, replace: bool) -> None:
    flags = NLM_F_CREATE
    hops = route.hops
    if route.version == 4 and route.others:
        hops, replace = (*hops, *route.others), True
    if replace:
        flags |= _NLM_F_REPLACE
    elif route.version == 4:
        flags |= NLM_F_EXCL
    request = encode(route, hops)
    try:
        namespace.netlink.act(request, _RTM_NEWROUTE, flags, "add route", _thing(namespace, route))
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise


def _remove(namespace: "Namespace", route: LinkRoute) -> None:
    """Missing is fine: the kernel takes routes with an address or a link."""
    if route.version == 4 and route.others:
        rest = route._replace(hops=route.others, others=(), nexthop_id=0)
        _put(namespace, rest, replace=True)
        return
    request, thing = encode(route, route.hops), _thing(namespace, route)
    try:
        namespace.netlink.act(request, _RTM_DELROUTE, 0, "remove route", thing)
    except KernelError as error:
        if error.errno not in {errno.ESRCH, errno.ENODEV}:
            raise


def _thing(namespace: "Namespace", route: LinkRoute) -> str:
    via = "".join(f" via {gateway}" for gateway in route.gateways)
    return f"{route.dst}{via} of table {route.table} in {namespace.path}"


def _dump(namespace: "Namespace", family: int) -> "Iterator[Any]":
    """Without IPv6 the kernel answers with what it has; that is not for us."""
    request = Message()
    request["family"] = FAMILIES[family]
    thing = f"of {namespace.path}"
    for message in namespace.netlink.dump(request, _RTM_GETROUTE, "list routes", thing):
        if message["family"] == FAMILIES[family] and not message["flags"] & _CLONED:
            yield message
