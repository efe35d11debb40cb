"""The DHCPv4 client (RFC 2131, dhcp.md 3): every message over a packet socket.

So the address need not be on the link, and what a server sends to it is seen all the same.
"""

import asyncio
import secrets
from contextlib import contextmanager
from ipaddress import IPv4Interface
from typing import NamedTuple

from cnilib.errors import CniError
from cnilib.kernel import dhcp4
from cnilib.kernel.packets import BROADCAST, BROADCAST_MAC, UNSPECIFIED, Datagram, PacketSocket
from plugins.ipam.dhcp.daemon import options4
from plugins.ipam.dhcp.daemon.client import Refused, Unusable, ask
from plugins.ipam.dhcp.daemon.grant import Grant
from plugins.ipam.dhcp.daemon.times import DEFAULT_LEASE, Times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plugins.ipam.dhcp.daemon.client import Wishes
    from plugins.ipam.dhcp.daemon.flags import Flags
    from plugins.ipam.dhcp.daemon.place import Place

_MAX_SIZE = 1500
_RATIOS = (0.5, 0.85)  # T1 and T2, where the server says nothing
_NAMES = {dhcp4.DISCOVER: "a DISCOVER", dhcp4.REQUEST: "a REQUEST"}


class _Answer(NamedTuple):
    message: dhcp4.Message
    mac: str

    @property
    def server(self) -> str:
        """The server identifier; "" when there is none."""
        servers = options4.addresses(self.message.options, dhcp4.SERVER_ID)
        return str(servers[0]) if servers else ""


class _Way(NamedTuple):
    """Between whom a message travels."""

    source: str = UNSPECIFIED
    target: str = BROADCAST
    target_mac: str = BROADCAST_MAC


