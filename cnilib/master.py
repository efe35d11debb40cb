"""The link that a new one is made on, for macvlan, ipvlan and vlan: which it is, what it allows.

It is looked for on the host, or with ``linkInContainer`` in the container; by its name or an
altname, else among what the plugins before made, else by the default route.
"""

from pydantic import Field

from cnilib.errors import CheckFailed, CniError, ConfigError, NotAvailable
from cnilib.kernel.links import find_link, find_link_by_index
from cnilib.kernel.netns import Namespace
from cnilib.kernel.routes import find_default_device
from cnilib.kernel.virtual_links import Master
from cnilib.types.config import NetConf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.link_messages import Link
    from cnilib.request import Request

_SHARES_MASTER = {"macvlan", "ipvlan"}
"""Made on another of their kind, they become children of that one's master."""


class MasterConf(NetConf):
    """The keys that say what a new link is made on."""

    master: str = Field(default="", description="link to make it on, by name or altname")
    mtu: int = Field(default=0, description="MTU in bytes; 0 takes the master's")
    link_in_container: bool = Field(
        default=False, description="the master is in the container, not on the host"
    )


def get_master(
    req: "Request", conf: MasterConf, host: Namespace, container: Namespace, chained: str = ""
) -> Master:
    """The master of an ADD; without ``master`` it is ``chained``, or the default route's link.

    Raises:
        CniError: there is no such link, or no default route.
    """
    namespace = container if conf.link_in_container else host
    name = conf.master or chained
    if name:
        return Master(namespace, _named(namespace, name))
    index = find_default_device(namespace)
    link = find_link_by_index(namespace, index) if index else None
    if link is None:
        raise CniError(
            f"no default route interface found in {namespace.path}: {req.plugin} needs a `master`, "
            "or a default route to take its interface from"
        )
    return Master(namespace, link)


def _named(namespace: Namespace, name: str) -> "Link":
    link = find_link(namespace, name)
    if link is None:
        raise CniError(f'failed to lookup master "{name}" in {namespace.path}: Link not found')
    return link


def find_chained(req: "Request", conf: MasterConf) -> str:
    """Without ``master``: the one interface of prevResult that is where the master has to be.

    "" when there is none, or several.
    """
    if conf.master or req.prev_result is None:
        return ""
    sandbox = req.netns if conf.link_in_container else ""
    names = [
        interface.name
        for interface in req.prev_result.interfaces
        if interface.name and interface.sandbox == sandbox
    ]
    return names[0] if len(names) == 1 else ""


def check_mtu_fits(mtu: int, master: Master) -> None:
    """No link is made that could send what its master cannot.

    Raises:
        ConfigError: the MTU is negative or larger than the master's.
    """
    if not 0 <= mtu <= master.link.mtu:
        raise ConfigError(f"invalid MTU {mtu}, must be [0, master MTU({master.link.mtu})]")


def check_master(conf: MasterConf, host: Namespace, container: Namespace, link: "Link") -> Master:
    """CHECK: the link is on the configured master; without one, whatever it is on.

    Raises:
        CheckFailed: it is on another one.
        CniError: there is no such master.
    """
    namespace = container if conf.link_in_container else host
    if not conf.master:
        found = find_link_by_index(namespace, link.peer_index)
        if found is None:
            raise CheckFailed(f"master of {link.name}: expected in {namespace.path}, not found")
        return Master(namespace, found)
    master = _named(namespace, conf.master)
    expected = {master.index}
    if master.kind in _SHARES_MASTER:
        expected.add(master.peer_index)
    elsewhere = link.peer_netnsid is not None
    if link.peer_index not in expected or elsewhere == conf.link_in_container:
        raise CheckFailed(
            f"master of {link.name} in {container.path}: expected {master.name} in "
            f"{namespace.path} (index {master.index}), found index {link.peer_index} in "
            f"{'another' if elsewhere else 'the same'} namespace"
        )
    return Master(namespace, master)


def check_mtu(conf: MasterConf, link: "Link") -> None:
    """CHECK: the link has the configured MTU.

    Raises:
        CheckFailed: it has another one.
    """
    if conf.mtu and conf.mtu != link.mtu:
        raise CheckFailed(f"MTU of {link.name}: expected {conf.mtu}, found {link.mtu}")


def require_master(conf: MasterConf) -> None:
    """STATUS: the configured master is on the host; one in a container cannot be looked for.

    Raises:
        NotAvailable: it is not.
    """
    if not conf.master or conf.link_in_container:
        return
    with Namespace.current() as host:
        try:
            _named(host, conf.master)
        except CniError as error:
            raise NotAvailable(error.msg) from error
