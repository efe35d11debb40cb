"""Moving a link from one namespace to another."""

import errno

from cnilib.errors import CniError, KernelError
from cnilib.kernel.linkmessage import link_message
from cnilib.kernel.links import get_link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.links import Link
    from cnilib.kernel.netns import Namespace

_RTM_NEWLINK = 16
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
