"""dummy: gives the container a link that leads nowhere, with addresses that stay in the container.

ADD makes a dummy link in the container and gives it the addresses and routes of ``ipam``::

    {"cniVersion": "1.0.0", "name": "local", "type": "dummy",
     "ipam": {"type": "static", "addresses": [{"address": "10.255.0.1/32"}]}}

On the host it leaves nothing. DEL removes the link in the container.
"""

from pydantic import Field

from cnilib import attach
from cnilib.container_link import (
    collect_garbage,
    connect_link,
    delete_link,
    make_link,
    require_kind,
)
from cnilib.errors import CheckFailed, ConfigError
from cnilib.kernel.netns import Namespace
from cnilib.kernel.virtual_links import add_dummy
from cnilib.log import warn
from cnilib.mac import MacConf, wanted_mac
from cnilib.plugin import plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.request import Request
    from cnilib.types.result import Result
    from cnilib.undo import Undo

_LARGEST_MTU = 2**31 - 1  # the kernel has no limit of its own for these


class TeardownConf(MacConf):
    """What DEL and GC decode. Values are not judged there."""

    mtu: int = Field(default=0, description="MTU in bytes; 0: 1500")


class Conf(TeardownConf):
    """What ADD, CHECK and STATUS read."""

    mtu: int = Field(default=0, ge=0, le=_LARGEST_MTU, description="MTU in bytes; 0: 1500")


def add(req: "Request", conf: Conf, undo: "Undo") -> "Result":
    """The dummy, under its own name from the start; then addresses and routes."""
    _require_ipam(conf)
    mac = wanted_mac(req, conf, strict=False)
    with Namespace.open(req.netns) as container:

        def create(name: str) -> None:
            add_dummy(container, name, mac=mac, mtu=conf.mtu)

        link = make_link(container, req.ifname, undo, create, born_as=req.ifname)
        return connect_link(req, conf, container, link, undo)


def _require_ipam(conf: Conf) -> None:
    if not conf.ipam.type:
        raise ConfigError("dummy interface requires an IPAM configuration")


def check(req: "Request", conf: Conf) -> None:
    """The link is a dummy and up, with the addresses of prevResult.

    Its routes go whenever somebody takes it down for a moment, and the reference does not look at
    them: a missing one is told on stderr only.
    """
    _require_ipam(conf)
    result = attach.begin_check(req, conf.ipam.type)
    with Namespace.open(req.netns) as container:
        interface = attach.get_container_interface(req, result)
        link = attach.check_link(container, interface, "dummy")
        if not link.up:
            raise CheckFailed(f"link {link.name} in {container.path} is down: expected it up")
        if conf.mtu and conf.mtu != link.mtu:
            raise CheckFailed(f"MTU of {link.name}: expected {conf.mtu}, found {link.mtu}")
        attach.check_addresses(container, link, result)
        try:
            attach.check_routes(container, result)
        except CheckFailed as missing:
            warn(f"dummy: {missing}")


def status(req: "Request", conf: Conf) -> None:
    """The kernel has dummy links, and the IPAM plugin can serve its part."""
    require_kind("dummy")
    attach.forward_status(req, conf.ipam.type)


main = plugin(
    "dummy",
    Conf,
    add=add,
    delete=delete_link,
    check=check,
    status=status,
    gc=collect_garbage,
    delete_conf=TeardownConf,
)
