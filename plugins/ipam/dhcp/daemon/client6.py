"""The DHCPv6 client (RFC 8415): one non-temporary address, over UDP from the link-local address.

DHCPv6 gives an address without a prefix length and no router: both are the business of router
advertisements, which the container's kernel reads. So the address is a /128 and there is no route.
"""

import asyncio
import hashlib
import secrets
import socket
import time
from ipaddress import IPv6Address, IPv6Interface

from cnilib.errors import CniError, KernelError
from plugins.ipam.dhcp.daemon import messages6
from plugins.ipam.dhcp.daemon.client import Refused, ask
from plugins.ipam.dhcp.daemon.grant import Grant
from plugins.ipam.dhcp.daemon.messages6 import Association, Leased, Message
from plugins.ipam.dhcp.daemon.names import decode_names
from plugins.ipam.dhcp.daemon.times import Times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from plugins.ipam.dhcp.daemon.client import Wishes
    from plugins.ipam.dhcp.daemon.flags import Flags
    from plugins.ipam.dhcp.daemon.place import Place

_RATIOS = (0.5, 0.8)  # T1 and T2 as parts of the preferred lifetime, section 14.2
_POLL = 0.1
_LARGEST = 65535
_LONGEST_ELAPSED = 0xFFFF
_NAMES = {
    messages6.SOLICIT: "a SOLICIT",
    messages6.REQUEST: "a REQUEST",
    messages6.RENEW: "a RENEW",
    messages6.REBIND: "a REBIND",
}
_REASONS = {2: "it has no address left", 3: "it knows no such lease", 4: "of another link"}


