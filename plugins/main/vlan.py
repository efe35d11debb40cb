"""vlan: gives the container one VLAN of a link of the host.

ADD makes an 802.1Q link of the master in the container; with an ``ipam`` section it gets addresses
and routes, without one it is a layer-2 link::

    {"cniVersion": "1.0.0", "name": "lan", "type": "vlan", "master": "eno1", "vlanId": 120,
     "ipam": {"type": "host-local", "subnet": "192.168.120.0/24"}}

The kernel has one such link for each master and id, so one container for each VLAN; for several,
bridge has ``vlan``. On the host it leaves nothing. DEL removes the link in the container.
"""

import errno

from pydantic import Field, field_validator, model_validator

from cnilib import attach
from cnilib.container_link import (
    ARP_NOTIFY,
    NDISC_NOTIFY,
    collect_garbage,
    connect_link,
    delete_link,
    make_link,
    require_kind,
)
from cnilib.errors import CheckFailed, CniError, ConfigError, KernelError
from cnilib.kernel.netns import Namespace
from cnilib.kernel.virtual_links import VLAN_PROTOCOLS, add_vlan
from cnilib.mac import MacConf, wanted_mac
from cnilib.master import (
    MasterConf,
    check_master,
    check_mtu,
    check_mtu_fits,
    find_chained,
    get_master,
    require_master,
)
from cnilib.plugin import plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.virtual_links import Master
    from cnilib.request import Request
    from cnilib.types.result import Result
    from cnilib.undo import Undo

_LAST_VLAN = 4094  # IEEE 802.1Q reserves 4095; 0 is a priority tag
_NO_MASTER = '"master" field is required: the link that the VLAN is of'


class TeardownConf(MasterConf, MacConf):
    """What DEL and GC decode. Values are not judged there: a master may be gone, too."""

    vlan_id: int = Field(default=0, description="VLAN, 0 to 4094; 0 tags the priority only")
    vlan_proto: str = Field(default="802.1q", description="802.1q, or 802.1ad (the outer tag)")


class Conf(TeardownConf):
    """What ADD, CHECK and STATUS read."""

    @field_validator("vlan_id")
    @classmethod
    def _is_vlan(cls, vlan: int) -> int:
        if not 0 <= vlan <= _LAST_VLAN:
            raise ValueError(f"invalid VLAN ID {vlan} (must be between 0 and {_LAST_VLAN})")
        return vlan

    @field_validator("vlan_proto")
    @classmethod
    def _is_protocol(cls, protocol: str) -> str:
        if protocol.lower() not in {"", *VLAN_PROTOCOLS}:
            raise ValueError(f"unknown VLAN protocol {protocol!r} (802.1q or 802.1ad)")
        return protocol.lower() or "802.1q"

    @model_validator(mode="after")
    def _has_master(self) -> "Self":
        if not self.master and not self.link_in_container:  # there a chain may tell it
            raise ValueError(_NO_MASTER)
        return self


def add(req: "Request", conf: Conf, undo: "Undo") -> "Result":
    """The VLAN link, in the container; then addresses and routes."""
    attach.require_reportable(req, conf.ipam.type)
    mac = wanted_mac(req, conf, strict=False)
    with Namespace.current() as host, Namespace.open(req.netns) as container:
        chained = find_chained(req, conf)
        if not conf.master and not chained:
            raise ConfigError(_NO_MASTER)
        master = get_master(req, conf, host, container, chained)
        check_mtu_fits(conf.mtu, master)

        def create(name: str) -> None:
            _add_only_vlan(master, container, name, conf, mac)

        link = make_link(container, req.ifname, undo, create)
        return connect_link(req, conf, container, link, undo, (ARP_NOTIFY, NDISC_NOTIFY))


def _add_only_vlan(master: "Master", container: Namespace, name: str, conf: Conf, mac: str) -> None:
    """Make the link.

    Raises:
        CniError: the master has one of that id; the message says where, if that can be seen.
    """
    try:
        add_vlan(
            master,
            container,
            name,
            vlan_id=conf.vlan_id,
            protocol=conf.vlan_proto,
            mac=mac,
            mtu=conf.mtu,
        )
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise
        from cnilib.kernel.children import find_child

        found = find_child(master, "vlan", conf.vlan_id)
        where = f": {found[1].name} in {found[0]}" if found else ""
        raise CniError(
            f"failed to add vlan {conf.vlan_id} on {master.link.name}: file exists (there is one "
            f"link for each VLAN of a master, and this one exists already{where}; bridge with "
            "`vlan` puts several containers into one VLAN)"
        ) from error


def check(req: "Request", conf: Conf) -> None:
    """The link is that VLAN of the master, as configured, with what prevResult reports."""
    result = attach.begin_check(req, conf.ipam.type)
    with Namespace.current() as host, Namespace.open(req.netns) as container:
        interface = attach.get_container_interface(req, result)
        link = attach.check_link(container, interface, "vlan")
        check_master(conf, host, container, link)
        check_mtu(conf, link)
        _check_tag(conf, link)
        attach.check_addresses(container, link, result)
        attach.check_routes(container, result)


def _check_tag(conf: Conf, link: "Link") -> None:
    protocols = {number: protocol for protocol, number in VLAN_PROTOCOLS.items()}
    found = (
        protocols.get(link.info.get("IFLA_VLAN_PROTOCOL", 0), "another protocol"),
        link.info.get("IFLA_VLAN_ID"),
    )
    if found != (conf.vlan_proto, conf.vlan_id):
        raise CheckFailed(
            f"VLAN of {link.name}: expected {conf.vlan_proto} id {conf.vlan_id}, "
            f"found {found[0]} id {found[1]}"
        )


def status(req: "Request", conf: Conf) -> None:
    """The kernel has VLAN links, the master is there, and the IPAM plugin can serve its part."""
    require_kind("vlan")
    require_master(conf)
    attach.forward_status(req, conf.ipam.type)


main = plugin(
    "vlan",
    Conf,
    add=add,
    delete=delete_link,
    check=check,
    status=status,
    gc=collect_garbage,
    delete_conf=TeardownConf,
)
