"""What messages and copies need of weak references."""

from _weakref import proxy, ref

__all__ = ["proxy", "ref"]


def __getattr__(name: str) -> object:
    return __loader__.real(__name__, name)
