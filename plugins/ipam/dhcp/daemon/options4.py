"""What the options of an ACK mean: addresses, routes and resolver settings of a result.

Pure functions over option bytes; a server may send anything, and what makes no sense counts as
absent.
"""

from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from cnilib.kernel import dhcp4
from plugins.ipam.dhcp.daemon.names import decode_names, plain_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LINK_SCOPE = 253  # RT_SCOPE_LINK, linux/rtnetlink.h
_SMALLEST_MTU = 68  # RFC 2132 section 5.1
_CLASSES = ((0x80, 8), (0xC0, 16), (0xE0, 24))
"""First octets below the first number are of a class with so many bits (RFC 791)."""


class Route(NamedTuple):
    """A route that the server gives; an unspecified router means on the link."""

    destination: IPv4Network
    router: IPv4Address

    def as_json(self, mtu: int) -> "dict[str, Any]":
        """The route of a CNI result."""
        on_link = {"scope": _LINK_SCOPE} if self.router.is_unspecified else {}
        sized = {"mtu": mtu} if mtu else {}
        return {"dst": str(self.destination), "gw": str(self.router)} | on_link | sized


def number(options: dict[int, bytes], code: int) -> int:
    """An unsigned number of 2 or 4 bytes; 0 when absent or cut short."""
    value = options.get(code, b"")
    return int.from_bytes(value[:4], "big") if len(value) in {2, 4} else 0


def addresses(options: dict[int, bytes], code: int) -> list[IPv4Address]:
    """A list of addresses; what is left over is dropped."""
    value = options.get(code, b"")
    return [IPv4Address(value[i : i + 4]) for i in range(0, len(value) - 3, 4)]


def prefix_length(options: dict[int, bytes]) -> int | None:
    """Of the subnet mask; None when absent or no mask."""
    masks = addresses(options, dhcp4.SUBNET_MASK)
    bits = int(masks[0]) if masks else 0
    length = bits.bit_count()
    return length if length and bits == ((1 << length) - 1) << (32 - length) else None


def gateway(options: dict[int, bytes]) -> IPv4Address | None:
    """The first router."""
    routers = addresses(options, dhcp4.ROUTERS)
    return routers[0] if routers else None


def routes(options: dict[int, bytes]) -> "list[dict[str, Any]]":
    """Those of option 121 and no others, else the static ones and a default route."""
    found = classless_routes(options.get(dhcp4.CLASSLESS_ROUTES, b""))
    if not found:
        found = _classful_routes(addresses(options, dhcp4.STATIC_ROUTES))
        router = gateway(options)
        if router is not None:
            found.append(Route(IPv4Network("0.0.0.0/0"), router))
    mtu = number(options, dhcp4.MTU)
    return [route.as_json(mtu if mtu >= _SMALLEST_MTU else 0) for route in found]


def classless_routes(value: bytes) -> list[Route]:
    """Option 121 (RFC 3442): width, as many octets as it has, router; nothing if malformed."""
    found, offset = [], 0
    while offset < len(value):
        width = value[offset]
        octets = (width + 7) // 8
        end = offset + 1 + octets + 4
        if width > 32 or end > len(value):
            return []
        network = value[offset + 1 : offset + 1 + octets].ljust(4, b"\0")
        destination = IPv4Network((network, width), strict=False)
        found.append(Route(destination, IPv4Address(value[end - 4 : end])))
        offset = end
    return found


def encode_classless_routes(routes_to_encode: list[Route]) -> bytes:
    """The other way round."""
    return b"".join(
        bytes((route.destination.prefixlen,))
        + route.destination.network_address.packed[: (route.destination.prefixlen + 7) // 8]
        + route.router.packed
        for route in routes_to_encode
    )


def dns(options: dict[int, bytes]) -> "dict[str, Any]":
    """Options 6, 15 and 119."""
    servers = [str(server) for server in addresses(options, dhcp4.DNS_SERVERS)]
    domain = plain_name(options.get(dhcp4.DOMAIN, b""))
    search = decode_names(options.get(dhcp4.DOMAIN_SEARCH, b""))
    settings = {"nameservers": servers, "domain": domain, "search": search}
    return {key: value for key, value in settings.items() if value}


def _classful_routes(pairs: list[IPv4Address]) -> list[Route]:
    """Option 33: destination and router; the width follows from the destination's class."""
    found = []
    for destination, router in zip(pairs[::2], pairs[1::2], strict=False):
        first = destination.packed[0]
        width = next((bits for limit, bits in _CLASSES if first < limit), None)
        if width is not None and not destination.is_unspecified:  # RFC 2132: no default route here
            found.append(Route(IPv4Network((destination, width), strict=False), router))
    return found
