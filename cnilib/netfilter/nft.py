"""Transactions through libnftables: all of a text is applied, or nothing.

The library is loaded at the first transaction and speaks to the kernel itself; no ``nft`` binary
is needed. Its errors are texts only, so the few that decide what happens next are told apart here.
"""

import time

from cnilib.errors import CniError, ConfigError, TryAgain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIBRARY = "libnftables.so.1"
_TRIES = 10
_PAUSE = (0.005, 0.1)
_BUSY = (
    "Device or resource busy",
    "Interrupted system call",
    "Resource temporarily unavailable",
    "Numerical result out of range",
)
_UNSUPPORTED = ("Operation not supported", "Protocol not supported", "cache initialization failed")


class NftMissingError(CniError):
    """Something the transaction relies on does not exist (ENOENT)."""


class NftExistsError(CniError):
    """A map holds the key with other data, or what was to be created exists (EEXIST)."""


class NftNotSupportedError(CniError):
    """The kernel lacks nf_tables, or a part of it that is needed."""


class NftRefusedError(CniError):
    """The commands are wrong, for example the words of a condition; details have the reason."""


class _Context:
    """The one libnftables context of this process."""

    nft: "Any" = None


def load() -> None:
    """Have the library in memory, for processes that are forked off this one.

    No context is made: its socket would belong to this process and its network namespace.
    """
    import ctypes
    from contextlib import suppress

    with suppress(ImportError, OSError):  # whoever needs it will be told
        import nftables  # noqa: F401 - kept loaded

        ctypes.CDLL(_LIBRARY)


def run(text: str) -> None:
    """Apply commands in nft's language as one transaction.

    Raises:
        NftMissingError: a table, chain, set or element does not exist.
        NftExistsError: an object or an element with other data does.
        NftNotSupportedError: the kernel lacks a feature; the message names the option.
        TryAgain: others kept changing the ruleset.
        NftRefusedError, CniError: anything else, with the library's text as details.
    """
    error = ""
    for _ in range(_TRIES):
        code, _, error = _library(json=False).cmd(text)
        if code == 0:
            return
        if not any(words in error for words in _BUSY):
            raise _failure(error)
        import random

        time.sleep(random.uniform(*_PAUSE))  # noqa: S311 - jitter needs no secrecy
    raise TryAgain("the nftables ruleset stays busy; try again", error.strip())


def listing(command: str) -> "list[dict[str, Any]]":
    """What ``list ...`` answers, as libnftables-json(5) has it; empty when it does not exist."""
    import json

    code, output, error = _library(json=True).cmd(command)
    if code != 0:
        failure = _failure(error)
        if isinstance(failure, NftMissingError | NftNotSupportedError):
            return []
        raise failure
    objects: list[dict[str, Any]] = json.loads(output)["nftables"] if output else []
    return objects


def quoted(text: str) -> str:
    """``text`` as a string of nft's language, which has no escapes.

    Raises:
        ConfigError: it cannot be written: a quote, a line break, or ``*``, nft's wildcard.
    """
    if any(char in '"*\n\0' for char in text):
        raise ConfigError(f"the name {text!r} cannot be used in a packet filter rule")
    return f'"{text}"'


def _library(*, json: bool) -> "Any":
    if _Context.nft is None:
        try:
            import nftables

            _Context.nft = nftables.Nftables()
        except (ImportError, OSError) as error:
            raise NftNotSupportedError(f"cannot load libnftables: {error}") from error
        _Context.nft.set_handle_output(True)
    _Context.nft.set_json_output(json)
    return _Context.nft


def _failure(error: str) -> CniError:
    text = error.strip()
    if "No such file or directory" in text:
        return NftMissingError("nftables: an object does not exist", text)
    if "File exists" in text:
        return NftExistsError("nftables: an object exists already", text)
    if any(words in text for words in _UNSUPPORTED):
        return NftNotSupportedError(
            "the kernel lacks nf_tables or a part of it that is needed "
            "(modprobe nf_tables nft_chain_nat nft_fib nft_ct; CONFIG_NF_TABLES)",
            text,
        )
    if "Operation not permitted" in text:
        return CniError("nftables refused the transaction: CAP_NET_ADMIN is needed", text)
    return NftRefusedError("nftables refused the transaction", text)
