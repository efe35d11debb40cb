"""rtnetlink's link message, with attributes that pyroute2's tables lack (linux/if_link.h)."""

from pyroute2.netlink import nla
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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


KINDS = frozenset(_LinkMessage.ifinfo.data_map)
"""The kinds of link whose own attributes are decoded."""


def link_message(
    *, index: int = 0, flags: int = 0, mask: int = 0, attrs: "list[Any] | None" = None
) -> "Any":
    """A request; ``mask`` says which of the ``flags`` are to be changed."""
    message = _LinkMessage()
    message["index"], message["flags"], message["change"] = index, flags, mask
    message["attrs"] = attrs or []
    return message
