"""DHCPv6 messages as bytes (RFC 8415); as far as a client for one IA_NA needs them."""

from ipaddress import IPv6Address
from typing import NamedTuple

CLIENT_PORT, SERVER_PORT = 546, 547
SERVERS = "ff02::1:2"  # All_DHCP_Relay_Agents_and_Servers, section 7.1
SOLICIT, ADVERTISE, REQUEST, CONFIRM, RENEW, REBIND, REPLY, RELEASE = range(1, 9)

CLIENT_ID, SERVER_ID, IA_NA, IA_ADDRESS, WANTED, ELAPSED, STATUS = 1, 2, 3, 5, 6, 8, 13
DNS_SERVERS, DOMAIN_SEARCH = 23, 24  # RFC 3646
_DUID_UUID = 4  # RFC 6355
_UUID_LENGTH = 16
_HEADER, _OPTION_HEADER = 4, 4

Options = list[tuple[int, bytes]]


class Message(NamedTuple):
    """A message; options in their order."""

    kind: int
    xid: int
    options: Options

    def option(self, code: int) -> bytes:
        """The first option of that code; empty when there is none."""
        return find(self.options, code)


class Leased(NamedTuple):
    """An address in an IA_NA; lifetimes in seconds."""

    address: IPv6Address
    preferred: int = 0
    valid: int = 0


class Association(NamedTuple):
    """An IA_NA: its id, T1 and T2 in seconds, addresses, and what is wrong with it (0: nothing)."""

    iaid: bytes
    t1: int = 0
    t2: int = 0
    addresses: tuple[Leased, ...] = ()
    status: int = 0


def encode(message: Message) -> bytes:
    """A message ready for UDP."""
    return bytes((message.kind,)) + message.xid.to_bytes(3, "big") + _encoded(message.options)


def decode(data: bytes) -> Message | None:
    """The message in a datagram; None when it is too short. Never raises, whatever is sent."""
    if len(data) < _HEADER:
        return None
    return Message(data[0], int.from_bytes(data[1:_HEADER], "big"), _decoded(data[_HEADER:]))


def find(options: Options, code: int) -> bytes:
    """The first option of that code; empty when there is none."""
    return next((value for own, value in options if own == code), b"")


def encode_association(association: Association) -> bytes:
    """The value of an IA_NA option (section 21.4)."""
    addresses = [(IA_ADDRESS, _encode_address(leased)) for leased in association.addresses]
    timers = association.t1.to_bytes(4, "big") + association.t2.to_bytes(4, "big")
    return association.iaid + timers + _encoded(addresses)


def find_association(message: Message, iaid: bytes) -> Association | None:
    """The IA_NA with that id; None when there is none."""
    for code, value in message.options:
        if code == IA_NA and value[:4] == iaid and len(value) >= 12:
            options = _decoded(value[12:])
            addresses = (_decode_address(v) for own, v in options if own == IA_ADDRESS)
            return Association(
                iaid,
                int.from_bytes(value[4:8], "big"),
                int.from_bytes(value[8:12], "big"),
                tuple(leased for leased in addresses if leased),
                status_of(options),
            )
    return None


def status_of(options: Options) -> int:
    """The status code; 0, success, when there is none (section 21.13)."""
    return int.from_bytes(find(options, STATUS)[:2], "big")


def duid(identity: bytes) -> bytes:
    """A DUID that is as lasting as ``identity`` (at least 16 bytes, such as a digest)."""
    return _DUID_UUID.to_bytes(2, "big") + identity[:_UUID_LENGTH]


def _encode_address(leased: Leased) -> bytes:
    lifetimes = leased.preferred.to_bytes(4, "big") + leased.valid.to_bytes(4, "big")
    return leased.address.packed + lifetimes


def _decode_address(value: bytes) -> Leased | None:
    """Section 21.6; None when cut short, or when the address itself has a failure."""
    if len(value) < 24 or status_of(_decoded(value[24:])):
        return None
    preferred, valid = int.from_bytes(value[16:20], "big"), int.from_bytes(value[20:24], "big")
    return Leased(IPv6Address(value[:16]), preferred, valid)


def _encoded(options: Options) -> bytes:
    return b"".join(
        code.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value for code, value in options
    )


def _decoded(area: bytes) -> Options:
    """Up to the first that is cut short."""
    options: Options = []
    offset = 0
    while offset + _OPTION_HEADER <= len(area):
        code = int.from_bytes(area[offset : offset + 2], "big")
        start = offset + _OPTION_HEADER
        end = start + int.from_bytes(area[offset + 2 : start], "big")
        if end > len(area):
            break
        options.append((code, area[start:end]))
        offset = end
    return options
