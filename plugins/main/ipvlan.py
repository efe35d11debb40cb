"""ipvlan: gives the container a link on a link of the host that shares its MAC.

ADD makes an ipvlan of the master in the container, with the addresses and routes of ``ipam``, or in
a chain with those of the plugin before it::

    {"cniVersion": "1.0.0", "name": "lan", "type": "ipvlan", "master": "eno1", "mode": "l2",
     "ipam": {"type": "host-local", "subnet": "192.168.1.0/24"}}

On the host it leaves nothing. DEL removes the link in the container. All ipvlan links of one master
have one mode.
"""

from pydantic import Field, field_validator

from cnilib import attach
from cnilib.container_link import (
    ARP_NOTIFY,
    NDISC_NOTIFY,
    collect_garbage,
    configure,
    connect_link,
    delete_link,
    make_link,
    require_kind,
)
from cnilib.errors import CheckFailed, CniError, ConfigError
from cnilib.kernel.netns import Namespace
from cnilib.kernel.virtual_links import IPVLAN_FLAGS, IPVLAN_MODES, add_ipvlan
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
    from cnilib.kernel.virtual_links import Master
    from cnilib.request import Request
    from cnilib.types.result import Result
    from cnilib.undo import Undo


class TeardownConf(MasterConf):
    """What DEL and GC decode. Values are not judged there: a master may be gone, too."""

    mode: str = Field(default="l2", description="l2, l3 or l3s")
    flag: str = Field(
        default="bridge", description="bridge, private or vepa: whether siblings reach each other"
    )


class Conf(TeardownConf):
    """What ADD, CHECK and STATUS read."""

    @field_validator("mode")
    @classmethod
    def _is_mode(cls, mode: str) -> str:
        if mode and mode not in IPVLAN_MODES:
            raise ValueError(f"unknown ipvlan mode {mode!r} (one of {', '.join(IPVLAN_MODES)})")
        return mode or "l2"

    @field_validator("flag")
    @classmethod
    def _is_flag(cls, flag: str) -> str:
        if flag and flag not in IPVLAN_FLAGS:
            raise ValueError(f"unknown ipvlan flag {flag!r} (one of {', '.join(IPVLAN_FLAGS)})")
        return flag or "bridge"


def add(req: "Request", conf: Conf, undo: "Undo") -> "Result":
    """The ipvlan, in the container; then the addresses and routes of IPAM, or of the chain."""
    given = _given_addresses(req, conf)
    with Namespace.current() as host, Namespace.open(req.netns) as container:
        master = get_master(req, conf, host, container, _find_chained(req, conf))
        check_mtu_fits(conf.mtu, master)
        _refuse_other_mode(conf, master)

        def create(name: str) -> None:
            add_ipvlan(master, container, name, mode=conf.mode, flag=conf.flag, mtu=conf.mtu)

        link = make_link(container, req.ifname, undo, create)
        announce = (ARP_NOTIFY, NDISC_NOTIFY)
        if given:
            return configure(req, conf, container, link, given, announce)
        return connect_link(req, conf, container, link, undo, announce)


def _given_addresses(req: "Request", conf: Conf) -> "Result | None":
    """What the plugin before us found, where there is no ``ipam``.

    Raises:
        ConfigError: it found no address either.
        DecodeError: prevResult is no result.
    """
    previous = req.prev_result
    if conf.ipam.type:
        return None
    if previous is None or not previous.ips:
        raise ConfigError(
            "no plugin name provided: ipvlan needs an `ipam`, or the addresses of a prevResult"
        )
    return previous


def _find_chained(req: "Request", conf: Conf) -> str:
    """The master that a prevResult tells; "" where ``master`` or the default route does.

    Raises:
        ConfigError: it tells none, or several.
    """
    if conf.master or req.prev_result is None:
        return ""
    names = [interface.name for interface in req.prev_result.interfaces if interface.name]
    name = names[0] if len(names) == 1 else find_chained(req, conf)
    if not name:
        raise ConfigError(
            f"chained master failure: prevResult has {len(names)} interfaces to choose from; "
            "ipvlan needs a `master`"
        )
    return name


def _refuse_other_mode(conf: Conf, master: "Master") -> None:
    """The kernel would switch all links of the master to the mode of a new one."""
    from cnilib.kernel.children import find_child

    sibling, path = master.link, master.namespace.path
    if sibling.kind != "ipvlan":
        found = find_child(master, "ipvlan")
        if found is None:
            return
        path, sibling = found
    if _mode_of(sibling) != (conf.mode, conf.flag):
        mode, flag = _mode_of(sibling)
        raise CniError(
            f"failed to add ipvlan on {master.link.name} in mode {conf.mode}, flag {conf.flag}: "
            f"mode {mode}, flag {flag} is in use there ({sibling.name} in {path}), and all links "
            "of one master share it"
        )


def _mode_of(link: "Link") -> tuple[str, str]:
    modes = {number: mode for mode, number in IPVLAN_MODES.items()}
    flags = {number: flag for flag, number in IPVLAN_FLAGS.items()}
    return (
        modes.get(link.info.get("IFLA_IPVLAN_MODE", 0), "another"),
        flags.get(link.info.get("IFLA_IPVLAN_FLAGS", 0), "another"),
    )


def check(req: "Request", conf: Conf) -> None:
    """The link is an ipvlan of the master, as configured, with what prevResult reports."""
    result = attach.begin_check(req, conf.ipam.type)
    with Namespace.current() as host, Namespace.open(req.netns) as container:
        interface = attach.get_container_interface(req, result)
        link = attach.check_link(container, interface, "ipvlan")
        check_master(conf, host, container, link)
        check_mtu(conf, link)
        if _mode_of(link) != (conf.mode, conf.flag):
            mode, flag = _mode_of(link)
            raise CheckFailed(
                f"mode of {link.name}: expected {conf.mode}, flag {conf.flag}; found {mode}, "
                f"flag {flag}"
            )
        attach.check_addresses(container, link, result)
        attach.check_routes(container, result)


def status(req: "Request", conf: Conf) -> None:
    """The kernel has ipvlan, the master is there, and the IPAM plugin can serve its part."""
    require_kind("ipvlan")
    require_master(conf)
    attach.forward_status(req, conf.ipam.type)


main = plugin(
    "ipvlan",
    Conf,
    add=add,
    delete=delete_link,
    check=check,
    status=status,
    gc=collect_garbage,
    delete_conf=TeardownConf,
)
