"""VLANs of the ports, and the link that carries a VLAN's gateway address.

A bridge has no interface inside one of its VLANs. The gateway's is one end of a veth pair within
the host, ``<bridge>.<vlan>``; the other end is a port of the bridge in that VLAN.
"""

from cnilib.kernel.bridge_vlans import add_port_vlan, list_port_vlans, remove_port_vlan
from cnilib.kernel.links import (
    add_veth,
    find_link,
    find_link_by_index,
    get_link,
    list_links,
    remove_link,
    set_master,
    set_up,
)
from cnilib.kernel.netns import Namespace
from cnilib.veth import random_name
from plugins.main.bridge.device import bridge_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cnilib.kernel.link_messages import Link
    from cnilib.undo import Undo
    from plugins.main.bridge.conf import Conf, TeardownConf

_FIRST, _LAST = 1, 4094


def set_port_vlans(host: "Namespace", port: "Link", conf: "Conf") -> None:
    """Give a new port its VLANs (bridge.md 3.1).

    Raises:
        KernelError: EOPNOTSUPP, the kernel lacks CONFIG_BRIDGE_VLAN_FILTERING.
    """
    if conf.vlan:
        if not conf.preserve_default_vlan:  # whatever the bridge's default is, without asking
            remove_port_vlan(host, port.index, _FIRST, end=_LAST)
        add_port_vlan(host, port.index, conf.vlan, pvid=True, untagged=True)
    add_tagged_vlans(host, port, conf.trunk_vlans)


def add_tagged_vlans(host: "Namespace", port: "Link", vlans: "Iterable[int]") -> None:
    """Carry VLANs with their tag, one request for each run of neighbours."""
    for first, last in ranges(vlans):
        add_port_vlan(host, port.index, first, end=last)


def ranges(vlans: "Iterable[int]") -> "Iterator[tuple[int, int]]":
    """First and last of each run of consecutive numbers."""
    run: list[int] = []
    for vlan in sorted(vlans):
        if run and vlan > run[-1] + 1:
            yield run[0], run[-1]
            run = []
        run.append(vlan)
    if run:
        yield run[0], run[-1]


def ensure_vlan_gateway(
    host: "Namespace", bridge: "Link", conf: "Conf", undo: "Undo", deadline: float
) -> "Link":
    """The link for the VLAN's gateway address, shared by all attachments to the VLAN.

    Raises:
        CniError: the name belongs to a link that is no veth.
    """
    name = conf.vlan_gateway
    undo.add(f"remove {name} if nobody needs it", release_vlan_gateway, conf, deadline)
    with bridge_lock(conf.bridge, deadline):
        gateway = find_link(host, name)
        if gateway is None:
            peer_name = random_name()
            add_veth(host, name, mtu=bridge.mtu, peer_namespace=host, peer_name=peer_name)
            gateway = get_link(host, name)
        _attach_gateway(host, gateway, bridge, conf.vlan)
    return gateway


def _attach_gateway(host: "Namespace", gateway: "Link", bridge: "Link", vlan: int) -> None:
    """Also completes what a killed ADD left half done."""
    peer = find_link_by_index(host, gateway.peer_index)
    if peer is not None and peer.master != bridge.index:
        set_master(host, peer.name, bridge.index)
        remove_port_vlan(host, peer.index, _FIRST, end=_LAST)
        add_port_vlan(host, peer.index, vlan, pvid=True, untagged=True)
    for link in (gateway, peer):
        if link is not None and not link.up:
            set_up(host, link.name)


def release_vlan_gateway(conf: "TeardownConf", deadline: float) -> None:
    """Remove the VLAN's gateway link when no port of the VLAN but its own peer is left."""
    with Namespace.current() as host, bridge_lock(conf.bridge, deadline):
        gateway = find_link(host, conf.vlan_gateway)
        if gateway is None or gateway.kind != "veth":
            return
        bridge = find_link(host, conf.bridge)
        ports = list_links(host, master=bridge.index) if bridge else []
        others = (port for port in ports if port.index != gateway.peer_index)
        if not any(conf.vlan in list_port_vlans(host, port.index) for port in others):
            remove_link(host, gateway.name)
