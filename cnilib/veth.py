"""The veth pair of an attachment: CNI_IFNAME in the container, ``veth`` and 8 hex digits outside.

What bridge and ptp share: the pair is born in place, it is undone as one, CHECK finds its other
end, and DEL finds what is left of it where the container cannot be reached any more.
"""

import errno
import os

from cnilib.attach import check_link, write_sysctl_if_possible
from cnilib.errors import CheckFailed, CniError, KernelError, TryAgain
from cnilib.kernel.links import (
    add_veth,
    find_link,
    find_link_by_index,
    get_link,
    remove_link,
    set_up,
)
from cnilib.kernel.netns import Namespace
from cnilib.kernel.sysctl import read_sysctl
from cnilib.log import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.link_messages import Link
    from cnilib.request import Request
    from cnilib.types.result import Interface, Result
    from cnilib.undo import Undo

_NAME_TRIES = 10


class _Pair:
    """What undo must know of a pair.

    ``host_name`` is "" while it is not known to be ours: undo must not delete a link that
    happened to have the name first.
    """

    host_name = ""

    def remove(self) -> None:
        """Delete both ends, if they exist."""
        if self.host_name:
            with Namespace.current() as host:
                remove_link(host, self.host_name)


def random_name() -> str:
    """``veth`` and 8 hex digits, as every CNI plugin and operator knows it."""
    return f"veth{os.urandom(4).hex()}"


def make_veth_pair(
    host: "Namespace",
    container: "Namespace",
    ifname: str,
    undo: "Undo",
    *,
    mtu: int = 0,
    mac: str = "",
    host_name: str = "",
    master: int = 0,
) -> "tuple[Link, Link]":
    """The host's end, which is up, and the container's, which is not.

    Both get ``mtu`` (bytes; 0 is the kernel's default); ``mac`` is the container's. Without a
    ``host_name`` the host's end gets a random one; it is a port of the link with index ``master``
    where there is one.

    Raises:
        CniError: the container, or the host, has a link of that name already.
    """
    pair = _Pair()
    undo.add(f"remove the veth pair of {ifname}", pair.remove)
    for _ in range(_NAME_TRIES):
        name = pair.host_name = host_name or random_name()
        try:
            add_veth(container, ifname, mac=mac, mtu=mtu, peer_namespace=host, peer_name=name)
        except KernelError as error:
            pair.host_name = ""
            if error.errno != errno.EEXIST:
                raise
            _refuse_second(container, ifname, host_name)
        else:
            ignore_router_advertisements(host, name)
            set_up(host, name, master=master)
            return get_link(host, name), get_link(container, ifname)
    raise TryAgain(f"no free name for the host's end of {ifname} found in {_NAME_TRIES} tries")


def _refuse_second(container: "Namespace", ifname: str, host_name: str) -> None:
    if find_link(container, ifname) is not None:
        raise CniError(
            f"container veth name ({ifname}) already exists in {container.path}: delete it first"
        )
    if host_name:
        raise CniError(f"link {host_name} already exists on the host: choose another name")


def ignore_router_advertisements(host: "Namespace", ifname: str) -> None:
    """The host must not take addresses or routes from what a container sends."""
    key = f"net/ipv6/conf/{ifname}/accept_ra"
    if read_sysctl(host, key) not in {None, "0"}:
        write_sysctl_if_possible(host, key, "0")


def prepare_container_end(container: "Namespace", ifname: str, *, detect_duplicates: bool) -> None:
    """A gratuitous ARP when the link comes up; IPv6 duplicate detection only if asked for."""
    sysctls = {f"net/ipv4/conf/{ifname}/arp_notify": "1"}
    if detect_duplicates:
        sysctls[f"net/ipv6/conf/{ifname}/enhanced_dad"] = "1"
    sysctls[f"net/ipv6/conf/{ifname}/accept_dad"] = "1" if detect_duplicates else "0"
    with container.entered():
        for key, value in sysctls.items():
            write_sysctl_if_possible(container, key, value)


def check_host_end(host: "Namespace", result: "Result", link: "Link") -> "Link":
    """The other end of the container's ``link``, which the result must tell of.

    Raises:
        CheckFailed: no interface of the result is that end, or it has another MAC.
    """
    for interface in result.interfaces:
        end = _find_host_end(host, interface)
        if end is not None and (end.index, end.peer_index) == (link.peer_index, link.index):
            return check_link(host, interface, "veth")
    raise CheckFailed(
        f"the host's end of {link.name}: expected among the interfaces of prevResult, found none "
        f"with index {link.peer_index}"
    )


def _find_host_end(host: "Namespace", interface: "Interface") -> "Link | None":
    if interface.sandbox or not interface.name:
        return None
    return find_link(host, interface.name)


def remove_pair(req: "Request", master: str = "") -> None:
    """DEL: delete the pair, by the container's end or, where that is gone, by the host's.

    ``master`` is what the host's end is a port of, if anything.

    Raises:
        NetnsError: CNI_NETNS exists and is no namespace.
    """
    container, result = Namespace.find(req.netns), req.prev_result
    with Namespace.current() as host:
        if container is not None:
            with container:
                if _remove_container_end(host, container, req.ifname, result):
                    return
        if result is not None:
            _remove_host_end(host, result, master)


def _remove_container_end(
    host: "Namespace", container: "Namespace", ifname: str, result: "Result | None"
) -> bool:
    """Whether there was one, which the result does not tell to be another attachment's.

    A path such as /proc/PID/ns/net leads to another container once its process number is used
    again, and the link of that name is in use there.
    """
    link = find_link(container, ifname)
    if link is None:
        return False
    if result is not None and not _is_reported(host, link, result):
        warn(
            f"{ifname} in {container.path} stays: its other end is not the one of prevResult, so "
            "the path leads to another container by now"
        )
        return False
    return remove_link(container, ifname)


def _is_reported(host: "Namespace", link: "Link", result: "Result") -> bool:
    """Whether the link's other end is among the host's links of the result, if that has any."""
    reported = {i.name for i in result.interfaces if i.name and not i.sandbox}
    other = find_link_by_index(host, link.peer_index) if link.kind == "veth" else None
    return not reported or (other is not None and other.name in reported)


def _remove_host_end(host: "Namespace", result: "Result", master: str) -> None:
    """Delete the host's end a result tells of, where the container's cannot be reached any more.

    It is deleted only if it is a veth with the reported MAC and, where a ``master`` is named, one
    of its ports: the name alone could be somebody else's by now.
    """
    owner = find_link(host, master) if master else None
    if master and owner is None:
        return
    for interface in result.interfaces:
        if interface.sandbox or not interface.name or not interface.mac:
            continue
        link = find_link(host, interface.name)
        if link is None or (link.kind, link.mac) != ("veth", interface.mac.lower()):
            continue
        if owner is None or link.master == owner.index:
            remove_link(host, interface.name)
