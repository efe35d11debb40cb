"""Plugins have one thread; libraries make locks all the same."""

from _thread import RLock, allocate_lock
from _thread import _local as local

__all__ = ["Lock", "RLock", "local"]

Lock = allocate_lock


def __getattr__(name: str) -> object:
    return __loader__.real(__name__, name)
