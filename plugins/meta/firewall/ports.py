"""Isolated bridge ports: they exchange no frames, but do with the bridge and with other ports.

Needs neither br_netfilter nor rules (IFLA_BRPORT_ISOLATED, Linux 4.18), and goes with the port.
"""

from cnilib.errors import CheckFailed
from cnilib.kernel.links import find_link, set_bridge_port
from cnilib.kernel.netns import Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnilib.kernel.link_messages import Link


def set_isolated(links: tuple[str, ...], *, on: bool) -> None:
    """Set or clear the flag of those of ``links`` that are ports of the first.

    Raises:
        KernelError: the kernel does not know the flag.
    """
    with Namespace.current() as host:
        for port in _ports(host, links):
            if port.isolated != on:
                set_bridge_port(host, port.name, isolated=on)


def check_isolated(links: tuple[str, ...]) -> None:
    """Hold the flags against the kernel.

    Raises:
        CheckFailed: a port of the bridge is not isolated.
    """
    with Namespace.current() as host:
        for port in _ports(host, links):
            if not port.isolated:
                raise CheckFailed(f"port {port.name} of bridge {links[0]} is not isolated")


def _ports(host: Namespace, links: tuple[str, ...]) -> "Iterator[Link]":
    bridge, *others = (find_link(host, name) for name in links) if links else (None,)
    for link in others:
        if bridge and link and link.master == bridge.index:
            yield link
