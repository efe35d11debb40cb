"""Which route belongs to which table: the arithmetic of sbr, without the kernel."""

from ipaddress import ip_network
from typing import NamedTuple

from cnilib.kernel.route_messages import SCOPE_LINK, Hop, LinkRoute
from cnilib.kernel.routes import MAIN_TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from cnilib.types.addresses import IPAddress, IPInterface, IPNetwork
    from cnilib.types.result import Result

MADE = 83
"""Route protocol of the default routes that sbr makes itself.

DEL tells them by it from those that ADD moved and that it has to put back. The kernel does not
interpret numbers above 4 (rtnetlink(7)).
"""

_DEFAULTS = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
_DEFAULT_METRICS = {4: 0, 6: 1024}  # what the kernel makes of 0 (IP6_RT_PRIO_USER)
_LINK_LOCAL = ip_network("fe80::/64")
_ROUTER_ADVERTISEMENT = 9  # RTPROT_RA


class Owner(NamedTuple):
    """An address that gets a rule and a table, and its gateway where one is known."""

    address: "IPInterface"
    gateway: "IPAddress | None"

    @property
    def source(self) -> "IPNetwork":
        """The address alone, as a rule has it."""
        return ip_network(self.address.ip)

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.address.version

    @property
    def anywhere(self) -> "IPNetwork":
        """The destination of a default route of its family."""
        return _DEFAULTS[self.version]


def owners_of(
    result: "Result", ifname: str, gateways: "Collection[IPAddress]"
) -> tuple[Owner, ...]:
    """The addresses of the result that are, or may be, on ``ifname``.

    The gateway is the configured one of the family, else that of the address, else that of a
    default route of the result which leads into the address's subnet.
    """
    owners: dict[IPInterface, Owner] = {}
    for ip in result.ips:
        interface = result.interface_of(ip)
        if interface is not None and interface.name != ifname:
            continue
        configured = [gateway for gateway in gateways if gateway.version == ip.address.version]
        routed = [
            route.gw
            for route in result.routes
            if route.gw is not None and not route.dst.network.prefixlen
            if route.gw in ip.address.network
        ]
        known = [gateway for gateway in (*configured, ip.gateway, *routed) if gateway is not None]
        owners.setdefault(ip.address, Owner(ip.address, known[0] if known else None))
    return tuple(owners.values())


def moved(
    routes: "Collection[LinkRoute]", tables: dict[Owner, int], index: int, *, keep_subnets: bool
) -> list[LinkRoute]:
    """The routes of the link (``index``) as they are to be once its addresses have their tables.

    A family without an address keeps its routes. fe80::/64 stays besides being copied: nothing
    would reach a neighbour's link-local address otherwise.
    """
    wanted = [route for route in routes if _stays(route, tables, keep_subnets=keep_subnets)]
    for owner, table in tables.items():
        wanted += _private(routes, owner, table, tables, index)
    return wanted


def _stays(route: LinkRoute, tables: dict[Owner, int], *, keep_subnets: bool) -> bool:
    if route.table in tables.values():
        return False  # written anew
    if route.table != MAIN_TABLE or route.dst == _LINK_LOCAL:
        return True
    owners = [owner for owner in tables if owner.version == route.version]
    if not owners:
        return True
    if not keep_subnets:
        return False
    if route.version == 4:
        return route.scope == SCOPE_LINK
    return any(_is_subnet(route, owner) for owner in owners)


def _private(
    routes: "Iterable[LinkRoute]",
    owner: Owner,
    table: int,
    owners: "Iterable[Owner]",
    index: int,
) -> list[LinkRoute]:
    """What the owner's table holds: a default route, what it held, and what is moved there.

    Of the same destination and metric the later of these wins (sbr.md 3.5).
    """
    made = [_default(owner, table, index)] if owner.gateway is not None else []
    kept = [route for route in routes if route.table == table and route.protocol != MADE]
    others = [other for other in owners if other != owner]
    copies = [
        _for_owner(route, owner, table)
        for route in routes
        if route.table == MAIN_TABLE and route.version == owner.version
        if _matches(route, owner) or not any(_matches(route, other) for other in others)
    ]
    return list({route.key: route for route in (*made, *kept, *copies)}.values())


def _default(owner: Owner, table: int, index: int) -> LinkRoute:
    return LinkRoute(
        dst=owner.anywhere,
        hops=(Hop(index, owner.gateway),),
        table=table,
        priority=_DEFAULT_METRICS[owner.version],
        protocol=MADE,
    )


def _matches(route: LinkRoute, owner: Owner) -> bool:
    """Whether the route leads through, or speaks from, the subnet of the address."""
    hints = [*route.gateways, route.source]
    return any(hint is not None and hint in owner.address.network for hint in hints)


def _for_owner(route: LinkRoute, owner: Owner, table: int) -> LinkRoute:
    """A table serves one address: a hint at another one of its subnet would be wrong there."""
    copy = route.in_table(table)
    if copy.source is not None and copy.source in owner.address.network:
        return copy._replace(source=owner.address.ip)
    return copy


def source_hints(
    routes: "Collection[LinkRoute]", owners: "Iterable[Owner]", index: int
) -> list[LinkRoute]:
    """The routes, and in the main table the subnet of each address with it as the source."""
    wanted = list(routes)
    for owner in owners:
        subnets = [route for route in wanted if _is_subnet(route, owner)]
        subnet = subnets[0] if subnets else _subnet(owner, index)
        wanted = [route for route in wanted if route not in subnets]
        wanted.append(subnet._replace(source=owner.address.ip))
    return wanted


def _is_subnet(route: LinkRoute, owner: Owner) -> bool:
    """The connected route of an address."""
    in_main = route.table == MAIN_TABLE and not route.gateways
    return in_main and route.dst == owner.address.network


def _subnet(owner: Owner, index: int) -> LinkRoute:
    return LinkRoute(
        dst=owner.address.network,
        hops=(Hop(index),),
        priority=_DEFAULT_METRICS[owner.version],
        scope=SCOPE_LINK if owner.version == 4 else 0,
    )


def moved_back(routes: "Collection[LinkRoute]", tables: "Collection[int]") -> list[LinkRoute]:
    """The routes with those of ``tables`` (oldest first) in the main table again.

    Of those that several tables have, the oldest is the one that the main table had.
    """
    back: dict[tuple[object, ...], LinkRoute] = {}
    for table in tables:
        for route in routes:
            if route.table == table and route.protocol != MADE:
                again = route.in_table(MAIN_TABLE)
                back.setdefault(again.key, again)
    stay = [route for route in routes if route.table not in tables and route.key not in back]
    return stay + list(back.values())


def left_in_main(routes: "Iterable[LinkRoute]", owners: "Collection[Owner]") -> list[LinkRoute]:
    """What should not be in the main table; routers advertise again and again, so theirs may."""
    versions = {owner.version for owner in owners}
    return [
        route
        for route in routes
        if route.table == MAIN_TABLE and route.version in versions
        if route.dst != _LINK_LOCAL and route.protocol != _ROUTER_ADVERTISEMENT
    ]
