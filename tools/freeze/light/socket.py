"""Sockets as the kernel has them; the real module makes enumerations of 300 constants."""

import _socket
from _socket import *  # noqa: F403 - all that the real one has of it

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

AddressFamily = SocketKind = int


class socket(_socket.socket):  # noqa: N801 - the real one's name
    """A socket that a ``with`` block closes."""

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()


def __getattr__(name: str) -> object:
    return __loader__.real(__name__, name)
