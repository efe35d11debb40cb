"""VLANs of bridge ports (AF_BRIDGE; linux/if_bridge.h, struct bridge_vlan_info)."""

from typing import NamedTuple

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from cnilib.kernel.messages import AttributeReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cnilib.kernel.netns import Namespace

_RTM_SETLINK, _RTM_DELLINK, _RTM_GETLINK = 19, 17, 18
_AF_BRIDGE = 7
_FILTER_BRVLAN = 2  # RTEXT_FILTER_BRVLAN
_PVID, _UNTAGGED, _RANGE_BEGIN, _RANGE_END = 0x02, 0x04, 0x08, 0x10


class PortVlan(NamedTuple):
    """How a port carries one VLAN."""

    pvid: bool
    untagged: bool


def list_port_vlans(namespace: "Namespace", index: int) -> dict[int, PortVlan]:
    """VLAN id -> how the port with that interface index carries it."""
    request = ifinfmsg()
    request["family"] = _AF_BRIDGE
    request["attrs"] = [("IFLA_EXT_MASK", _FILTER_BRVLAN)]
    messages = namespace.netlink.dump(
        request, _RTM_GETLINK, "list bridge VLANs", f"in {namespace.path}"
    )
    vlans: dict[int, PortVlan] = {}
    for message in messages:
        if message["index"] != index:
            continue
        spec = AttributeReader(message).get("IFLA_AF_SPEC")
        for name, info in spec["attrs"] if spec else ():
            if name == "IFLA_BRIDGE_VLAN_INFO":
                flags = info["flags"]
                vlans[info["vid"]] = PortVlan(bool(flags & _PVID), bool(flags & _UNTAGGED))
    return vlans


def add_port_vlan(
    namespace: "Namespace",
    index: int,
    vid: int,
    *,
    pvid: bool = False,
    untagged: bool = False,
    end: int | None = None,
) -> None:
    """Carry a VLAN, or those from ``vid`` to ``end``, on a port.

    Raises:
        KernelError: EOPNOTSUPP, the kernel lacks CONFIG_BRIDGE_VLAN_FILTERING.
    """
    flags = (_PVID if pvid else 0) | (_UNTAGGED if untagged else 0)
    _change(namespace, index, _RTM_SETLINK, "add", (vid, end or vid), flags)


def remove_port_vlan(
    namespace: "Namespace", index: int, vid: int, *, end: int | None = None
) -> None:
    """Stop carrying a VLAN, or those from ``vid`` to ``end``; missing ones are fine."""
    _change(namespace, index, _RTM_DELLINK, "remove", (vid, end or vid), 0)


def _change(
    namespace: "Namespace", index: int, kind: int, verb: str, vids: tuple[int, int], flags: int
) -> None:
    first, last = vids
    entries: list[Any]
    if first == last:
        entries = [("IFLA_BRIDGE_VLAN_INFO", {"vid": first, "flags": flags})]
    else:
        entries = [
            ("IFLA_BRIDGE_VLAN_INFO", {"vid": first, "flags": flags | _RANGE_BEGIN}),
            ("IFLA_BRIDGE_VLAN_INFO", {"vid": last, "flags": flags | _RANGE_END}),
        ]
    message = ifinfmsg()
    message["family"], message["index"] = _AF_BRIDGE, index
    message["attrs"] = [("IFLA_AF_SPEC", {"attrs": entries})]
    text = f"{first}" if first == last else f"{first}-{last}"
    thing = f"{text} {'to' if verb == 'add' else 'from'} port {index} in {namespace.path}"
    namespace.netlink.act(message, kind, 0, f"{verb} VLAN", thing)
