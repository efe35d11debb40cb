"""Datagrams on a link that has no address yet: a packet socket, and Ethernet, IPv4 and UDP around.

The headers are pyroute2's message classes. Its own raw socket is not used: it learns the link by a
dump of all links and watches it with two more sockets, on top of asyncio's netlink engine; here a
socket lives as long as one exchange.
"""

import socket
from typing import NamedTuple

from pyroute2.ext.bpf import compile as compile_filter
from pyroute2.protocols import ethmsg, ip4msg, udp4_pseudo_header, udpmsg

from cnilib.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.netns import Namespace

BROADCAST_MAC, BROADCAST = "ff:ff:ff:ff:ff:ff", "255.255.255.255"
UNSPECIFIED = "0.0.0.0"  # noqa: S104 - a source address, none to bind to
_ETH_P_IP, _PROTOCOL_UDP = 0x0800, 17  # linux/if_ether.h, linux/in.h
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_IP_HEADER, _UDP_HEADER, _LARGEST = 20, 8, 65535
_IHL_MASK, _WORD = 0xF, 4


class Datagram(NamedTuple):
    """One UDP datagram over IPv4 with the link layer it travels in."""

    source_mac: str
    source: str
    source_port: int
    target_mac: str
    target: str
    target_port: int
    payload: bytes


class PacketSocket:
    """Sends and receives ``Datagram`` on one link, whatever addresses the link has.

    Non-blocking. The kernel passes only what is addressed to the UDP port and, where ``word`` is
    given, has this value in the second 32-bit word of its payload: a thousand clients on one
    macvlan or ipvlan master hear one another's broadcasts, and need not be woken by them.
    """

    def __init__(
        self, namespace: "Namespace", ifname: str, port: int, word: int | None = None
    ) -> None:
        """Open it.

        Raises:
            KernelError: there is no such link, or it is down.
        """
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._thing = f"packet socket on {ifname} in {namespace.path}"
        with namespace.entered():
            # without a protocol it receives nothing until it is bound, and then filtered
            self._socket = socket.socket(socket.AF_PACKET, kind, 0)
        try:
            head, _program = compile_filter(_udp_to(port, word))  # head points into the program
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)
            self._socket.bind((ifname, _ETH_P_IP))
        except OSError as error:
            self._socket.close()
            raise KernelError("bind", self._thing, error.errno or 0) from error

    def fileno(self) -> int:
        """The descriptor, for an event loop."""
        return self._socket.fileno()

    def send(self, datagram: Datagram) -> None:
        """Put a datagram on the link.

        Raises:
            KernelError: ENETDOWN, the link is down; EMSGSIZE, longer than the link's MTU.
        """
        try:
            self._socket.send(encode(datagram))
        except OSError as error:
            raise KernelError("send on", self._thing, error.errno or 0) from error

    def receive(self) -> Datagram | None:
        """The next datagram; None when what came is none, or nothing came.

        Raises:
            KernelError: the link went down or away.
        """
        try:
            return decode(self._socket.recv(_LARGEST))
        except BlockingIOError:
            return None
        except OSError as error:
            raise KernelError("receive on", self._thing, error.errno or 0) from error

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def encode(datagram: Datagram) -> bytes:
    """The Ethernet frame with correct checksums."""
    length = _UDP_HEADER + len(datagram.payload)
    ends = {"src": datagram.source, "dst": datagram.target}
    ports = {"sport": datagram.source_port, "dport": datagram.target_port, "len": length}
    pseudo = udp4_pseudo_header(ends | {"len": length}).encode().buf
    covered = pseudo + udpmsg(ports).encode().buf + datagram.payload
    udp = udpmsg(ports | {"csum": _checksum(covered) or 0xFFFF}).encode().buf  # RFC 768: 0 is none
    header = ends | {"len": _IP_HEADER + length, "proto": _PROTOCOL_UDP}
    ip = ip4msg(header | {"csum": _checksum(ip4msg(header).encode().buf)}).encode().buf
    ethernet = ethmsg(
        {"dst": datagram.target_mac, "src": datagram.source_mac, "type": _ETH_P_IP}
    ).encode()
    return bytes(ethernet.buf + ip + udp + datagram.payload)


def decode(frame: bytes) -> Datagram | None:
    """The datagram in an Ethernet frame; None when there is none.

    Checksums are not looked at: those of a veth or an offloading card are filled in later.
    """
    try:
        ethernet = ethmsg(buf=frame).decode()
        ip = ip4msg(buf=frame, offset=ethernet.offset).decode()
        start = ethernet.offset + (ip["verlen"] & _IHL_MASK) * _WORD
        udp = udpmsg(buf=frame, offset=start).decode()
    except ValueError:  # truncated
        return None
    if ethernet["type"] != _ETH_P_IP or ip["proto"] != _PROTOCOL_UDP or udp["len"] < _UDP_HEADER:
        return None
    return Datagram(
        ethernet["src"],
        ip["src"],
        udp["sport"],
        ethernet["dst"],
        ip["dst"],
        udp["dport"],
        frame[start + _UDP_HEADER : start + udp["len"]],
    )


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _udp_to(port: int, word: int | None) -> list[list[int]]:
    """A classic BPF program: unfragmented UDP over IPv4 to ``port`` (linux/filter.h)."""
    second_word = [
        [0x40, 0, 0, 26],  # behind the UDP header and the first word
        [0x15, 0, 1, word or 0],
    ]
    rest = second_word if word is not None else []
    skip = len(rest)
    return [
        [0x28, 0, 0, 12],  # ethertype
        [0x15, 0, 8 + skip, _ETH_P_IP],
        [0x30, 0, 0, 23],  # protocol
        [0x15, 0, 6 + skip, _PROTOCOL_UDP],
        [0x28, 0, 0, 20],  # fragment offset
        [0x45, 4 + skip, 0, 0x1FFF],
        [0xB1, 0, 0, 14],  # length of the IP header
        [0x48, 0, 0, 16],  # destination port behind it
        [0x15, 0, 1 + skip, port],
        *rest,
        [0x06, 0, 0, _LARGEST],
        [0x06, 0, 0, 0],
    ]
