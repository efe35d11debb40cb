"""Links: finding one by name, making bridges and veth pairs, setting what they have.

Constants: linux/if.h, linux/if_link.h, linux/rtnetlink.h.
"""

import errno
import os

from cnilib.errors import CniError, KernelError
from cnilib.kernel.link_messages import (
    IFF_ALLMULTI,
    IFF_PROMISC,
    IFF_UP,
    Link,
    link_message,
    read_link,
)
from cnilib.kernel.modules import lacking
from cnilib.kernel.netlink import NLM_F_CREATE, NLM_F_EXCL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cnilib.kernel.netns import Namespace

    Attribute = tuple[str, object]
    Attributes = list[Attribute]

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_SKIP_STATS = 8  # RTEXT_FILTER_SKIP_STATS
_NO_SUCH_NAME = {errno.ENODEV, errno.ERANGE, errno.EINVAL}  # too long for this kernel, or empty

_LONGEST_NAME = 15  # IFNAMSIZ - 1; longer ones can only be altnames


def find_link(namespace: "Namespace", name: str) -> Link | None:
    """The link of that name or altname; None when there is none."""
    try:
        return get_link(namespace, name)
    except KernelError as error:
        if error.errno in _NO_SUCH_NAME:
            return None
        raise


def get_link(namespace: "Namespace", name: str) -> Link:
    """The link of that name or altname.

    Raises:
        KernelError: ENODEV, there is none.
    """
    short = len(os.fsencode(name)) <= _LONGEST_NAME
    attribute = "IFLA_IFNAME" if short else "IFLA_ALT_IFNAME"
    request = link_message(attrs=[(attribute, name), ("IFLA_EXT_MASK", _SKIP_STATS)])
    thing = _thing(namespace, name)
    return read_link(namespace.netlink.get(request, _RTM_GETLINK, "find link", thing))


def find_link_by_index(namespace: "Namespace", index: int) -> Link | None:
    """The link of that interface index; None when there is none."""
    request = link_message(index=index, attrs=[("IFLA_EXT_MASK", _SKIP_STATS)])
    thing = _thing(namespace, f"with index {index}")
    try:
        return read_link(namespace.netlink.get(request, _RTM_GETLINK, "find link", thing))
    except KernelError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def list_links(
    namespace: "Namespace", *, master: int | None = None, kind: str | None = None
) -> list[Link]:
    """All links, or those of one master or kind. Hosts have thousands: not for ADD or DEL."""
    attrs: Attributes = [("IFLA_EXT_MASK", _SKIP_STATS)]
    if master is not None:
        attrs.append(("IFLA_MASTER", master))
    if kind is not None:
        attrs.append(("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", kind)]}))
    request = link_message(attrs=attrs)
    messages = namespace.netlink.dump(request, _RTM_GETLINK, "list links", f"of {namespace.path}")
    return [
        link
        for link in map(read_link, messages)
        if master in {None, link.master} and kind in {None, link.kind}
    ]


def add_bridge(
    namespace: "Namespace",
    name: str,
    *,
    mtu: int = 0,
    vlan_filtering: bool = False,
    mac: str = "",
) -> None:
    """Make a bridge; ``mtu`` 0 is the kernel's default, an empty ``mac`` a random one.

    Raises:
        KernelError: EEXIST, the name is taken; EOPNOTSUPP, the kernel has no bridges.
    """
    info: Attributes = [("IFLA_INFO_KIND", "bridge")]
    if vlan_filtering:
        info.append(("IFLA_INFO_DATA", {"attrs": [("IFLA_BR_VLAN_FILTERING", 1)]}))
    add_link(namespace, name, info, settings(mtu=mtu, mac=mac))


def add_veth(
    namespace: "Namespace",
    name: str,
    *,
    mac: str = "",
    mtu: int = 0,
    peer_namespace: "Namespace",
    peer_name: str,
    peer_mac: str = "",
) -> None:
    """Make a veth pair whose peer is born in ``peer_namespace``: nothing is moved later.

    Raises:
        KernelError: EEXIST, a name is taken on either side.
    """
    peer: Attributes = [
        ("IFLA_IFNAME", peer_name),
        ("IFLA_NET_NS_FD", peer_namespace.fd),
        *settings(mtu=mtu, mac=peer_mac),
    ]
    data = {"attrs": [("VETH_INFO_PEER", {"attrs": peer})]}
    info: Attributes = [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]
    add_link(namespace, name, info, settings(mtu=mtu, mac=mac))


def add_link(
    namespace: "Namespace",
    name: str,
    info: "Attributes",
    settings: "Attributes",
    thing: str = "",
) -> None:
    """Make a link. ``info`` starts with IFLA_INFO_KIND; ``thing`` is what messages call it.

    Raises:
        KernelError: EEXIST, the name is taken.
        CniError: the kernel has no such links.
    """
    kind, thing = str(info[0][1]), thing or _thing(namespace, name)
    request = link_message(
        attrs=[("IFLA_IFNAME", name), *settings, ("IFLA_LINKINFO", {"attrs": [*info]})]
    )
    try:
        namespace.netlink.act(
            request, _RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, f"add {kind}", thing
        )
    except KernelError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        raise CniError(f"failed to add {kind} {thing}: {lacking(kind)}", error.details) from error


