"""The compiled part of functools, and what ipaddress, contextlib and pyroute2 use beside it."""

from _functools import _lru_cache_wrapper, cmp_to_key, partial, reduce

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__ = ["cached_property", "cmp_to_key", "lru_cache", "partial", "reduce", "total_ordering"]

WRAPPER_ASSIGNMENTS = ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__")
WRAPPER_UPDATES = ("__dict__",)


def update_wrapper(
    wrapper: "Any",
    wrapped: "Any",
    assigned: "Iterable[str]" = WRAPPER_ASSIGNMENTS,
    updated: "Iterable[str]" = WRAPPER_UPDATES,
) -> "Any":
    """``wrapper``, with the name and the documentation of what it wraps."""
    for attribute in assigned:
        if hasattr(wrapped, attribute):
            setattr(wrapper, attribute, getattr(wrapped, attribute))
    for attribute in updated:
        getattr(wrapper, attribute).update(getattr(wrapped, attribute, {}))
    wrapper.__wrapped__ = wrapped
    return wrapper


def wraps(
    wrapped: "Any",
    assigned: "Iterable[str]" = WRAPPER_ASSIGNMENTS,
    updated: "Iterable[str]" = WRAPPER_UPDATES,
) -> "Callable[[Any], Any]":
    """A decorator of what wraps ``wrapped``."""
    return partial(update_wrapper, wrapped=wrapped, assigned=assigned, updated=updated)


def lru_cache(maxsize: "Any" = 128, typed: bool = False) -> "Any":  # noqa: FBT001, FBT002 - as the real one
    """Keep the last results of a function; with or without parentheses."""
    if callable(maxsize):
        return lru_cache()(maxsize)

    def decorate(function: "Any") -> "Any":
        cached = _lru_cache_wrapper(function, maxsize, typed, _info)
        return update_wrapper(cached, function)

    return decorate


def _info(*figures: "Any") -> "tuple[Any, ...]":
    return figures


class cached_property:  # noqa: N801 - its name
    """A property that is computed once and kept in the instance's ``__dict__``."""

    def __init__(self, compute: "Callable[[Any], Any]") -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: "Any", _owner: "type | None" = None) -> "Any":
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._compute(instance)
        return value


def total_ordering(cls: type) -> type:
    """The comparisons that a class with ``__lt__`` lacks."""
    if "__lt__" not in vars(cls):
        ordered: type = __getattr__("total_ordering")(cls)
        return ordered
    for name, compare in _BY_LESS.items():
        if name not in vars(cls):
            setattr(cls, name, compare)
    return cls


def _greater(self: "Any", other: object) -> "Any":
    less = type(self).__lt__(self, other)
    return less if less is NotImplemented else not less and self != other


def _less_or_equal(self: "Any", other: object) -> "Any":
    less = type(self).__lt__(self, other)
    return less if less is NotImplemented else less or self == other


def _greater_or_equal(self: "Any", other: object) -> "Any":
    less = type(self).__lt__(self, other)
    return less if less is NotImplemented else not less


_BY_LESS = {"__gt__": _greater, "__le__": _less_or_equal, "__ge__": _greater_or_equal}


def __getattr__(name: str) -> "Any":
    return __loader__.real(__name__, name)
