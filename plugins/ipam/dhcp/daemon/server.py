"""The socket the plugin talks to: one order, one answer, then the connection is closed."""

import asyncio
import os
import socket
import struct

from cnilib.errors import CniError, ConfigError, IoError, as_cni_error
from cnilib.jsontext import load_object
from cnilib.log import warn
from cnilib.types.base import decode
from plugins.ipam.dhcp.rpc import FOREIGN_PEER, LONGEST, Order, line_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from plugins.ipam.dhcp.daemon.leases import Leases

_ORDER_PATIENCE = 10.0
"""Seconds a peer has to say what it wants."""

_FIRST_PASSED = 3  # sd_listen_fds(3)
_BACKLOG = 1024
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid


class Listening:
    """The listening socket: made, or passed by the service manager, whose it stays."""

    def __init__(self, path: str, passed: socket.socket | None) -> None:
        """Listen at ``path`` unless there is a socket already.

        Raises:
            IoError: another daemon listens there, or the socket cannot be made.
        """
        self.is_passed = passed is not None
        self.path = _own_path(passed) or path if passed else path
        self.socket = passed or _listen(path)

    def close(self) -> None:
        """Stop listening; a socket that we made goes."""
        self.socket.close()
        if not self.is_passed and os.path.exists(self.path):
            os.unlink(self.path)


def passed_socket(environ: "dict[str, str]") -> socket.socket | None:
    """The socket of systemd's socket activation; None without it.

    ``LISTEN_PID`` may be the parent's: that of a launcher which forked.

    Raises:
        ConfigError: more than one socket is passed.
    """
    pids = {str(os.getpid()), str(os.getppid())}
    if environ.get("LISTEN_PID", "") not in pids or environ.get("LISTEN_FDS", "0") == "0":
        return None
    if environ["LISTEN_FDS"] != "1":
        raise ConfigError(f"socket activation passes {environ['LISTEN_FDS']} sockets: expected 1")
    return socket.socket(fileno=_FIRST_PASSED)


class Server:
    """Answers the plugin's orders."""

    def __init__(self, leases: "Leases") -> None:
        self._leases = leases

    async def serve_peer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection. A peer that hangs up before it is answered takes its order back."""
        try:
            if not _may_order(writer):
                return
            async with asyncio.timeout(_ORDER_PATIENCE):
                line = await reader.readline()
            writer.write(await self._answer_unless_hung_up(line, reader))
            await writer.drain()
        except (TimeoutError, ValueError, OSError, _HungUp):
            return
        finally:
            writer.close()

    async def _answer_unless_hung_up(self, line: bytes, reader: asyncio.StreamReader) -> bytes:
        answer = asyncio.ensure_future(self._answer(line))
        hangup = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({answer, hangup}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise _HungUp
            return answer.result()
        finally:
            hangup.cancel()
            answer.cancel()

    async def _answer(self, line: bytes) -> bytes:
        try:
            document = load_object(line, "the order")
        except CniError:
            return FOREIGN_PEER
        try:
            return line_of(await self._obey(decode(Order, document)))
        except (CniError, OSError) as failure:
            error = as_cni_error(failure)
            told = {"code": error.code, "msg": error.msg, "details": error.details}
            return line_of({"error": told})

    async def _obey(self, order: Order) -> "dict[str, Any]":
        match order.command:
            case "ADD":
                return {"result": await self._leases.add(order)}
            case "CHECK":
                self._leases.check(order)
            case "DEL":
                self._leases.delete(order)
            case "GC":
                self._leases.gc(order)
            case "STATUS":
                pass
            case _:
                raise ConfigError(f"the dhcp daemon knows no command {order.command!r}")
        return {}


class _HungUp(Exception):  # noqa: N818 - the name is what happened
    """The plugin was killed, or gave up."""


def _may_order(writer: asyncio.StreamWriter) -> bool:
    """Root and our own user may."""
    peer: socket.socket = writer.get_extra_info("socket")
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    if uid not in {0, os.geteuid()}:
        warn(f"dhcp: process {pid} of user {uid} is not served: only root is")
        return False
    return True


def _own_path(passed: socket.socket) -> str:
    """Where the service manager made it; "" for a socket without a path."""
    name = passed.getsockname()
    return name if isinstance(name, str) else ""


def _listen(path: str) -> socket.socket:
    """A socket at ``path``, in place of one that a killed daemon left."""
    if _somebody_answers(path):
        raise IoError(f"listen unix {path}: address already in use: another daemon answers there")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
    before = os.umask(0o177)
    try:
        if os.path.exists(path):
            os.unlink(path)
        listening.bind(path)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        reason = (error.strerror or str(error)).lower()
        raise IoError(f"failed to listen at {path}: {reason}") from error
    finally:
        os.umask(before)
    return listening


def _somebody_answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


async def start(listening: Listening, leases: "Leases") -> asyncio.AbstractServer:
    """Serve from now on."""
    server = Server(leases)
    return await asyncio.start_unix_server(server.serve_peer, sock=listening.socket, limit=LONGEST)
