"""The bridge itself: made when missing, brought to what is asked, pruned when asked.

A bridge is shared by attachments and stays after a failed ADD or a DEL.
"""

import errno
from contextlib import contextmanager

from cnilib.errors import CniError, ConfigError, KernelError
from cnilib.kernel.links import (
    add_bridge,
    find_link,
    get_link,
    list_links,
    remove_link,
    set_alias,
    set_mac,
    set_master,
    set_promisc,
    set_up,
    set_vlan_filtering,
)
from cnilib.mac import random_mac
from cnilib.request import check_interface_name
from cnilib.store import locked
from cnilib.veth import ignore_router_advertisements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.netns import Namespace
    from plugins.main.bridge.conf import Conf

_LOCKS = "/run/cni"
_PRUNABLE = "made by the CNI bridge plugin, removed with its last port"
_NET_ADDR_SET = 3
_NO_MAC = "00:00:00:00:00:00"


@contextmanager
def bridge_lock(bridge: str, deadline: float) -> "Iterator[None]":
    """Keep an ADD that builds on a bridge and a DEL that takes something of it away apart.

    Raises:
        ConfigError: ``bridge`` is no link name; DEL does not hold its configuration to that.
        TryAgain: the lock was still taken at the deadline.
    """
    try:
        check_interface_name(bridge)
    except ValueError as error:
        raise ConfigError(f"bridge: {error}") from error
    with locked(f"{_LOCKS}/bridge-{bridge}.lock", deadline):
        yield


def ensure_bridge(host: "Namespace", conf: "Conf") -> "Link":
    """The bridge, up and as the configuration wants it; safe against a second ADD at once.

    Raises:
        CniError: the name belongs to another link; the kernel lacks VLAN filtering.
    """
    bridge = find_link(host, conf.bridge) or _make_bridge(host, conf)
    if bridge.kind != "bridge":
        raise CniError(f"{conf.bridge} already exists but is not a bridge: choose another name")
    if conf.vlan_filtering and not bridge.vlan_filtering:
        _filter_vlans(host, conf.bridge)
    if conf.promisc_mode and not bridge.promisc:
        set_promisc(host, conf.bridge, on=True)
    ignore_router_advertisements(host, conf.bridge)
    if not bridge.up:
        set_up(host, conf.bridge)
    return bridge


def _make_bridge(host: "Namespace", conf: "Conf") -> "Link":
    """A new bridge gets a MAC of its own: else it takes, and loses, those of its ports."""
    try:
        add_bridge(
            host,
            conf.bridge,
            mtu=conf.mtu,
            vlan_filtering=conf.vlan_filtering,
            mac=random_mac(),
        )
        if conf.prune_bridge:
            set_alias(host, conf.bridge, _PRUNABLE)
    except KernelError as error:
        if error.errno != errno.EEXIST:  # EEXIST: another ADD was faster
            raise
    return get_link(host, conf.bridge)


def _filter_vlans(host: "Namespace", name: str) -> None:
    """Without CONFIG_BRIDGE_VLAN_FILTERING a kernel may ignore the wish rather than refuse."""
    refusal: KernelError | None = None
    try:
        set_vlan_filtering(host, name, on=True)
    except KernelError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
            raise
        refusal = error
    if refusal or not get_link(host, name).vlan_filtering:
        raise CniError(
            f"vlan and vlanTrunk need VLAN filtering on bridge {name}, which the running kernel "
            "lacks (CONFIG_BRIDGE_VLAN_FILTERING)"
        ) from refusal


def pin_mac(host: "Namespace", name: str) -> None:
    """Write a link's MAC back to it, once, so that a bridge keeps it as ports come and go."""
    if _has_fixed_mac(name):
        return
    mac = get_link(host, name).mac
    if mac != _NO_MAC:  # a bridge nobody pinned, and whose last port has just left
        set_mac(host, name, mac)


def _has_fixed_mac(name: str) -> bool:
    """Whether somebody has set the MAC of a link of our own namespace.

    The kernel then keeps it (NET_ADDR_SET, uapi/linux/netdevice.h). False where /sys does not tell.
    """
    try:
        with open(f"/sys/class/net/{name}/addr_assign_type", "rb") as file:
            return int(file.read()) == _NET_ADDR_SET
    except (OSError, ValueError):
        return False


def ensure_uplink(host: "Namespace", name: str, bridge: "Link") -> "Link":
    """Make an existing link of the host a port of the bridge, and leave it one.

    Raises:
        ConfigError: there is no such link, or it belongs to another bridge.
    """
    uplink = find_link(host, name)
    if uplink is None:
        raise ConfigError(f"uplinkInterface {name} does not exist on the host")
    if uplink.master not in {0, bridge.index}:
        raise ConfigError(f"uplinkInterface {name} is a port of another bridge already")
    if uplink.master != bridge.index:
        set_master(host, name, bridge.index)
    return uplink


def prune_bridge(host: "Namespace", name: str) -> None:
    """Remove a bridge that an ADD with pruneBridge made, once no port is left."""
    bridge = find_link(host, name)
    if bridge is None or bridge.kind != "bridge" or bridge.alias != _PRUNABLE:
        return
    if not list_links(host, master=bridge.index):
        remove_link(host, name)