def settings(*, mtu: int = 0, mac: str = "") -> "list[Attribute]":
    """The attributes any new link may have; 0 and "" leave one to the kernel."""
    wanted: list[Attribute] = [("IFLA_MTU", max(0, mtu)), ("IFLA_ADDRESS", mac)]
    return [(attribute, value) for attribute, value in wanted if value]


def remove_link(namespace: "Namespace", name: str) -> bool:
    """Delete a link; False when there is none of that name."""
    request = link_message(attrs=[("IFLA_IFNAME", name)])
    try:
        namespace.netlink.act(request, _RTM_DELLINK, 0, "remove link", _thing(namespace, name))
    except KernelError as error:
        if error.errno == errno.ENODEV:
            return False
        raise
    return True


def set_up(namespace: "Namespace", name: str, *, master: int = 0) -> None:
    """Bring a link up; with ``master`` as a port of the link of that index, in one request."""
    attrs = [("IFLA_MASTER", master)] if master else []
    _change(namespace, name, "set up link", flags=IFF_UP, mask=IFF_UP, attrs=attrs)


def set_down(namespace: "Namespace", name: str) -> None:
    """Take a link down."""
    _change(namespace, name, "set down link", mask=IFF_UP)


def set_promisc(namespace: "Namespace", name: str, *, on: bool) -> None:
    """Switch promiscuous mode."""
    flags = IFF_PROMISC if on else 0
    _change(namespace, name, "set promiscuous mode of", flags=flags, mask=IFF_PROMISC)


def set_allmulti(namespace: "Namespace", name: str, *, on: bool) -> None:
    """Switch all-multicast mode."""
    flags = IFF_ALLMULTI if on else 0
    _change(namespace, name, "set all-multicast mode of", flags=flags, mask=IFF_ALLMULTI)


def set_mac(namespace: "Namespace", name: str, mac: str) -> None:
    """Give a link another hardware address, without taking it down."""
    _change(namespace, name, f"set mac {mac} of", attrs=[("IFLA_ADDRESS", mac)])


def set_mtu(namespace: "Namespace", name: str, mtu: int) -> None:
    """Set the MTU in bytes."""
    _change(namespace, name, f"set mtu {mtu} of", attrs=[("IFLA_MTU", mtu)])


def set_txqlen(namespace: "Namespace", name: str, length: int) -> None:
    """Set the length of the transmit queue in packets."""
    _change(namespace, name, f"set txqlen {length} of", attrs=[("IFLA_TXQLEN", length)])


def set_alias(namespace: "Namespace", name: str, alias: str) -> None:
    """Set the free text an administrator sees beside the link."""
    _change(namespace, name, "set alias of", attrs=[("IFLA_IFALIAS", alias)])


def set_master(namespace: "Namespace", name: str, master: int) -> None:
    """Make a link a port of the link with index ``master``; 0 takes it away."""
    _change(namespace, name, f"set master {master} of", attrs=[("IFLA_MASTER", master)])


def rename_link(namespace: "Namespace", name: str, new_name: str) -> None:
    """Rename a link, which must be down on kernels before 6.2."""
    index = get_link(namespace, name).index
    request = link_message(index=index, attrs=[("IFLA_IFNAME", new_name)])
    act = f"rename to {new_name} link"
    namespace.netlink.act(request, _RTM_NEWLINK, 0, act, _thing(namespace, name))


def set_bridge_port(
    namespace: "Namespace",
    name: str,
    *,
    hairpin: bool | None = None,
    isolated: bool | None = None,
) -> None:
    """Set flags of a bridge port; None leaves one as it is."""
    wanted = (("IFLA_BRPORT_MODE", hairpin), ("IFLA_BRPORT_ISOLATED", isolated))
    attrs = [(attribute, int(on)) for attribute, on in wanted if on is not None]
    info = [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", {"attrs": attrs})]
    link_info = [("IFLA_LINKINFO", {"attrs": info})]
    _change(namespace, name, "set bridge port flags of", attrs=link_info)


def set_vlan_filtering(namespace: "Namespace", bridge: str, *, on: bool) -> None:
    """Switch VLAN filtering of a bridge.

    Raises:
        KernelError: EOPNOTSUPP, the kernel lacks CONFIG_BRIDGE_VLAN_FILTERING.
    """
    data = {"attrs": [("IFLA_BR_VLAN_FILTERING", int(on))]}
    info = [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", data)]
    _change(namespace, bridge, "set vlan filtering of", attrs=[("IFLA_LINKINFO", {"attrs": info})])


def _change(
    namespace: "Namespace",
    name: str,
    act: str,
    *,
    flags: int = 0,
    mask: int = 0,
    attrs: "list[Any] | None" = None,
) -> None:
    request = link_message(flags=flags, mask=mask, attrs=[("IFLA_IFNAME", name), *(attrs or [])])
    namespace.netlink.act(request, _RTM_NEWLINK, 0, act, _thing(namespace, name))


def _thing(namespace: "Namespace", name: str) -> str:
    return f"{name} in {namespace.path}"
