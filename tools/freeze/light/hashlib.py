"""The digests that names are made with, where the interpreter has them without OpenSSL."""

from contextlib import suppress

with suppress(ImportError):  # 3.11
    from _sha256 import sha256
    from _sha512 import sha512
with suppress(ImportError):  # from 3.12 on
    from _sha2 import sha256, sha512

__all__ = ["sha256", "sha512"]


def __getattr__(name: str) -> object:
    return __loader__.real(__name__, name)
