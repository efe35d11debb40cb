"""The daemon's command line, as Go's ``flag`` package reads it: one or two dashes, no order."""

from typing import NamedTuple

from plugins.ipam.dhcp.conf import DEFAULT_SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

USAGE = f"""\
Usage of dhcp daemon:
  -broadcast
        ask servers to answer by broadcast (needed on ipvlan)
  -hostprefix PREFIX
        put before the socket's path and every network namespace's path
  -pidfile PATH
        write the process id to this file
  -resendmax DURATION
        longest pause between two attempts to get a lease (default 1m2s)
  -resendtimeout DURATION
        give up getting a lease after this time (default 3m28s)
  -socketpath PATH
        listen on this socket (default {DEFAULT_SOCKET})
  -statedir DIRECTORY
        keep the leases here instead of in <socket>.leases
  -timeout DURATION
        wait so long for an answer, then twice and four times as long (default 10s)
Durations are like 300ms, 10s or 1m30s.
"""

_UNITS = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TRUE, _FALSE = {"1", "t", "T", "true", "TRUE", "True"}, {"0", "f", "F", "false", "FALSE", "False"}


class Flags(NamedTuple):
    """What the daemon is told; times in seconds."""

    pidfile: str = ""
    hostprefix: str = ""
    socketpath: str = DEFAULT_SOCKET
    statedir: str = ""
    broadcast: bool = False
    timeout: float = 10.0
    resendmax: float = 62.0
    resendtimeout: float = 208.0


class UsageError(Exception):
    """The command line is wrong; an empty text asks for help."""


def parse_flags(arguments: list[str]) -> Flags:
    """The flags in ``arguments``; what follows the first word without a dash is ignored.

    Raises:
        UsageError: an unknown flag, a value missing or wrong; with an empty text, ``-h``.
    """
    found: dict[str, Any] = {}
    words = list(arguments)
    while words and words[0].startswith("-") and words[0] not in {"-", "--"}:
        name, equals, text = words.pop(0).removeprefix("-").removeprefix("-").partition("=")
        if name in {"h", "help"}:
            raise UsageError
        if name not in _PARSERS:
            raise UsageError(f"flag provided but not defined: -{name}")
        if not equals and name == "broadcast":
            text = "true"
        elif not equals:
            if not words:
                raise UsageError(f"flag needs an argument: -{name}")
            text = words.pop(0)
        try:
            found[name] = _PARSERS[name](text)
        except ValueError as error:
            raise UsageError(f"invalid value {text!r} for flag -{name}: {error}") from None
    return Flags()._replace(**found)


def parse_duration(text: str) -> float:
    """Seconds, of a duration in Go's form: ``1h30m``, ``1.5s``, ``300ms``, ``0``.

    Raises:
        ValueError: it is none, or negative.
    """
    if text == "0":
        return 0.0
    seconds, rest = 0.0, text
    while rest:
        number = _leading(rest, "0123456789.")
        rest = rest[len(number) :]
        unit = _leading(rest, "nu\u00b5msh")
        while unit and unit not in _UNITS:
            unit = unit[:-1]
        if not unit or number.count(".") > 1 or not number.strip("."):
            raise ValueError("expected a duration such as 10s or 1m30s")
        seconds += float(number) * _UNITS[unit]
        rest = rest[len(unit) :]
    if not text:
        raise ValueError("expected a duration such as 10s or 1m30s")
    return seconds


def _leading(text: str, characters: str) -> str:
    return text[: len(text) - len(text.lstrip(characters))]


def _boolean(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise ValueError("expected true or false")
    return text in _TRUE


_PARSERS: "dict[str, Callable[[str], object]]" = {
    "pidfile": str,
    "hostprefix": str,
    "socketpath": str,
    "statedir": str,
    "broadcast": _boolean,
    "timeout": parse_duration,
    "resendmax": parse_duration,
    "resendtimeout": parse_duration,
}
