"""The host as the container's gateway: which addresses, on which link, and forwarding."""

import errno
from ipaddress import ip_interface

from cnilib.errors import CniError, KernelError
from cnilib.kernel.addresses import add_address, list_addresses, remove_address
from cnilib.kernel.routes import MAIN_TABLE
from cnilib.kernel.sysctl import ensure_forwarding
from cnilib.types.result import Route
from plugins.main.bridge.device import pin_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.netns import Namespace
    from cnilib.types.addresses import IPInterface
    from cnilib.types.result import IPConfig, Result
    from plugins.main.bridge.conf import Conf

_DEFAULTS = {4: "0.0.0.0/0", 6: "::/0"}


def with_gateways(result: "Result", conf: "Conf") -> "Result":
    """Fill in what isGateway and isDefaultGateway add: gateway addresses and default routes."""
    if not conf.gateway:
        return result
    ips = tuple(_with_gateway(ip) for ip in result.ips)
    result = result.model_copy(update={"ips": ips})
    for version in (4, 6) if conf.is_default_gateway else ():
        result = _with_default_route(result, version)
    return result


def _with_gateway(ip: "IPConfig") -> "IPConfig":
    """Without one from the IPAM plugin the gateway is the first host of the subnet."""
    if ip.gateway is not None:
        return ip
    return ip.model_copy(update={"gateway": ip.address.network.network_address + 1})


def _with_default_route(result: "Result", version: int) -> "Result":
    """One for each family that has an address; a default of the IPAM plugin's own satisfies it."""
    gateway = next((ip.gateway for ip in result.ips if ip.address.version == version), None)
    if gateway is None or any(_is_default(route, version) for route in result.routes):
        return result
    default = Route(dst=ip_interface(_DEFAULTS[version]), gw=gateway)
    return result.model_copy(update={"routes": (*result.routes, default)})


def _is_default(route: Route, version: int) -> bool:
    default = route.dst.version == version and not route.dst.network.prefixlen
    return default and route.table in {None, 0, MAIN_TABLE}


def gateways_of(result: "Result") -> "list[IPInterface]":
    """The gateway addresses with the prefix of the subnet, IPv4 before IPv6, each once."""
    gateways = {
        ip_interface((ip.gateway, ip.address.network.prefixlen)) for ip in result.ips if ip.gateway
    }
    return sorted(gateways, key=lambda gateway: (gateway.version, gateway))


def ensure_gateways(
    host: "Namespace", link: "Link", gateways: "Sequence[IPInterface]", *, force: bool
) -> None:
    """Put all gateways side by side on the link, pin its MAC and switch forwarding on.

    Raises:
        CniError: the link has another address that is in the way, and ``force`` is not set.
    """
    for version in sorted({gateway.version for gateway in gateways}):
        wanted = [gateway for gateway in gateways if gateway.version == version]
        present = [address.interface for address in list_addresses(host, link.index, version)]
        for gateway in wanted:
            if gateway not in present:
                _make_room(host, link, gateway, [a for a in present if a not in wanted], force)
                _add_gateway(host, link, gateway)
    pin_mac(host, link.name)
    ensure_forwarding(host, {gateway.version for gateway in gateways})


def _make_room(
    host: "Namespace",
    link: "Link",
    gateway: "IPInterface",
    others: "Sequence[IPInterface]",
    force: bool,  # noqa: FBT001 - forceAddress, passed through
) -> None:
    """IPv4: any other address conflicts. IPv6: one of an overlapping subnet does."""
    for other in others:
        if gateway.version == 6 and not gateway.network.overlaps(other.network):
            continue
        if not force:
            raise CniError(
                f"{link.name} already has an IP address different from {gateway}: {other} "
                "(remove it, or set forceAddress)"
            )
        remove_address(host, link.index, other)


def _add_gateway(host: "Namespace", link: "Link", gateway: "IPInterface") -> None:
    """IPv6 without duplicate detection: the first packets must not meet a tentative gateway."""
    try:
        add_address(host, link.index, gateway, nodad=True)
    except KernelError as error:
        if error.errno != errno.EEXIST:  # EEXIST: an ADD at the same time was faster
            raise
