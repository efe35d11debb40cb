"""Which link of the host is the other end of the container's interface."""

from cnilib.errors import CniError
from cnilib.kernel.links import find_link, find_link_by_index, get_link
from cnilib.kernel.netns import Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.link_messages import Link
    from cnilib.request import Request
    from cnilib.types.result import Interface, Result
    from cnilib.undo import ErrorList


def get_host_link(host: Namespace, container: Namespace, ifname: str, result: "Result") -> "Link":
    """The host's end of the pair; the result must know it.

    Raises:
        KernelError: the container has no such interface.
        CniError: it is no veth, its other end is elsewhere, or the result does not list that.
    """
    inside = get_link(container, ifname)
    if inside.kind != "veth":
        found = inside.kind or "another kind"
        raise CniError(
            f"failed to limit {ifname} in {container.path}: expected a veth, found {found} "
            "(bandwidth works after plugins that make a veth pair, such as bridge and ptp)"
        )
    link = _other_end(host, inside)
    if link is None:
        raise CniError(
            f"failed to limit {ifname} in {container.path}: its other end, link "
            f"{inside.peer_index}, is not on the host"
        )
    if link.name not in {interface.name for interface in _of_host(result)}:
        raise CniError(
            f"failed to limit {ifname} in {container.path}: its other end {link.name} is not "
            "among the interfaces of the host in prevResult"
        )
    return link


def find_host_links(host: Namespace, req: "Request", errors: "ErrorList") -> "list[Link]":
    """DEL: the host's end where the namespace still tells, else what prevResult says it was.

    A CNI_NETNS that is no namespace goes to ``errors``.
    """
    container: Namespace | None = None
    with errors:
        container = Namespace.find(req.netns)
    if container is not None:
        with container:
            inside = find_link(container, req.ifname)
        link = _other_end(host, inside) if inside and inside.kind == "veth" else None
        return [link] if link else []
    result = req.prev_result
    return [link for i in _of_host(result) if (link := _reported(host, i))] if result else []


def _other_end(host: Namespace, inside: "Link") -> "Link | None":
    """Indexes are counted in each namespace: the other end must point back."""
    link = find_link_by_index(host, inside.peer_index) if inside.peer_index else None
    if link is None or (link.kind, link.peer_index) != ("veth", inside.index):
        return None
    return link


def _reported(host: Namespace, interface: "Interface") -> "Link | None":
    """Only with the MAC that was reported: the name may be somebody else's by now."""
    link = find_link(host, interface.name) if interface.name and interface.mac else None
    if link is None or (link.kind, link.mac) != ("veth", interface.mac.lower()):
        return None
    return link


def _of_host(result: "Result") -> "list[Interface]":
    return [interface for interface in result.interfaces if not interface.sandbox]
