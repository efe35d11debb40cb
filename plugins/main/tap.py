"""tap: gives the container a tap device, the network card of a virtual machine.

ADD makes a persistent tap device in the container, for the user and group that may attach to it;
optionally it becomes a port of a bridge there, and gets the addresses and routes of ``ipam``::

    {"cniVersion": "1.0.0", "name": "vm", "type": "tap", "owner": 107, "group": 107,
     "bridge": "vmbr"}

On the host it leaves nothing. DEL removes the device; the bridge stays.
"""

from typing import Any

from pydantic import Field

from cnilib import attach
from cnilib.container_link import (
    ARP_NOTIFY,
    collect_garbage,
    connect_link,
    delete_link,
    make_link,
)
from cnilib.errors import CheckFailed, CniError, NotAvailable
from cnilib.kernel.links import find_link, set_master
from cnilib.kernel.netns import Namespace
from cnilib.kernel.tap import add_tap, open_device, settings_of
from cnilib.mac import MacConf, wanted_mac
from cnilib.plugin import plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.link_messages import Link
    from cnilib.request import Request
    from cnilib.types.result import Result
    from cnilib.undo import ErrorList, Undo

_LARGEST_INT, _LARGEST_UNSIGNED = (1 << 31) - 1, (1 << 32) - 1


class TeardownConf(MacConf):
    """What DEL and GC decode. Values are not judged there."""

    mtu: int = Field(default=0, description="MTU in bytes, 68 to 65521; 0: 1500")
    owner: int | None = Field(
        default=None, ge=0, le=_LARGEST_UNSIGNED, description="uid that may attach to it"
    )
    group: int | None = Field(
        default=None, ge=0, le=_LARGEST_UNSIGNED, description="gid that may attach to it"
    )
    multi_queue: bool = Field(default=False, description="several queues, for several processors")
    vnet_hdr: bool = Field(default=False, description="frames carry a virtio header (offloads)")
    selinux_context: str = Field(default="", description="SELinux label of the device")
    bridge: str = Field(default="", description="bridge in the container to make it a port of")
    args: dict[str, Any] = Field(default={}, description="an object; not looked at")


class Conf(TeardownConf):
    """What ADD, CHECK and STATUS read."""

    mtu: int = Field(
        default=0, ge=0, le=_LARGEST_INT, description="MTU in bytes, 68 to 65521; 0: 1500"
    )


def add(req: "Request", conf: Conf, undo: "Undo") -> "Result":
    """The device, in the container; then the bridge, addresses and routes."""
    attach.require_reportable(req, conf.ipam.type)
    mac = wanted_mac(req, conf)
    with Namespace.open(req.netns) as container:

        def create(name: str) -> None:
            if conf.selinux_context:
                _create_labelled(req, conf, name, mac)
            else:
                _create(container, conf, name, mac)

        link = make_link(container, req.ifname, undo, create)
        if conf.bridge:
            set_master(container, link.name, _get_bridge(container, conf).index)
        return connect_link(req, conf, container, link, undo, (ARP_NOTIFY,))


def _create(container: Namespace, conf: Conf, name: str, mac: str) -> None:
    add_tap(
        container,
        name,
        mac=mac,
        mtu=conf.mtu,
        owner=conf.owner,
        group=conf.group,
        multi_queue=conf.multi_queue,
        vnet_hdr=conf.vnet_hdr,
    )


def _create_labelled(req: "Request", conf: Conf, name: str, mac: str) -> None:
    """Have a process of that label make the device: it gets the label of its maker.

    The process is this plugin again, asked for nothing but the device.
    """
    from cnilib.labelled import run_labelled

    asked = {"owner": conf.owner, "group": conf.group, "mtu": conf.mtu, "mac": mac}
    asked |= {"multiQueue": conf.multi_queue, "vnetHdr": conf.vnet_hdr}
    document = {"cniVersion": "1.0.0", "name": req.network, "type": req.plugin} | asked
    run_labelled(req, document, name, conf.selinux_context)


def _get_bridge(container: Namespace, conf: Conf) -> "Link":
    bridge = find_link(container, conf.bridge)
    if bridge is None:
        raise CniError(f'failed to lookup bridge "{conf.bridge}" in {container.path}: not found')
    return bridge


def delete(req: "Request", conf: TeardownConf, errors: "ErrorList") -> None:
    """The addresses and the device."""
    delete_link(req, conf, errors)
    with errors:
        wanted_mac(req, TeardownConf())  # the reference refuses malformed CNI_ARGS here, too


def check(req: "Request", conf: Conf) -> None:
    """The device is a tap as configured, and up, with what prevResult reports."""
    wanted_mac(req, conf)
    result = attach.begin_check(req, conf.ipam.type)
    with Namespace.open(req.netns) as container:
        interface = attach.get_container_interface(req, result)
        link = attach.check_link(container, interface, "tun")
        _check_settings(conf, link)
        if conf.bridge and link.master != _get_bridge(container, conf).index:
            raise CheckFailed(f"link {link.name}: expected a port of {conf.bridge}, is not")
        attach.check_addresses(container, link, result)
        attach.check_routes(container, result)


def _check_settings(conf: Conf, link: "Link") -> None:
    found = settings_of(link)
    if not found:
        raise CheckFailed(f"link {link.name}: expected a tap device, found a tun device")
    wanted: dict[str, object] = {
        "owner": conf.owner,
        "group": conf.group,
        "multi_queue": conf.multi_queue,
        "vnet_hdr": conf.vnet_hdr,
        "mtu": conf.mtu or link.mtu,
        "up": True,
    }
    found |= {"mtu": link.mtu, "up": link.up}
    for name, value in wanted.items():
        if found[name] != value:
            raise CheckFailed(f"{name} of {link.name}: expected {value}, found {found[name]}")


def status(req: "Request", conf: Conf) -> None:
    """The kernel has tap devices, and the IPAM plugin can serve its part."""
    import os

    try:
        os.close(open_device())
    except CniError as error:
        raise NotAvailable(error.msg) from error
    attach.forward_status(req, conf.ipam.type)


main = plugin(
    "tap",
    Conf,
    add=add,
    delete=delete,
    check=check,
    status=status,
    gc=collect_garbage,
    delete_conf=TeardownConf,
)
