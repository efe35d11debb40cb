"""rtnetlink's link message, with attributes that pyroute2's tables lack, and what one says.

Constants: linux/if.h, linux/if_link.h.
"""

from typing import NamedTuple

from pyroute2.netlink import nla
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from cnilib.kernel.messages import AttributeReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

IFF_UP, IFF_PROMISC, IFF_ALLMULTI = 0x1, 0x100, 0x200


class _Macvlan(nla):  # type: ignore[misc] # pyroute2 has no types
    prefix = "IFLA_"
    nla_map = (
        ("IFLA_MACVLAN_UNSPEC", "none"),
        ("IFLA_MACVLAN_MODE", "uint32"),
        ("IFLA_MACVLAN_FLAGS", "uint16"),
        ("IFLA_MACVLAN_MACADDR_MODE", "uint32"),
        ("IFLA_MACVLAN_MACADDR", "l2addr"),
        ("IFLA_MACVLAN_MACADDR_DATA", "hex"),
        ("IFLA_MACVLAN_MACADDR_COUNT", "uint32"),
        ("IFLA_MACVLAN_BC_QUEUE_LEN", "uint32"),
        ("IFLA_MACVLAN_BC_QUEUE_LEN_USED", "uint32"),
    )


class _Ipvlan(nla):  # type: ignore[misc] # pyroute2 has no types
    prefix = "IFLA_"
    nla_map = (
        ("IFLA_IPVLAN_UNSPEC", "none"),
        ("IFLA_IPVLAN_MODE", "uint16"),
        ("IFLA_IPVLAN_FLAGS", "uint16"),
    )


class _LinkMessage(ifinfmsg):  # type: ignore[misc] # pyroute2 has no types
    """ifinfomsg with the attributes of every kind of link that we make."""

    class ifinfo(ifinfmsg.ifinfo):  # type: ignore[misc] # noqa: N801 - pyroute2 looks it up by name
        """IFLA_LINKINFO."""

        data_map: "dict[str, Any]" = ifinfmsg.ifinfo.data_map | {
            "macvlan": _Macvlan,
            "ipvlan": _Ipvlan,
        }


_KINDS = frozenset(_LinkMessage.ifinfo.data_map)
"""The kinds of link whose own attributes are decoded."""


def link_message(
    *, index: int = 0, flags: int = 0, mask: int = 0, attrs: "list[Any] | None" = None
) -> "Any":
    """A request; ``mask`` says which of the ``flags`` are to be changed."""
    message = _LinkMessage()
    message["index"], message["flags"], message["change"] = index, flags, mask
    message["attrs"] = attrs or []
    return message


_NOTHING = AttributeReader(None)


class Link(NamedTuple):
    """What the kernel says about a link.

    ``master`` and ``peer_index`` (of a veth's other end, or of the link this one is a child of)
    are interface indexes, 0 when there is none; ``peer_netnsid`` is None when that one is in the
    same namespace. ``link_info`` is IFLA_LINKINFO: few ask what is in there.
    """

    index: int  # type: ignore[assignment] # shadows tuple.index, which nobody calls
    name: str
    kind: str
    mac: str
    mtu: int
    flags: int
    operstate: str
    carrier: bool
    master: int
    peer_index: int
    peer_netnsid: int | None
    txqlen: int
    alias: str
    link_info: AttributeReader

    @property
    def info(self) -> AttributeReader:
        """The attributes of the link's kind."""
        return self.link_info.nested("IFLA_INFO_DATA") if self.kind in _KINDS else _NOTHING

    @property
    def up(self) -> bool:
        """Administratively up."""
        return bool(self.flags & IFF_UP)

    @property
    def promisc(self) -> bool:
        """In promiscuous mode."""
        return bool(self.flags & IFF_PROMISC)

    @property
    def allmulti(self) -> bool:
        """In all-multicast mode."""
        return bool(self.flags & IFF_ALLMULTI)

    @property
    def hairpin(self) -> bool:
        """A bridge port that sends frames back out of itself."""
        return bool(self._port_info.get("IFLA_BRPORT_MODE"))

    @property
    def isolated(self) -> bool:
        """A bridge port that reaches no other isolated port."""
        return bool(self._port_info.get("IFLA_BRPORT_ISOLATED"))

    @property
    def vlan_filtering(self) -> bool:
        """A bridge that filters VLANs."""
        return bool(self.info.get("IFLA_BR_VLAN_FILTERING"))

    @property
    def _port_info(self) -> AttributeReader:
        is_port = self.link_info.get("IFLA_INFO_SLAVE_KIND") == "bridge"
        return self.link_info.nested("IFLA_INFO_SLAVE_DATA") if is_port else _NOTHING


def read_link(message: "Any") -> Link:
    """What a decoded link message says."""
    attrs = AttributeReader(message)
    link_info = attrs.nested("IFLA_LINKINFO")
    return Link(
        index=message["index"],
        name=attrs.get("IFLA_IFNAME", ""),
        kind=link_info.get("IFLA_INFO_KIND", ""),
        mac=attrs.get("IFLA_ADDRESS", ""),
        mtu=attrs.get("IFLA_MTU", 0),
        flags=message["flags"],
        operstate=attrs.get("IFLA_OPERSTATE", "UNKNOWN"),
        carrier=bool(attrs.get("IFLA_CARRIER")),
        master=attrs.get("IFLA_MASTER", 0),
        peer_index=attrs.get("IFLA_LINK", 0) or 0,
        peer_netnsid=attrs.get("IFLA_LINK_NETNSID"),
        txqlen=attrs.get("IFLA_TXQLEN", 0),
        alias=attrs.get("IFLA_IFALIAS", ""),
        link_info=link_info,
    )
