"""Signals by number; the real module makes enumerations of them."""

from _signal import *  # noqa: F403


def __getattr__(name: str) -> object:
    return __loader__.real(__name__, name)