class Client6:
    """A client on one link."""

    def __init__(self, place: "Place", wishes: "Wishes", flags: "Flags") -> None:
        self._place = place
        self._flags = flags
        self._suggest = wishes.suggest
        self._duid = messages6.duid(hashlib.sha256(wishes.client_id).digest())
        self._iaid = hashlib.sha256(place.ifname.encode()).digest()[:4]

    def __str__(self) -> str:
        return f"DHCPv6 on {self._place}"

    async def acquire(self) -> Grant:
        """SOLICIT, the first ADVERTISE with an address, REQUEST, REPLY."""
        self._place.allow_ipv6()
        hint = (Leased(IPv6Address(self._suggest)),) if self._suggest else ()
        with _Socket(*await self._link_local(), self._place) as connection:
            offer = await self._ask(connection, messages6.SOLICIT, hint, b"", self._is_usable)
            server = offer.option(messages6.SERVER_ID)
            addresses = self._offered(offer)[:1]
            reply = await self._ask(connection, messages6.REQUEST, addresses, server, _is_reply)
        return self._granted(reply)

    async def renew(self, grant: Grant) -> Grant:
        """Ask the server that granted; by multicast, as every message."""
        return await self._extend(messages6.RENEW, grant, bytes.fromhex(grant.server))

    async def rebind(self, grant: Grant) -> Grant:
        """Ask any server."""
        return await self._extend(messages6.REBIND, grant, b"")

    def release(self, grant: Grant) -> None:
        """Tell the server; its REPLY is not awaited."""
        found = self._place.link_local()
        if found is None:
            raise CniError(f"{self._place.ifname} has no link-local address to release from")
        message = self._message(
            messages6.RELEASE, (_leased(grant),), bytes.fromhex(grant.server), 0
        )
        with _Socket(*found, self._place) as connection:
            connection.send(messages6.encode(message))

    async def _extend(self, kind: int, grant: Grant, server: bytes) -> Grant:
        with _Socket(*await self._link_local(), self._place) as connection:
            return self._granted(
                await self._ask(connection, kind, (_leased(grant),), server, _is_reply)
            )

    async def _link_local(self) -> tuple[str, int]:
        """Duplicate address detection takes a second or two on a link that just came up."""
        while (found := self._place.link_local()) is None:  # noqa: ASYNC110 - the kernel's doing
            await asyncio.sleep(_POLL)
        return found

    async def _ask(
        self,
        connection: "_Socket",
        kind: int,
        addresses: tuple[Leased, ...],
        server: bytes,
        accepts: "Callable[[Message], bool]",
    ) -> Message:
        message = self._message(kind, addresses, server, 0)
        started = time.monotonic()

        def send() -> None:
            elapsed = min(int((time.monotonic() - started) * 100), _LONGEST_ELAPSED)
            aged = self._message(kind, addresses, server, elapsed)._replace(xid=message.xid)
            connection.send(messages6.encode(aged))

        def receive() -> Message | None:
            reply = messages6.decode(connection.receive())
            belongs = (
                reply is not None
                and reply.xid == message.xid
                and reply.option(messages6.CLIENT_ID) == self._duid
                and bool(reply.option(messages6.SERVER_ID))
            )
            return reply if reply is not None and belongs and accepts(reply) else None

        what = f"{_NAMES[kind]} (DHCPv6) on {self._place}"
        return await ask(send, receive, connection.fileno(), self._flags.timeout, what)

    def _message(
        self, kind: int, addresses: tuple[Leased, ...], server: bytes, elapsed: int
    ) -> Message:
        wanted = (messages6.DNS_SERVERS, messages6.DOMAIN_SEARCH)
        association = Association(self._iaid, addresses=addresses)
        options = [
            (messages6.CLIENT_ID, self._duid),
            (messages6.ELAPSED, elapsed.to_bytes(2, "big")),
            (messages6.IA_NA, messages6.encode_association(association)),
        ]
        if server:
            options.append((messages6.SERVER_ID, server))
        if kind != messages6.RELEASE:
            codes = b"".join(code.to_bytes(2, "big") for code in wanted)
            options.append((messages6.WANTED, codes))
        return Message(kind, secrets.randbits(24), options)

    def _is_usable(self, message: Message) -> bool:
        return message.kind == messages6.ADVERTISE and bool(self._offered(message))

    def _offered(self, message: Message) -> tuple[Leased, ...]:
        found = messages6.find_association(message, self._iaid)
        return found.addresses if found else ()

    def _granted(self, reply: Message) -> Grant:
        """What a REPLY says.

        Raises:
            Refused: it has no address for us.
        """
        association = messages6.find_association(reply, self._iaid) or Association(self._iaid)
        status = association.status or messages6.status_of(reply.options)
        leased = next((item for item in association.addresses if item.valid), None)
        if status or leased is None:
            reason = _REASONS.get(status, f"status {status}")
            raise Refused(f"the DHCPv6 server refuses the address: {reason}")
        t1, t2 = association.t1, association.t2
        preferred = leased.preferred or leased.valid
        return Grant(
            address=IPv6Interface((leased.address, 128)),
            gateway=None,
            routes=[],
            dns=_dns(reply),
            server=reply.option(messages6.SERVER_ID).hex(),
            server_mac="",
            times=Times.of(
                leased.valid,
                t1 or int(preferred * _RATIOS[0]),
                t2 or int(preferred * _RATIOS[1]),
                ratios=_RATIOS,
            ),
        )


class _Socket:
    """UDP between the client's port of a link-local address and all servers of the link."""

    def __init__(self, address: str, index: int, place: "Place") -> None:
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._to = (messages6.SERVERS, messages6.SERVER_PORT, 0, index)
        self._thing = f"DHCPv6 socket on {place}"
        with place.opened() as (namespace, _), namespace.entered():
            self._socket = socket.socket(socket.AF_INET6, kind)
        try:
            self._socket.bind((address, messages6.CLIENT_PORT, 0, index))
        except OSError as error:
            self._socket.close()
            raise KernelError("bind", self._thing, error.errno or 0) from error

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendto(data, self._to)
        except OSError as error:
            raise KernelError("send on", self._thing, error.errno or 0) from error

    def receive(self) -> bytes:
        try:
            return self._socket.recv(_LARGEST)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise KernelError("receive on", self._thing, error.errno or 0) from error

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def _is_reply(message: Message) -> bool:
    return message.kind == messages6.REPLY


def _leased(grant: Grant) -> Leased:
    return Leased(IPv6Address(grant.address.ip.packed))


def _dns(reply: Message) -> dict[str, list[str]]:
    """RFC 3646."""
    servers = reply.option(messages6.DNS_SERVERS)
    settings = {
        "nameservers": [
            str(IPv6Address(servers[i : i + 16])) for i in range(0, len(servers) - 15, 16)
        ],
        "search": decode_names(reply.option(messages6.DOMAIN_SEARCH)),
    }
    return {key: value for key, value in settings.items() if value}
