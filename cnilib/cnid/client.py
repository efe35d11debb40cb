"""The part of cnid inside every plugin: hand this call over, if there is somebody to take it.

Only built-in modules are imported: what this costs, every call pays.
"""

import marshal
import os
import sys

from cnilib.cnid import GO, LARGEST, READY, SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

_PLACES = ("/proc/self/ns/net", "/proc/self/ns/mnt", ".")
_PATIENCE = 1.0
"""Seconds to wait for a server that is there; a plugin that runs by itself takes a tenth of it."""


def hand_over(build: str, plugin: str) -> int | None:
    """The exit status of this call, run by cnid; None: nobody has run it, nor will.

    No socket, nobody behind it, another build, another user: all of them are None and silent.
    """
    if not os.path.exists(SOCKET):
        return None
    import _socket

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    try:
        return _converse(connection, build, plugin)
    finally:
        connection.close()


def _converse(connection: "socket", build: str, plugin: str) -> int | None:
    try:
        connection.settimeout(_PATIENCE)
        connection.connect(SOCKET)
        if not _send_request(connection, build, plugin) or connection.recv(1) != READY:
            return None
    except OSError:
        return None
    try:
        connection.settimeout(None)
        connection.send(GO)
        status = connection.recv(1)
    except OSError:
        status = b""
    return status[0] if status else _report_loss(plugin)


def _send_request(connection: "socket", build: str, plugin: str) -> bool:
    import _socket

    os.umask(umask := os.umask(0o077))
    request = marshal.dumps((build, plugin, dict(os.environb), umask))
    if len(request) > LARGEST:
        return False
    opened: list[int] = []
    try:
        opened.extend(os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in _PLACES)
        descriptors = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (0, 1, 2, *opened))
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)
        connection.sendmsg([request], [rights])
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return True


def _report_loss(plugin: str) -> int:
    """The child was killed: nobody else will tell the runtime."""
    from cnilib.errors import TryAgain
    from cnilib.plugin import error_document

    error = TryAgain(f"cnid's process for {plugin} was killed; run DEL, then try again")
    os.write(1, error_document(error))
    return 1
