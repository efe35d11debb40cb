"""What a result asks the firewall for: addresses to open, and the bridge they are behind."""

from typing import NamedTuple

from cnilib.errors import ConfigError
from cnilib.netfilter.ruleset import BridgeUse, Element, Wanted
from plugins.meta.firewall.config import CLOSED, OPEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.types.addresses import IPAddress
    from cnilib.types.result import Result
    from plugins.meta.firewall.config import Conf


class Targets(NamedTuple):
    """Addresses of the attachment, its bridge, and the links on the host's side.

    ``links`` starts with the bridge where there is one; ``closed`` addresses take no connection
    that is not forwarded to them.
    """

    addresses: "tuple[IPAddress, ...]"
    bridge: BridgeUse | None
    links: tuple[str, ...]
    closed: bool = False

    @property
    def families(self) -> list[str]:
        """The families in use, as nft names them."""
        return sorted({family_of(address) for address in self.addresses})


def targets(conf: "Conf", result: "Result") -> Targets:
    """All addresses of prevResult, also those of other interfaces; the policy with its bridge.

    Raises:
        ConfigError: a policy needs a bridge, and the result does not start with one.
    """
    addresses = tuple(dict.fromkeys(ip.address.ip for ip in result.ips))
    links = host_links(result)
    if conf.ingress_policy in {OPEN, CLOSED}:
        # bridge reports itself and its port; a lone link of the host is no bridge's
        bridge = BridgeUse(links[0], OPEN) if len(links) > 1 else None
        return Targets(addresses, bridge, links, conf.ingress_policy == CLOSED)
    if not (result.interfaces and result.interfaces[0].name):
        raise ConfigError(
            f"ingressPolicy {conf.ingress_policy}: interface needs to be set: prevResult must "
            "start with the bridge, so put firewall after bridge in the chain"
        )
    return Targets(addresses, BridgeUse(result.interfaces[0].name, conf.ingress_policy), links)


def host_links(result: "Result") -> tuple[str, ...]:
    """The links of the host, in the order of the result: the bridge, then its port."""
    return tuple(link.name for link in result.interfaces if link.name and not link.sandbox)


def wanted(target: Targets) -> Wanted:
    """The same in terms of our tables."""
    elements = [element_of(address) for address in target.addresses]
    if target.closed:
        elements += [element._replace(name="closed_dst") for element in elements]
    return Wanted(elements=tuple(elements), bridge=target.bridge)


def element_of(address: "IPAddress") -> Element:
    """The element by which an address is open, and owned."""
    return Element(family_of(address), "fw_addr", (str(address),))


def family_of(address: "IPAddress") -> str:
    """``ip`` or ``ip6``."""
    return "ip" if address.version == 4 else "ip6"
