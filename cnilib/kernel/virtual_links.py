"""Links that are made on another one (macvlan, ipvlan, vlan), or on none (dummy).

Each is born in the namespace where it is to live; the request goes out in the namespace of its
master, because interface indexes are counted for each namespace. Constants: linux/if_link.h.
"""

from typing import NamedTuple

from cnilib.errors import CniError, KernelError
from cnilib.kernel.links import add_link, remove_link, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.netns import Namespace

MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}
VLAN_PROTOCOLS = {"802.1q": 0x8100, "802.1ad": 0x88A8}  # linux/if_ether.h

_NO_UNICAST_MAC = "01:00:00:00:00:00"


class Master(NamedTuple):
    """The link that a new one is made on, and the namespace it is in."""

    namespace: "Namespace"
    link: "Link"


def add_macvlan(
    master: Master,
    container: "Namespace",
    name: str,
    *,
    mode: str,
    mac: str,
    mtu: int = 0,
    broadcast_queue: int = 0,
) -> None:
    """Make a macvlan; ``broadcast_queue`` is in packets, 0 leaves it to the kernel.

    Raises:
        KernelError: EINVAL, EBUSY, its master can have no (further) macvlan.
    """
    data: list[tuple[str, object]] = [("IFLA_MACVLAN_MODE", MACVLAN_MODES[mode])]
    if broadcast_queue:
        data.append(("IFLA_MACVLAN_BC_QUEUE_LEN", broadcast_queue))
    _add_child(master, container, name, "macvlan", data, settings(mtu=mtu, mac=mac))


def add_ipvlan(
    master: Master, container: "Namespace", name: str, *, mode: str, flag: str, mtu: int = 0
) -> None:
    """Make an ipvlan. Mode and flag become those of every ipvlan on the master.

    Raises:
        KernelError: EINVAL, EBUSY, its master can have no ipvlan.
    """
    data = [("IFLA_IPVLAN_MODE", IPVLAN_MODES[mode]), ("IFLA_IPVLAN_FLAGS", IPVLAN_FLAGS[flag])]
    _add_child(master, container, name, "ipvlan", [*data], settings(mtu=mtu))


def add_vlan(
    master: Master,
    container: "Namespace",
    name: str,
    *,
    vlan_id: int,
    protocol: str,
    mac: str = "",
    mtu: int = 0,
) -> None:
    """Make a VLAN link; without ``mac`` it has its master's.

    Raises:
        KernelError: EEXIST, its master has one of that id and protocol, wherever it lives.
    """
    data = [("IFLA_VLAN_ID", vlan_id), ("IFLA_VLAN_PROTOCOL", VLAN_PROTOCOLS[protocol])]
    _add_child(master, container, name, "vlan", [*data], settings(mtu=mtu, mac=mac))


def add_dummy(container: "Namespace", name: str, *, mac: str = "", mtu: int = 0) -> None:
    """Make a dummy.

    Raises:
        KernelError: EEXIST, the name is taken.
    """
    add_link(container, name, [("IFLA_INFO_KIND", "dummy")], settings(mtu=mtu, mac=mac))


def has_kind(namespace: "Namespace", kind: str) -> bool:
    """Whether the kernel can make such links; loads its module as making one would.

    Asked by a request that fails for its own reasons where the kind is known.
    """
    name = "cni-no-such"
    try:
        add_link(namespace, name, [("IFLA_INFO_KIND", kind)], settings(mac=_NO_UNICAST_MAC), "link")
    except KernelError:
        return True
    except CniError:
        return False
    remove_link(namespace, name)
    return True


def _add_child(
    master: Master,
    container: "Namespace",
    name: str,
    kind: str,
    data: list[tuple[str, object]],
    attributes: list[tuple[str, object]],
) -> None:
    info: list[tuple[str, object]] = [
        ("IFLA_INFO_KIND", kind),
        ("IFLA_INFO_DATA", {"attrs": data}),
    ]
    where = [("IFLA_LINK", master.link.index), ("IFLA_NET_NS_FD", container.fd)]
    thing = f"on {master.link.name} for {container.path}"
    add_link(master.namespace, name, info, [*where, *attributes], thing)
