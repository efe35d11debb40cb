"""The compiled part of collections."""

import _collections_abc
import sys
from _collections import OrderedDict, defaultdict, deque

__all__ = ["OrderedDict", "defaultdict", "deque"]

sys.modules["collections.abc"] = _collections_abc  # as the real module does


def __getattr__(name: str) -> object:
    return __loader__.real(__name__, name)
