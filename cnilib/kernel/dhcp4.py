"""DHCPv4 messages as bytes (RFC 2131 section 2, RFC 2132).

The fixed header is pyroute2's. Its options are not used: it encodes only the codes it has a name
for, while operators provide and request any; and it stops at the first option it cannot decode,
knows neither overloaded fields nor options longer than 255 bytes (RFC 3396). For the same reason
its client is not used: it cannot send a client identifier as it is given, always sets the
broadcast flag, keeps three sockets for each lease and a lease's file in the working directory.
"""

from typing import NamedTuple

from pyroute2.dhcp.dhcp4msg import dhcp4msg
from pyroute2.protocols import msg

CLIENT_PORT, SERVER_PORT = 68, 67
BROADCAST_FLAG = 0x8000
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE = range(1, 8)

# option codes, RFC 2132 unless said
SUBNET_MASK, ROUTERS, DNS_SERVERS, HOST_NAME, DOMAIN, MTU, STATIC_ROUTES = 1, 3, 6, 12, 15, 26, 33
REQUESTED_IP, LEASE_TIME, OVERLOAD, MESSAGE_TYPE, SERVER_ID, PARAMETERS = 50, 51, 52, 53, 54, 55
MESSAGE, MAX_SIZE, T1, T2, CLIENT_ID = 56, 57, 58, 59, 61
DOMAIN_SEARCH, CLASSLESS_ROUTES = 119, 121  # RFC 3397, RFC 3442

_PAD, _END = 0, 255
_COOKIE = b"\x63\x82\x53\x63"
_SNAME, _FILE, _OPTIONS = 44, 108, 240  # offsets in the message
_OVERLOADS_FILE, _OVERLOADS_SNAME = 1, 2
_SMALLEST = 300  # bytes of a BOOTP message, RFC 1542 section 2.1
_LONGEST_OPTION = 255


class Message(NamedTuple):
    """A message of a client or a server; options by code, each as its bytes."""

    xid: int
    client_mac: str
    options: dict[int, bytes]
    flags: int = 0
    ciaddr: str = "0.0.0.0"  # noqa: S104 - an address to compare with, none to bind to
    yiaddr: str = "0.0.0.0"  # noqa: S104
    is_reply: bool = False

    @property
    def kind(self) -> int:
        """DISCOVER, OFFER, ...; 0 when the option is missing."""
        return (self.options.get(MESSAGE_TYPE) or b"\0")[0]


class _Header(msg):  # type: ignore[misc] # pyroute2 has no types
    """The fixed part alone."""

    fields = dhcp4msg.fields


def encode(message: Message) -> bytes:
    """A message ready for UDP; options in ascending order, the message type first."""
    fields = {
        "op": 2 if message.is_reply else 1,
        "xid": message.xid,
        "flags": message.flags,
        "ciaddr": message.ciaddr,
        "yiaddr": message.yiaddr,
        "chaddr": message.client_mac,
    }
    header: bytes = _Header(fields).encode().buf
    return (header + encode_options(message.options)).ljust(_SMALLEST, b"\0")


def decode(data: bytes) -> Message | None:
    """The message in a datagram; None when it is none. Never raises, whatever is sent."""
    if data[_OPTIONS - len(_COOKIE) : _OPTIONS] != _COOKIE:
        return None
    header = _Header(buf=data).decode()
    return Message(
        xid=header["xid"],
        client_mac=header["chaddr"],
        options=_all_options(data),
        flags=header["flags"],
        ciaddr=header["ciaddr"],
        yiaddr=header["yiaddr"],
        is_reply=header["op"] == 2,
    )


def encode_options(options: dict[int, bytes]) -> bytes:
    """Code, length, value of each; what is longer than 255 bytes is split (RFC 3396)."""
    encoded = b""
    for code in sorted(options, key=lambda code: (code != MESSAGE_TYPE, code)):
        value = options[code]
        for start in range(0, len(value) or 1, _LONGEST_OPTION):
            part = value[start : start + _LONGEST_OPTION]
            encoded += bytes((code, len(part))) + part
    return encoded + bytes((_END,))


def decode_options(*areas: bytes) -> dict[int, bytes]:
    """Options of one or more areas; parts with the same code are joined (RFC 3396).

    An option that its area cuts short, and all behind it, are skipped.
    """
    options: dict[int, bytes] = {}
    for area in areas:
        offset = 0
        while offset < len(area) and area[offset] != _END:
            code = area[offset]
            if code == _PAD:
                offset += 1
                continue
            end = offset + 2 + (area[offset + 1] if offset + 1 < len(area) else len(area))
            if end > len(area):
                break
            options[code] = options.get(code, b"") + area[offset + 2 : end]
            offset = end
    return options


def _all_options(data: bytes) -> dict[int, bytes]:
    """Those of the option field, then of ``file`` and ``sname`` where option 52 says so."""
    areas = [data[_OPTIONS:]]
    overload = (decode_options(areas[0]).get(OVERLOAD) or b"\0")[0]
    if overload & _OVERLOADS_FILE:
        areas.append(data[_FILE : _OPTIONS - len(_COOKIE)])
    if overload & _OVERLOADS_SNAME:
        areas.append(data[_SNAME:_FILE])
    return decode_options(*areas)
