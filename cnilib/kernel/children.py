"""The links made on a master, wherever they are.

The kernel tells them only namespace by namespace, so this asks each one that a process is in or
that has a name. For the rare question, not for every call.
"""

import os

from pyroute2.netlink.rtnl.nsidmsg import nsidmsg

from cnilib.errors import CniError, KernelError
from cnilib.kernel.links import list_links
from cnilib.kernel.messages import AttributeReader
from cnilib.kernel.netns import OWN, Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.virtual_links import Master

_RTM_GETNSID = 90  # linux/rtnetlink.h
_NAMED = "/run/netns"


def find_child(
    master: "Master", kind: str, vlan_id: int | None = None
) -> "tuple[str, Link] | None":
    """A link of that kind (and VLAN) on the master, and where it is; None when there is none.

    One in a namespace that cannot be opened is not found.
    """
    for path in _namespaces():
        try:
            with Namespace.open(path) as namespace:
                for link in list_links(namespace, kind=kind):
                    wanted = vlan_id in {None, link.info.get("IFLA_VLAN_ID")}
                    if wanted and _is_child(namespace, link, master):
                        return "the host" if path == OWN else path, link
        except CniError:  # it is gone, or not ours to see
            continue
    return None


def _namespaces() -> "Iterator[str]":
    """A path of each namespace, those with a name first."""
    named = os.listdir(_NAMED) if os.path.isdir(_NAMED) else []
    processes = (entry for entry in os.listdir("/proc") if entry.isdigit())
    paths = [f"{_NAMED}/{name}" for name in named]
    seen = set()
    for path in (OWN, *paths, *(f"/proc/{pid}/ns/net" for pid in processes)):
        try:
            status = os.stat(path)
        except OSError:  # the process has ended
            continue
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            yield path


def _is_child(namespace: Namespace, link: "Link", master: "Master") -> bool:
    if link.peer_index != master.link.index:
        return False
    if link.peer_netnsid is None:
        return namespace.inode == master.namespace.inode
    return link.peer_netnsid == _id_of(master.namespace, namespace)


def _id_of(other: Namespace, namespace: Namespace) -> int | None:
    """The number by which ``namespace`` knows the other one; None when it has none."""
    request = nsidmsg()
    request["attrs"] = [("NETNSA_FD", other.fd)]
    try:
        answer = namespace.netlink.get(request, _RTM_GETNSID, "find id of", other.path)
    except KernelError:
        return None
    number: int | None = AttributeReader(answer).get("NETNSA_NSID")
    return number
