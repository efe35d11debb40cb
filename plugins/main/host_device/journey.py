"""A device's way into the container and home again.

While it is away its alias is its name on the host, as with the reference plugin: that is how it is
known inside, together with what its state file says.
"""

from contextlib import nullcontext

from cnilib.errors import CniError, NetnsError
from cnilib.kernel.links import (
    find_link,
    find_link_by_index,
    get_link,
    list_links,
    rename_link,
    set_alias,
    set_down,
    set_mac,
    set_mtu,
    set_up,
)
from cnilib.kernel.moving import holdings_of, move_link, put_back
from cnilib.kernel.netns import Namespace
from cnilib.log import warn
from cnilib.undo import ErrorList
from plugins.main.host_device import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.moving import Holdings
    from cnilib.request import Request
    from cnilib.undo import Undo
    from plugins.main.host_device.state import Saved


def take_in(
    req: "Request",
    data_dir: str,
    host: Namespace,
    container: Namespace,
    device: "Link",
    undo: "Undo",
) -> "Link":
    """The device as CNI_IFNAME in the container, still down.

    Raises:
        CniError: the container has a link of that name, or the device cannot be moved.
        IoError: its state cannot be written down.
    """
    if find_link(container, req.ifname) is not None:
        raise CniError(
            f"failed to move {device.name} into {container.path}: {req.ifname} already exists there"
        )
    holdings = holdings_of(host, device)
    _warn_of_losses(device, holdings)
    saved = state.of_device(req.attachment, req.netns, device)
    undo.add(f"bring {device.name} home", _take_back, data_dir, saved, holdings)
    state.save(data_dir, saved)
    set_alias(host, device.name, device.name)
    return move_link(host, device, container, req.ifname)


def _warn_of_losses(device: "Link", holdings: "Holdings") -> None:
    if holdings.master:
        warn(f"host-device: {device.name} stops being a port of link {holdings.master}")
    if holdings.has_default_route:
        warn(f"host-device: {device.name} takes a default route of the host with it")


def _take_back(data_dir: str, saved: "Saved", holdings: "Holdings") -> None:
    """ADD's undo: the device is as it was, with its addresses and routes."""
    errors = ErrorList()
    with (
        Namespace.current() as host,
        find_namespace(saved.netns, host) or nullcontext() as container,
    ):
        link = bring_home(host, container, saved, up=saved.up)
        if link is not None:
            put_back(host, link, holdings, errors)
    state.forget(data_dir, saved.attachment)
    errors.raise_any()


def find_namespace(path: str, host: Namespace) -> Namespace | None:
    """The namespace a device is said to be in; None when it is gone or is the host's own."""
    try:
        container = Namespace.find(path)
    except NetnsError:  # whatever is there now, it is no namespace any more
        return None
    if container is not None and container.inode == host.inode:
        container.close()
        return None
    return container


def bring_home(
    host: Namespace, container: Namespace | None, saved: "Saved", *, up: bool
) -> "Link | None":
    """The device, on the host as it was, wherever it has been; None when it is gone.

    It is left down unless ``up``.

    Raises:
        CniError: the host has another link of its name; the device stays where it is, usable.
    """
    link = None
    if container is not None:
        away = find_inside(container, saved)
        if away is not None:
            _refuse_clash(host, saved, f"{away.name} in {container.path}")
            if away.alias != saved.name:
                set_alias(container, away.name, saved.name)
            link = move_link(container, away, host, saved.name)
    link = link or _find_on_host(host, saved)
    return None if link is None else _restore(host, link, saved, up=up)


def find_inside(container: Namespace, saved: "Saved") -> "Link | None":
    """The device in the container, under whatever name."""
    for link in (
        find_link(container, saved.attachment.ifname),
        find_link_by_index(container, saved.index),
    ):
        if link is not None and _is_device(link, saved):
            return link
    links = list_links(container)
    marked = (link for link in links if link.alias == saved.name)
    alike = (link for link in links if _is_device(link, saved))
    return next(marked, None) or next(alike, None)


def _is_device(link: "Link", saved: "Saved") -> bool:
    """By its mark, or else by its MAC, which a VLAN on it may share: so by its kind, too.

    Every lo has the same MAC, all zeroes: that is none.
    """
    if link.alias == saved.name:
        return True
    has_mac = bool(saved.mac.strip("0:"))
    return has_mac and (link.mac, link.kind) == (saved.mac, saved.kind)


def _find_on_host(host: Namespace, saved: "Saved") -> "Link | None":
    """The device with its mark still on it, or as the kernel brought it home.

    The kernel gives back what a dying namespace had of the host: as CNI_IFNAME, or as ``dev`` and
    a number where that name is taken.
    """
    returned = find_link(host, saved.attachment.ifname)
    for link in (find_link(host, saved.name), find_link_by_index(host, saved.index), returned):
        if link is not None and link.alias == saved.name:
            return link
    if returned is not None and _is_device(returned, saved):
        return returned
    return next((link for link in list_links(host) if link.alias == saved.name), None)


def _restore(host: Namespace, link: "Link", saved: "Saved", *, up: bool) -> "Link":
    """The alias comes last: until then it tells that the device is not restored yet."""
    if link.name != saved.name:
        _refuse_clash(host, saved, f"{link.name} on the host")
        set_down(host, link.name)
        rename_link(host, link.name, saved.name)
    if link.mac != saved.mac:
        set_mac(host, saved.name, saved.mac)
    if link.mtu != saved.mtu:
        set_mtu(host, saved.name, saved.mtu)
    if up:
        set_up(host, saved.name)
    if link.alias != saved.alias:
        set_alias(host, saved.name, saved.alias)
    return get_link(host, saved.name)


def _refuse_clash(host: Namespace, saved: "Saved", where: str) -> None:
    if find_link(host, saved.name) is not None:
        raise CniError(
            f"failed to give {where} back as {saved.name}: file exists (the host has got another "
            f"link {saved.name}: rename or remove that, then delete again)"
        )
