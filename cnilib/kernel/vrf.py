"""VRF devices, and moving a link in and out without losing what the kernel forgets on the way.

A link that changes its VRF goes down and up: its routes are gone but for those the kernel makes of
its addresses, and its IPv6 addresses are, too (Documentation/networking/vrf.rst).
"""

import time
from contextlib import nullcontext
from ipaddress import ip_network
from typing import NamedTuple

from cnilib.errors import CniError
from cnilib.kernel.addresses import list_addresses, restore_address
from cnilib.kernel.link_routes import change_routes, list_link_routes
from cnilib.kernel.links import add_link, list_links, set_master
from cnilib.kernel.route_messages import LOCAL_TABLE, PROTOCOL_KERNEL
from cnilib.kernel.routes import MAIN_TABLE, list_routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from cnilib.kernel.addresses import Address
    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.netns import Namespace
    from cnilib.kernel.route_messages import LinkRoute
    from cnilib.undo import ErrorList

# Seconds between looks at a new IPv6 address: duplicate detection takes one or two (vrf.md 3.5).
_PAUSES = tuple(0.01 * 2**step for step in range(8))
_UP_STATES = {"UP", "UNKNOWN"}
_NO_ERRORS = nullcontext()


class Belongings(NamedTuple):
    """What a link has that it would lose: IPv6 addresses of global scope, and its routes."""

    addresses: "list[Address]"
    routes: "list[LinkRoute]"


def add_vrf(namespace: "Namespace", name: str, table: int) -> None:
    """Make a VRF; it is down.

    Raises:
        KernelError: EEXIST, the name is taken.
        CniError: the kernel has no VRFs.
    """
    data = {"attrs": [("IFLA_VRF_TABLE", table)]}
    add_link(namespace, name, [("IFLA_INFO_KIND", "vrf"), ("IFLA_INFO_DATA", data)], [])


def table_of_vrf(vrf: "Link") -> int:
    """The routing table of a VRF."""
    table: int = vrf.info.get("IFLA_VRF_TABLE", 0)
    return table


def tables_of_vrfs(namespace: "Namespace") -> set[int]:
    """Those of all VRFs of the namespace."""
    return {table_of_vrf(vrf) for vrf in list_links(namespace, kind="vrf")}


def belongings_of(namespace: "Namespace", link: "Link") -> Belongings:
    """What the link has now."""
    addresses = [a for a in list_addresses(namespace, link.index, 6) if a.scope == 0]
    return Belongings(addresses, list_link_routes(namespace, link.index))


def enter_vrf(namespace: "Namespace", link: "Link", vrf: "Link", kept: Belongings) -> None:
    """Make the link a port of the VRF; its main table's routes go to the VRF's table.

    Raises:
        KernelError: the kernel refused an address or a route.
        CniError: an IPv6 address did not get usable in 2.5 seconds.
    """
    table = table_of_vrf(vrf)
    set_master(namespace, link.name, vrf.index)
    _settle_addresses(namespace, link, kept.addresses, table, _NO_ERRORS)
    routes = carried(kept.routes, MAIN_TABLE, table)
    stay = _unless_left(namespace, link, MAIN_TABLE)
    change_routes(namespace, stay.now, [*stay.kept, *routes], replace=True)


def leave_vrf(namespace: "Namespace", link: "Link", vrf: "Link", errors: "ErrorList") -> None:
    """Take the link out; the routes of the VRF's table are the main table's again.

    Raises:
        KernelError: the link cannot be taken out; what fails after that is collected.
    """
    kept, table = belongings_of(namespace, link), table_of_vrf(vrf)
    routes = carried(kept.routes, table, MAIN_TABLE)
    _leave(namespace, link, vrf, Belongings(kept.addresses, routes), errors)


def give_back(
    namespace: "Namespace", link: "Link", vrf: "Link", kept: Belongings, errors: "ErrorList"
) -> None:
    """Undo ``enter_vrf``, however far it has come."""
    routes = carried(kept.routes, MAIN_TABLE, MAIN_TABLE)
    _leave(namespace, link, vrf, Belongings(kept.addresses, routes), errors)


def _leave(
    namespace: "Namespace", link: "Link", vrf: "Link", wanted: Belongings, errors: "ErrorList"
) -> None:
    set_master(namespace, link.name, 0)
    with errors:
        _settle_addresses(namespace, link, wanted.addresses, LOCAL_TABLE, errors)
    stay = _unless_left(namespace, link, table_of_vrf(vrf))
    change_routes(namespace, stay.now, [*stay.kept, *wanted.routes], errors=errors)


def carried(routes: "Iterable[LinkRoute]", source: int, target: int) -> "list[LinkRoute]":
    """The routes to make anew: those of table ``source`` in ``target``, others where they were.

    Those that the kernel makes of addresses it makes again by itself.
    """
    return [
        route if route.table != source or source == target else route.in_table(target)
        for route in routes
        if route.table != source or route.protocol != PROTOCOL_KERNEL
    ]


def _settle_addresses(
    namespace: "Namespace",
    link: "Link",
    kept: "list[Address]",
    table: int,
    errors: "AbstractContextManager[object]",
) -> None:
    """Put back the addresses that are gone; wait until all can be used, as they could before."""
    present = {address.interface for address in list_addresses(namespace, link.index, 6)}
    for address in kept:
        if address.interface not in present:
            with errors:
                restore_address(namespace, link.index, address)
    if link.operstate in _UP_STATES:
        usable = [address for address in kept if not (address.tentative or address.dadfailed)]
        _wait_for_host_routes(namespace, link, usable, table)


def _wait_for_host_routes(
    namespace: "Namespace", link: "Link", addresses: "list[Address]", table: int
) -> None:
    missing = {ip_network(address.interface.ip) for address in addresses}
    for pause in _PAUSES:
        missing -= {route.dst for route in list_routes(namespace, family=6, table=table)}
        if not missing:
            return
        time.sleep(pause)
    missing -= {route.dst for route in list_routes(namespace, family=6, table=table)}
    if missing:
        raise CniError(
            f"IPv6 address {min(missing)} of {link.name} in {namespace.path} has no route in "
            f"table {table} after {sum(_PAUSES):.1f} seconds; is it in use on the network?"
        )


class _Stay(NamedTuple):
    now: "list[LinkRoute]"
    kept: "list[LinkRoute]"


def _unless_left(namespace: "Namespace", link: "Link", table: int) -> _Stay:
    """The link's routes, and those that stay when it leaves a table: others', the kernel's own."""
    now = list_link_routes(namespace, link.index)
    kept = [route for route in now if route.table != table or route.protocol == PROTOCOL_KERNEL]
    return _Stay(now, kept)
