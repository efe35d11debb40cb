"""The veth pair of an attachment: CNI_IFNAME in the container, a bridge port on the host."""

import errno
import os
import time

from cnilib.errors import CniError, KernelError, TryAgain
from cnilib.kernel.links import (
    add_veth,
    find_link,
    get_link,
    remove_link,
    set_bridge_port,
    set_master,
    set_up,
)
from cnilib.kernel.netns import Namespace
from plugins.main.bridge.device import ignore_router_advertisements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.links import Link
    from cnilib.types.result import Interface, Result
    from cnilib.undo import Undo
    from plugins.main.bridge.conf import Conf

_NAME_TRIES = 10
# Seconds between looks at the port: the reference's 2.55 s in all, with a quick start, because
# the kernel tells the state of a carrier some milliseconds after the link is up.
_PAUSES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.5, 1.0, 1.0)
_FORWARDING = {"UP", "UNKNOWN"}


class VethPair:
    """The names of both ends and the indexes they got.

    ``host_name`` is "" while it is not known to be ours: undo must not delete a link that
    happened to have the random name first.
    """

    def __init__(self, ifname: str) -> None:
        self.ifname = ifname
        self.host_name = ""

    def remove(self) -> None:
        """Delete both ends, if they exist."""
        if self.host_name:
            with Namespace.current() as host:
                remove_link(host, self.host_name)


def random_name() -> str:
    """``veth`` and 8 hex digits, as every CNI plugin and operator knows it."""
    return f"veth{os.urandom(4).hex()}"


def make_veth_pair(
    host: "Namespace", container: "Namespace", ifname: str, conf: "Conf", mac: str, undo: "Undo"
) -> "tuple[Link, Link]":
    """The host's end, which is up, and the container's, which is not.

    Raises:
        CniError: the container has a link of that name already.
    """
    pair = VethPair(ifname)
    undo.add(f"remove the veth pair of {ifname}", pair.remove)
    for _ in range(_NAME_TRIES):
        pair.host_name = random_name()
        try:
            add_veth(
                container,
                ifname,
                mac=mac,
                mtu=conf.mtu,
                peer_namespace=host,
                peer_name=pair.host_name,
            )
        except KernelError as error:
            pair.host_name = ""
            if error.errno != errno.EEXIST:
                raise
            _refuse_second(container, ifname)
        else:
            ignore_router_advertisements(host, pair.host_name)
            set_up(host, pair.host_name)
            return get_link(host, pair.host_name), get_link(container, ifname)
    raise TryAgain(f"no free name for the host's end of {ifname} found in {_NAME_TRIES} tries")


def _refuse_second(container: "Namespace", ifname: str) -> None:
    if find_link(container, ifname) is not None:
        raise CniError(
            f"container veth name ({ifname}) already exists in {container.path}: delete it first"
        )


def attach_port(host: "Namespace", port: "Link", bridge: "Link", conf: "Conf") -> None:
    """Make the host's end a port of the bridge; a new port has neither flag set."""
    set_master(host, port.name, bridge.index)
    if conf.hairpin_mode or conf.port_isolation:
        set_bridge_port(host, port.name, hairpin=conf.hairpin_mode, isolated=conf.port_isolation)


def wait_for_port(host: "Namespace", name: str) -> "Link":
    """The host's end, once it is operationally up.

    Raises:
        CniError: it does not get there.
    """
    for pause in _PAUSES:
        port = get_link(host, name)
        if port.operstate in _FORWARDING:
            return port
        time.sleep(pause)
    port = get_link(host, name)
    if port.operstate in _FORWARDING:
        return port
    raise CniError(f"bridge port in error state: {port.operstate.lower()} ({name} on the host)")


def remove_reported_port(host: "Namespace", result: "Result", bridge_name: str) -> None:
    """Delete the host's end a result tells of, where the container's cannot be reached any more.

    It is deleted only if it is a veth with the reported MAC on the reported bridge: the name
    alone could be somebody else's by now.
    """
    bridge = find_link(host, bridge_name)
    for interface in result.interfaces:
        if bridge is not None and _may_be_port(interface, bridge_name):
            link = find_link(host, interface.name)
            found = link and (link.kind, link.mac, link.master)
            if found == ("veth", interface.mac.lower(), bridge.index):
                remove_link(host, interface.name)


def _may_be_port(interface: "Interface", bridge_name: str) -> bool:
    if interface.sandbox or not interface.mac:
        return False
    return interface.name not in {"", bridge_name}
