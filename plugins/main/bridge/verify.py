"""CHECK of what only this plugin makes: the bridge and its port."""

from cnilib.attach import check_link
from cnilib.errors import CheckFailed
from cnilib.veth import check_host_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.netns import Namespace
    from cnilib.types.result import Result
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
    port = check_host_end(host, result, link)
    if port.master != bridge.index:
        raise CheckFailed(
            f"link {port.name} on the host: expected to be a port of {bridge.name}, is not"
        )
