"""The host's end of the pair as a port of the bridge."""

import time

from cnilib.errors import CniError
from cnilib.kernel.links import get_link, set_bridge_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.netns import Namespace
    from plugins.main.bridge.conf import Conf

# Seconds between looks at the port: the reference's 2.55 s in all, with a quick start, because
# the kernel tells the state of a carrier some milliseconds after the link is up.
_PAUSES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.5, 1.0, 1.0)
_FORWARDING = {"UP", "UNKNOWN"}


def set_port_flags(host: "Namespace", port: "Link", conf: "Conf") -> None:
    """Hairpin mode and isolation; a new port has neither."""
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
