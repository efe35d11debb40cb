"""Importing a module by its name; the real module loads ``warnings`` for it."""

from _frozen_importlib import _gcd_import as import_module

__all__ = ["import_module"]


def __getattr__(name: str) -> object:
    return __loader__.real(__name__, name)
