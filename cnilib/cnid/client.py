"""The part of cnid inside every plugin: hand this call over, if there is somebody to take it.

Only built-in modules are imported, not even ``os``: what this costs, every call pays.
"""

import marshal
import posix
import sys

from cnilib.cnid import LARGEST, READY, SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

_PLACES = ("/proc/self/ns/net", "/proc/self/ns/mnt", "/", ".")
_PATIENCE = 5.0
"""Seconds to wait for a server that is there. Two hundred calls at once on two slow cores take one;
running them all by themselves then would take longer than waiting."""


def hand_over(build: str, plugin: str) -> int | None:
    """The exit status of this call, run by cnid; None: nobody has run it, nor will.

    No socket, nobody behind it, another build, another user: all of them are None and silent.
    """
    try:
        posix.stat(SOCKET)
    except OSError:
        return None
    import _socket

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    try:
        return _converse(connection, build, plugin)
    finally:
        connection.close()


def _converse(connection: "socket", build: str, plugin: str) -> int | None:
    opened: list[int] = []
    try:
        request = _request(plugin)
        opened.extend(posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC) for path in _PLACES)
        connection.settimeout(_PATIENCE)
        connection.connect(SOCKET)
        connection.send(build.encode())
        if len(request) > LARGEST or connection.recv(1) != READY:
            return None
        _send(connection, request, (0, 1, 2, *opened))
    except OSError:
        return None
    finally:
        for descriptor in opened:
            posix.close(descriptor)
    try:
        connection.settimeout(None)
        _pass_termination_on(connection)
        status = connection.recv(1)
    except OSError:
        status = b""
    return status[0] if status else _report_loss(plugin)


def _pass_termination_on(connection: "socket") -> None:
    """SIGTERM and SIGINT are the child's: it undoes, says so on stdout, and its status is ours."""
    import _socket
    import signal

    def hang_up(_number: int, _frame: object) -> None:
        connection.shutdown(_socket.SHUT_WR)

    signal.signal(signal.SIGTERM, hang_up)
    signal.signal(signal.SIGINT, hang_up)


def _request(plugin: str) -> bytes:
    posix.umask(umask := posix.umask(0o077))
    return marshal.dumps((plugin, posix.environ, umask))


def _send(connection: "socket", request: bytes, descriptors: tuple[int, ...]) -> None:
    import _socket

    numbers = b"".join(number.to_bytes(4, sys.byteorder) for number in descriptors)
    connection.sendmsg([request], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)])


def _report_loss(plugin: str) -> int:
    """The child was killed: nobody else will tell the runtime."""
    from cnilib.errors import TryAgain
    from cnilib.plugin import error_document

    error = TryAgain(f"cnid's process for {plugin} was killed; run DEL, then try again")
    posix.write(1, error_document(error))
    return 1
