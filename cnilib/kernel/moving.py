"""Moving a link from one namespace to another, and what it loses by that."""

import errno
from typing import NamedTuple

from cnilib.errors import CniError, KernelError
from cnilib.kernel.addresses import list_addresses, restore_address
from cnilib.kernel.link_messages import link_message
from cnilib.kernel.link_routes import change_routes, list_link_routes
from cnilib.kernel.links import get_link, set_master
from cnilib.kernel.route_messages import PROTOCOL_KERNEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.addresses import Address
    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.netns import Namespace
    from cnilib.kernel.route_messages import LinkRoute
    from cnilib.undo import ErrorList

_RTM_NEWLINK = 16
_SCOPE_LINK = 253
# RTPROT_REDIRECT, RTPROT_KERNEL, RTPROT_RA: the kernel makes, or learns, these again by itself.
_NOT_CONFIGURED = {1, PROTOCOL_KERNEL, 9}
_STAYS = {errno.EINVAL, errno.EOPNOTSUPP}


def move_link(source: "Namespace", link: "Link", destination: "Namespace", name: str) -> "Link":
    """Move a link and call it ``name`` there, where it is down; as it now is.

    It is one request, so nobody ever sees a third name, and a link of the destination that has the
    old name is not in the way (do_setlink in net/core/rtnetlink.c). MAC, MTU and alias go with the
    link; the kernel drops its addresses, its routes and what it is a port of.

    Raises:
        KernelError: EEXIST, the destination has a link ``name``; ENODEV, ``link`` has vanished.
        CniError: it is of a kind that cannot leave its namespace, as loopback and bridges are.
    """
    attrs = [("IFLA_NET_NS_FD", destination.fd), ("IFLA_IFNAME", name)]
    request = link_message(index=link.index, attrs=attrs)
    act, thing = f"move to {destination.path}, as {name}, link", f"{link.name} in {source.path}"
    try:
        source.netlink.act(request, _RTM_NEWLINK, 0, act, thing)
    except KernelError as error:
        if error.errno not in _STAYS:
            raise
        raise CniError(
            f"failed to {act} {thing}: links of its kind stay in their namespace", error.details
        ) from error
    return get_link(destination, name)


class Holdings(NamedTuple):
    """What a link has in its namespace only: addresses, routes, and the index of its master."""

    addresses: "list[Address]"
    routes: "list[LinkRoute]"
    master: int

    @property
    def has_default_route(self) -> bool:
        """Whether the namespace reaches the rest of the world by this link."""
        return any(not route.dst.prefixlen for route in self.routes)


def holdings_of(namespace: "Namespace", link: "Link") -> Holdings:
    """What the link would lose by a move. Without addresses it is not asked for routes."""
    addresses = [
        address
        for address in list_addresses(namespace, link.index)
        if address.interface.version == 4 or address.scope != _SCOPE_LINK
    ]
    routes = list_link_routes(namespace, link.index) if addresses else []
    configured = [route for route in routes if route.protocol not in _NOT_CONFIGURED]
    return Holdings(addresses, configured, link.master)


def put_back(namespace: "Namespace", link: "Link", holdings: Holdings, errors: "ErrorList") -> None:
    """Give a link that has come back, and is up if it was, what it had; what it has is fine."""
    if holdings.master != link.master:
        with errors:
            set_master(namespace, link.name, holdings.master)
    for address in holdings.addresses:
        with errors:
            _put_address(namespace, link.index, address)
    routes = [
        route._replace(hops=tuple(hop._replace(oif=link.index) for hop in route.hops))
        for route in holdings.routes
    ]
    change_routes(namespace, [], routes, errors=errors)


def _put_address(namespace: "Namespace", index: int, address: "Address") -> None:
    try:
        restore_address(namespace, index, address)
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise
