"""CHECK of what only this plugin makes: the bridge and its port."""

from cnilib.attach import check_link
from cnilib.errors import CheckFailed
from cnilib.kernel.links import find_link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.links import Link
    from cnilib.kernel.netns import Namespace
    from cnilib.types.result import Interface, Result
    from plugins.main.bridge.conf import Conf


def check_bridge(host: "Namespace", conf: "Conf", result: "Result") -> "Link":
    """The bridge of the result, as it should be.

    Raises:
        CheckFailed: it is missing, no bridge, or differs in MAC or promiscuous mode.
    """
    reported = [interface for interface in result.interfaces if interface.name == conf.bridge]
    if not reported:
        raise CheckFailed(f"prevResult: expected bridge {conf.bridge} among interfaces, found none")
    if reported[0].sandbox:
        raise CheckFailed(
            f"prevResult: bridge {conf.bridge} is expected on the host, found in "
            f"{reported[0].sandbox}"
        )
    bridge = check_link(host, reported[0], "bridge")
    if bridge.promisc != conf.promisc_mode:
        expected, found = ("on", "off") if conf.promisc_mode else ("off", "on")
        raise CheckFailed(
            f"promiscuous mode of bridge {conf.bridge}: expected {expected}, found {found}"
        )
    return bridge


def check_port(host: "Namespace", result: "Result", bridge: "Link", link: "Link") -> None:
    """The other end of the container's link is a host interface of the result, on the bridge.

    Raises:
        CheckFailed: it is not, or it has another MAC or master.
    """
    for interface in result.interfaces:
        port = _find_port(host, interface, bridge.name)
        if port is None or port.index != link.peer_index or port.peer_index != link.index:
            continue
        check_link(host, interface, "veth")
        if port.master != bridge.index:
            raise CheckFailed(
                f"link {port.name} on the host: expected to be a port of {bridge.name}, is not"
            )
        return
    raise CheckFailed(
        f"the host's end of {link.name}: expected among the interfaces of prevResult, found none "
        f"with index {link.peer_index}"
    )


def _find_port(host: "Namespace", interface: "Interface", bridge: str) -> "Link | None":
    if interface.sandbox or interface.name in {"", bridge}:
        return None
    return find_link(host, interface.name)
