"""macvlan: gives the container a link of its own MAC on a link of the host.

ADD makes a macvlan of the master in the container; with an ``ipam`` section it gets addresses and
routes, without one it is a layer-2 link::

    {"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "eno1",
     "ipam": {"type": "host-local", "subnet": "192.168.1.0/24"}}

On the host it leaves nothing. DEL removes the link in the container. The host itself cannot talk to
its own macvlan links: what comes from the master never goes up to them.
"""

from pydantic import Field, field_validator

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
from cnilib.errors import CheckFailed
from cnilib.kernel.netns import Namespace
from cnilib.kernel.virtual_links import MACVLAN_MODES, add_macvlan
from cnilib.mac import MacConf, random_mac, wanted_mac
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
    from cnilib.kernel.link_messages import Link
    from cnilib.request import Request
    from cnilib.types.result import Result
    from cnilib.undo import Undo

_LONGEST_QUEUE = (1 << 32) - 1


class TeardownConf(MasterConf, MacConf):
    """What DEL and GC decode. Values are not judged there: a master may be gone, too."""

    mode: str = Field(default="bridge", description="bridge, private, vepa or passthru")
    bcqueuelen: int = Field(
        default=0,
        ge=0,
        le=_LONGEST_QUEUE,
        description="length of the broadcast queue in packets; 0: the kernel's 1000",
    )


class Conf(TeardownConf):
    """What ADD, CHECK and STATUS read."""

    @field_validator("mode")
    @classmethod
    def _is_mode(cls, mode: str) -> str:
        if mode and mode not in MACVLAN_MODES:
            raise ValueError(f"unknown macvlan mode {mode!r} (one of {', '.join(MACVLAN_MODES)})")
        return mode or "bridge"


def add(req: "Request", conf: Conf, undo: "Undo") -> "Result":
    """The macvlan, in the container; then addresses and routes."""
    attach.require_reportable(req, conf.ipam.type)
    mac = wanted_mac(req, conf) or random_mac()
    with Namespace.current() as host, Namespace.open(req.netns) as container:
        master = get_master(req, conf, host, container, find_chained(req, conf))
        check_mtu_fits(conf.mtu, master)

        def create(name: str) -> None:
            add_macvlan(
                master,
                container,
                name,
                mode=conf.mode,
                mac=mac,
                mtu=conf.mtu,
                broadcast_queue=conf.bcqueuelen,
            )

        link = make_link(container, req.ifname, undo, create)
        return connect_link(req, conf, container, link, undo, (ARP_NOTIFY, NDISC_NOTIFY))


def check(req: "Request", conf: Conf) -> None:
    """The link is a macvlan of the master, as configured, with what prevResult reports."""
    wanted_mac(req, conf)
    result = attach.begin_check(req, conf.ipam.type)
    with Namespace.current() as host, Namespace.open(req.netns) as container:
        interface = attach.get_container_interface(req, result)
        link = attach.check_link(container, interface, "macvlan")
        check_mtu_fits(conf.mtu, check_master(conf, host, container, link))
        check_mtu(conf, link)
        _check_mode(conf, link)
        attach.check_addresses(container, link, result)
        attach.check_routes(container, result)


def _check_mode(conf: Conf, link: "Link") -> None:
    modes = {number: mode for mode, number in MACVLAN_MODES.items()}
    found = modes.get(link.info.get("IFLA_MACVLAN_MODE", 0), "another")
    if found != conf.mode:
        raise CheckFailed(f"mode of {link.name}: expected {conf.mode}, found {found}")


def status(req: "Request", conf: Conf) -> None:
    """The kernel has macvlan, the master is there, and the IPAM plugin can serve its part."""
    require_kind("macvlan")
    require_master(conf)
    attach.forward_status(req, conf.ipam.type)


main = plugin(
    "macvlan",
    Conf,
    add=add,
    delete=delete_link,
    check=check,
    status=status,
    gc=collect_garbage,
    delete_conf=TeardownConf,
)