class Client4:
    """A client on one link."""

    def __init__(self, place: "Place", wishes: "Wishes", flags: "Flags") -> None:
        self._place = place
        self._wishes = wishes
        self._flags = flags
        self._broadcast = dhcp4.BROADCAST_FLAG if flags.broadcast else 0

    def __str__(self) -> str:
        return f"DHCPv4 on {self._place}"

    async def acquire(self) -> Grant:
        """DISCOVER, the first OFFER, REQUEST, ACK."""
        hint = {dhcp4.REQUESTED_IP: _packed(self._wishes.suggest)} if self._wishes.suggest else {}
        xid = secrets.randbits(32)
        with self._place.opened() as (namespace, link):
            mac = link.mac
            socket = PacketSocket(namespace, link.name, dhcp4.CLIENT_PORT, xid)
        with _closed_aside(socket):
            discover = self._message(dhcp4.DISCOVER, xid, mac, hint)
            offer = await self._ask(socket, discover, _Way(), _is_offer)
            chosen = {
                dhcp4.REQUESTED_IP: _packed(offer.message.yiaddr),
                dhcp4.SERVER_ID: _packed(offer.server),
            }
            request = self._message(dhcp4.REQUEST, xid, mac, chosen)
            answer = await self._ask(
                socket, request, _Way(), lambda a: _is_verdict(a) and a.server == offer.server
            )
        return self._granted(answer, None)

    async def renew(self, grant: Grant) -> Grant:
        """From the address to the server, both on IP and on the link (RFC 2131 section 4.4.5)."""
        way = _Way(str(grant.address.ip), grant.server, grant.server_mac)
        return await self._extend(grant, way, flags=0)

    async def rebind(self, grant: Grant) -> Grant:
        """From the address to everybody."""
        way = _Way(str(grant.address.ip))
        return await self._extend(grant, way, flags=self._broadcast)

    def release(self, grant: Grant) -> None:
        """From the address to the server; one datagram."""
        with self._place.opened() as (namespace, link):
            mac = link.mac
            socket = PacketSocket(namespace, link.name, dhcp4.CLIENT_PORT)
        options = self._identity() | {
            dhcp4.MESSAGE_TYPE: bytes((dhcp4.RELEASE,)),
            dhcp4.SERVER_ID: _packed(grant.server),
        }
        address = str(grant.address.ip)
        message = dhcp4.Message(secrets.randbits(32), mac, options, ciaddr=address)
        with _closed_aside(socket):
            socket.send(_datagram(message, _Way(address, grant.server, grant.server_mac)))

    async def _extend(self, grant: Grant, way: _Way, flags: int) -> Grant:
        with self._place.opened() as (namespace, link):
            message = self._message(dhcp4.REQUEST, secrets.randbits(32), link.mac, {})
            socket = PacketSocket(namespace, link.name, dhcp4.CLIENT_PORT, message.xid)
        message = message._replace(ciaddr=str(grant.address.ip), flags=flags)
        with _closed_aside(socket):
            answer = await self._ask(socket, message, way, _is_verdict)
        return self._granted(answer, grant)

    async def _ask(
        self,
        socket: PacketSocket,
        message: dhcp4.Message,
        way: _Way,
        accepts: "Callable[[_Answer], bool]",
    ) -> _Answer:
        def receive() -> _Answer | None:
            datagram = socket.receive()
            reply = dhcp4.decode(datagram.payload) if datagram else None
            if datagram is None or reply is None or not _belongs_to(reply, message):
                return None
            answer = _Answer(reply, datagram.source_mac)
            return answer if accepts(answer) else None

        what = f"{_NAMES[message.kind]} on {self._place}"
        datagram = _datagram(message, way)
        return await ask(
            lambda: socket.send(datagram), receive, socket.fileno(), self._flags.timeout, what
        )

    def _message(self, kind: int, xid: int, mac: str, more: dict[int, bytes]) -> dhcp4.Message:
        """The wishes, and on top what the protocol needs."""
        options = (
            {dhcp4.MAX_SIZE: _MAX_SIZE.to_bytes(2, "big")}
            | self._wishes.provide
            | self._identity()
            | {dhcp4.PARAMETERS: bytes(self._wishes.request)}
            | more
            | {dhcp4.MESSAGE_TYPE: bytes((kind,))}
        )
        return dhcp4.Message(xid, mac, options, flags=self._broadcast)

    def _identity(self) -> dict[int, bytes]:
        return {dhcp4.CLIENT_ID: self._wishes.client_id}

    def _granted(self, answer: _Answer, former: Grant | None) -> Grant:
        """What an ACK says.

        Raises:
            Refused: it is a NAK.
            Unusable: it has no subnet mask; the lease is given back.
        """
        options = answer.message.options
        if answer.message.kind == dhcp4.NAK:
            reason = options.get(dhcp4.MESSAGE, b"").decode("utf-8", "replace")
            raise Refused(f"DHCP server {answer.server} refuses the address", reason)
        length = options4.prefix_length(options)
        if length is None and former:
            length = former.address.network.prefixlen
        times = Times.of(
            options4.number(options, dhcp4.LEASE_TIME) or DEFAULT_LEASE,
            options4.number(options, dhcp4.T1),
            options4.number(options, dhcp4.T2),
            ratios=_RATIOS,
        )
        grant = Grant(
            address=IPv4Interface((answer.message.yiaddr, 32 if length is None else length)),
            gateway=options4.gateway(options),
            routes=options4.routes(options),
            dns=options4.dns(options),
            server=answer.server or (former.server if former else ""),
            server_mac=answer.mac,
            times=times,
        )
        if length is None:
            self.release(grant)
            raise Unusable(
                f"DHCP server {answer.server} sent no valid subnet mask (option 1) with address "
                f"{answer.message.yiaddr}: it is given back"
            )
        return grant


@contextmanager
def _closed_aside(socket: PacketSocket) -> "Iterator[None]":
    """Close a packet socket in another thread: the kernel waits 10 ms for an RCU grace period."""
    try:
        yield
    finally:
        asyncio.get_running_loop().run_in_executor(None, socket.close)


def _is_offer(answer: _Answer) -> bool:
    return answer.message.kind == dhcp4.OFFER and bool(answer.server) and _has_address(answer)


def _is_verdict(answer: _Answer) -> bool:
    kind = answer.message.kind
    return kind == dhcp4.NAK or (kind == dhcp4.ACK and _has_address(answer))


def _has_address(answer: _Answer) -> bool:
    return answer.message.yiaddr != UNSPECIFIED


def _belongs_to(reply: dhcp4.Message, message: dhcp4.Message) -> bool:
    return reply.is_reply and reply.xid == message.xid and reply.client_mac == message.client_mac


def _datagram(message: dhcp4.Message, way: _Way) -> Datagram:
    return Datagram(
        message.client_mac,
        way.source,
        dhcp4.CLIENT_PORT,
        way.target_mac,
        way.target,
        dhcp4.SERVER_PORT,
        dhcp4.encode(message),
    )


def _packed(address: str) -> bytes:
    try:
        return IPv4Interface(address).ip.packed
    except ValueError as error:
        raise CniError(f"{address!r} is no IPv4 address") from error
