"""Intermediate functional blocks: links that give what comes in a queue to wait in."""

import errno

from cnilib.errors import KernelError
from cnilib.kernel.link_messages import link_message
from cnilib.kernel.links import add_link, get_link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.links import Attributes
    from cnilib.kernel.netns import Namespace

_RTM_NEWLINK = 16  # linux/rtnetlink.h
_IFF_UP = 0x1  # linux/if.h


def add_ifb(namespace: "Namespace", name: str, *, mtu: int) -> "Link":
    """Make an ifb that is down; its only queue is the qdisc it is given.

    Raises:
        KernelError: EEXIST, the name is taken.
        CniError: the kernel has no ifb.
    """
    settings: Attributes = [("IFLA_MTU", mtu), ("IFLA_TXQLEN", 0)]
    add_link(namespace, name, [("IFLA_INFO_KIND", "ifb")], settings)
    return get_link(namespace, name)


def name_ifb(namespace: "Namespace", link: "Link", name: str, alias: str) -> "Link | None":
    """Give an ifb its name and alias and bring it up, all at once; None when the name is taken."""
    attrs: Attributes = [("IFLA_IFNAME", name), ("IFLA_IFALIAS", alias)]
    request = link_message(index=link.index, flags=_IFF_UP, mask=_IFF_UP, attrs=attrs)
    thing = f"{link.name} in {namespace.path}"
    try:
        namespace.netlink.act(request, _RTM_NEWLINK, 0, f"rename to {name} link", thing)
    except KernelError as error:
        if error.errno == errno.EEXIST:
            return None
        raise
    return get_link(namespace, name)
