"""Sockets as the kernel has them; the real module makes enumerations of 300 constants."""

import _socket
from _socket import *  # noqa: F403 - all that the real one has of it
from sys import byteorder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

_INT = 4  # bytes of a descriptor
AddressFamily = SocketKind = int


class socket(_socket.socket):  # noqa: N801 - the real one's name
    """A socket that a ``with`` block closes."""

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()

    def accept(self) -> "tuple[socket, Any]":
        """The next connection, and who it is from."""
        descriptor, address = self._accept()
        return socket(fileno=descriptor), address


def recv_fds(connection: socket, size: int, most: int) -> "tuple[bytes, list[int], int, Any]":
    """Data and the descriptors that came with it."""
    data, control, flags, address = connection.recvmsg(size, CMSG_LEN(most * _INT))  # noqa: F405
    received = [
        int.from_bytes(part[place : place + _INT], byteorder, signed=True)
        for level, kind, part in control
        if (level, kind) == (SOL_SOCKET, SCM_RIGHTS)  # noqa: F405
        for place in range(0, len(part) - len(part) % _INT, _INT)
    ]
    return data, received, flags, address


def __getattr__(name: str) -> object:
    return __loader__.real(__name__, name)
