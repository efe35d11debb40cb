"""Addresses as CNI writes them, and the field types that hold them.

Go's ``net`` package decides what is valid: no netmask instead of a prefix length, no zone, no
leading zeros, and an IPv4-mapped IPv6 address *is* the IPv4 address (protocol.md 5.2).
"""

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
)
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticKnownError

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network

_MAC_OCTETS = 6
_MAPPED_PREFIX = 96  # bits of ::ffff:0:0/96, RFC 4291 section 2.5.5.2


def parse_ip(text: str) -> IPAddress:
    """An IPv4 or IPv6 address; ``::ffff:10.0.0.1`` is ``10.0.0.1``.

    :raises ValueError: the text is no address, or has a zone.
    """
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError(f"{text!r} has a zone, which is not allowed here")
        return address.ipv4_mapped or address
    return address


def parse_cidr(text: str) -> IPInterface:
    """An address with its prefix length, ``10.1.0.5/24``; host bits are kept.

    :raises ValueError: no prefix length, or either part is invalid.
    """
    address_text, slash, prefix_text = text.partition("/")
    if not slash:
        raise ValueError(f"{text!r} has no prefix length (write it as address/length)")
    if not (prefix_text.isascii() and prefix_text.isdigit()):
        raise ValueError(f"{text!r} is not an address with a prefix length")
    address, prefix = parse_ip(address_text), int(prefix_text)
    if ":" in address_text and isinstance(address, IPv4Address):
        prefix -= _MAPPED_PREFIX
    if not 0 <= prefix <= address.max_prefixlen:
        raise ValueError(f"{text!r} has an invalid prefix length")
    return ip_interface((address, prefix))


def parse_ip_or_cidr(text: str) -> IPInterface:
    """An address with its prefix length; without one it is a network of its own.

    :raises ValueError: neither.
    """
    return parse_cidr(text) if "/" in text else ip_interface(parse_ip(text))


def parse_mac(text: str) -> str:
    """A hardware address of six octets in lower-case colon form.

    Accepted: ``02:00:..``, ``02-00-..``, ``0200.0000.0001``, in any case.

    :raises ValueError: anything else.
    """
    for separator, digits in ((":", 2), ("-", 2), (".", 4)):
        groups = text.split(separator)
        if len(groups) > 1 and all(len(group) == digits for group in groups):
            plain = "".join(groups).lower()
            if len(plain) == 2 * _MAC_OCTETS and not plain.strip("0123456789abcdef"):
                return ":".join(plain[i : i + 2] for i in range(0, len(plain), 2))
    raise ValueError(f"{text!r} is not a MAC address (expected six octets, 02:00:00:00:00:01)")


def network_of(interface: IPInterface) -> IPNetwork:
    """The network an address with a prefix length lies in."""
    return interface.network


def _ip(value: object) -> IPAddress:
    if isinstance(value, IPv4Address | IPv6Address):
        return value
    return parse_ip(_string(value))


def _optional_ip(value: object) -> IPAddress | None:
    return None if value is None or value == "" else _ip(value)


def _cidr(value: object) -> IPInterface:
    if isinstance(value, IPv4Interface | IPv6Interface):
        return value
    return parse_cidr(_string(value))


def _optional_cidr(value: object) -> IPInterface | None:
    return None if value is None or value == "" else _cidr(value)


def _ip_or_cidr(value: object) -> IPInterface:
    if isinstance(value, IPv4Interface | IPv6Interface):
        return value
    return parse_ip_or_cidr(_string(value))


def _mac(value: object) -> str:
    return parse_mac(_string(value))


def _optional_mac(value: object) -> str:
    return "" if value == "" else _mac(value)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    return value


_IP_SCHEMA = WithJsonSchema({"type": "string", "format": "ip-address"})

Ip = Annotated[IPAddress, PlainValidator(_ip), _IP_SCHEMA]
"""A field holding an address."""
OptionalIp = Annotated[IPAddress | None, PlainValidator(_optional_ip), _IP_SCHEMA]
"""A field holding an address; the empty string means none."""
Cidr = Annotated[
    IPInterface, PlainValidator(_cidr), WithJsonSchema({"type": "string", "format": "cidr"})
]
"""A field holding an address with its prefix length."""
OptionalCidr = Annotated[
    IPInterface | None,
    PlainValidator(_optional_cidr),
    WithJsonSchema({"type": "string", "format": "cidr"}),
]
"""A field holding an address with its prefix length; the empty string means none."""
IpOrCidr = Annotated[IPInterface, PlainValidator(_ip_or_cidr), _IP_SCHEMA]
"""A field holding an address, with or without a prefix length."""
Mac = Annotated[str, PlainValidator(_mac), WithJsonSchema({"type": "string", "format": "mac"})]
"""A field holding a hardware address, in lower-case colon form."""
OptionalMac = Annotated[
    str, PlainValidator(_optional_mac), WithJsonSchema({"type": "string", "format": "mac"})
]
"""A field holding a hardware address; the empty string means none."""
