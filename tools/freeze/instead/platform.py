"""pyroute2's configuration keeps the name of the kernel; the real module costs 1 ms."""

import os
import sys


class _Uname:
    def __init__(self) -> None:
        self.system, self.node, self.release, self.version, self.machine = os.uname()
        self.processor = ""

    def __iter__(self) -> "object":
        return iter((self.system, self.node, self.release, self.version, self.machine, ""))

    def __getitem__(self, index: int) -> str:
        return tuple(self)[index]


def uname() -> _Uname:
    """As the kernel tells it."""
    return _Uname()


def machine() -> str:
    """The architecture's name."""
    return os.uname().machine


def architecture(executable: str = "") -> tuple[str, str]:  # noqa: ARG001 - the real one's
    """The width of a pointer."""
    return ("64bit" if sys.maxsize > 1 << 32 else "32bit", "")
