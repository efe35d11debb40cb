"""Forgetting UDP flows that connection tracking would keep sending to where they went before.

A new forward must also take the datagrams of a client that has been sending all along, and a
removed one must let them go (portmap.md 3.4, 7.5 and 7.6). Flows of other hosts that merely use
the same port number are none of our business.
"""

from ipaddress import ip_address
from typing import NamedTuple

from cnilib.errors import CniError
from cnilib.kernel.conntrack import flush_flows, local_addresses
from cnilib.log import warn
from plugins.meta.portmap.targets import VERSIONS, container_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cnilib.kernel.conntrack import Flow
    from cnilib.kernel.netns import Namespace
    from cnilib.netfilter.ruleset import Element
    from cnilib.types.addresses import IPAddress
    from cnilib.types.result import Result
    from plugins.meta.portmap.config import PortMapping
    from plugins.meta.portmap.targets import Target


class Published(NamedTuple):
    """A forwarded UDP port; without a host address, one on any address of this host."""

    version: int
    port: int
    host_address: "IPAddress | None"
    container: "IPAddress"


def published(targets: "Sequence[Target]") -> "Iterator[Published]":
    """The UDP ports of some targets."""
    for target in targets:
        address = target.address.ip
        for forward in target.forwards:
            if forward.protocol == "udp":
                for port in range(forward.host_port, forward.host_port + forward.length):
                    yield Published(address.version, port, forward.host_address, address)


def recorded(elements: "Iterable[Element]") -> "Iterator[Published]":
    """The UDP ports among the elements that an attachment had."""
    for element in elements:
        if element.name not in ("hp_any", "hp_addr") or not element.data:
            continue
        *local, protocol, port = element.key
        if protocol == "udp":
            host_address = ip_address(str(local[0])) if local else None
            container = ip_address(str(element.data[0]))
            yield Published(container.version, int(port), host_address, container)


def configured(
    mappings: "Iterable[PortMapping]", result: "Result", ifname: str
) -> "Iterator[Published]":
    """The UDP ports a configuration asks for, where nothing recorded them."""
    for version in VERSIONS:
        address = container_address(result, ifname, version)
        if address is None:
            continue
        for mapping in mappings:
            if mapping.protocol == "udp" and mapping.fits(version):
                for port in range(mapping.host_port, mapping.host_port + mapping.length):
                    yield Published(version, port, mapping.host_address, address.ip)


def forget(host: "Namespace", ports: "Iterable[Published]", *, all_flows: bool) -> None:
    """Forget the flows to these ports of this host.

    ``all_flows``: those that reach anybody (ADD); otherwise only those that reach the container
    (DEL). A failure is told on stderr: the forward itself works.
    """
    by_version: dict[int, dict[int, list[Published]]] = {}
    for port in ports:
        by_version.setdefault(port.version, {}).setdefault(port.port, []).append(port)
    for version, wanted in by_version.items():
        try:
            _forget(host, version, wanted, all_flows=all_flows)
        except (CniError, OSError) as error:
            warn(f"portmap: old UDP flows may go on for some seconds: {error}")


def _forget(
    host: "Namespace", version: int, wanted: dict[int, list[Published]], *, all_flows: bool
) -> None:
    local = local_addresses(host, version)

    def is_ours(flow: "Flow") -> bool:
        return flow.destination in local and any(
            port.host_address in (None, flow.destination)
            and (all_flows or flow.reply_source == port.container)
            for port in wanted[flow.port]
        )

    flush_flows(host, family=version, ports=wanted.keys(), match=is_ours)
