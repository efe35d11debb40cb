"""Every error a plugin can answer with, its CNI code, and what to do about a kernel errno.

The tree::

    CniError                999  anything without a finer code
    ├── VersionError          1  incompatible CNI version
    ├── EnvError              4  environment variable or CNI_ARGS missing, malformed or unknown
    ├── IoError               5  a file cannot be read or written
    ├── DecodeError           6  not JSON, or JSON of the wrong type
    ├── ConfigError           7  a well-formed configuration that asks for something invalid
    ├── NetnsError            8  CNI_NETNS is unusable, or is the plugin's own namespace
    ├── TryAgain             11  transient: the same call may succeed later
    ├── NotAvailable         50  STATUS: ADD cannot be served now
    ├── KernelError         999  the kernel refused an act on an object (errno, act, object)
    ├── CheckFailed         999  CHECK found something other than what ADD made
    └── DelegateError       any  what a delegated plugin answered, passed through unchanged

Code numbers: CNI specification, section "Error"; 8 and 999 are the reference plugins' own.
Only ``cnilib.plugin`` turns an error into a document; everyone else raises.
"""

import errno as _errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class CniError(Exception):
    """An error with a CNI code. ``msg`` is one sentence that names the act and the object.

    ``details`` is for causes and lists that would make the sentence unreadable.
    """

    code = 999

    def __init__(self, msg: str, details: str = "", *, code: int | None = None) -> None:
        super().__init__(msg)
        self.msg = msg
        self.details = details
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.msg} ({self.details})" if self.details else self.msg


class VersionError(CniError):
    """The configuration's cniVersion is not one this plugin speaks, or too old for the command."""

    code = 1


class EnvError(CniError):
    """An environment variable or a CNI_ARGS pair is missing, malformed or unknown."""

    code = 4


class IoError(CniError):
    """A file the plugin keeps or was told to read cannot be read or written."""

    code = 5


class DecodeError(CniError):
    """Bytes that should be JSON are not, or a JSON value has the wrong type."""

    code = 6


class ConfigError(CniError):
    """The network configuration is well formed but asks for something invalid."""

    code = 7


class NetnsError(CniError):
    """CNI_NETNS cannot be opened, is no network namespace, or is the plugin's own."""

    code = 8


class TryAgain(CniError):  # noqa: N818 - the name is what happened
    """A transient condition lasted until the deadline; the runtime may repeat the call."""

    code = 11


class NotAvailable(CniError):  # noqa: N818 - the name is what happened
    """STATUS: the plugin cannot serve ADD requests at present."""

    code = 50


class CheckFailed(CniError):  # noqa: N818 - the name is what happened
    """CHECK: the kernel or a state file differs from what ADD made (expected and found)."""


class DelegateError(CniError):
    """A delegated plugin failed; code, msg and details are its own."""


class KernelError(CniError):
    """The kernel refused ``act`` on ``thing`` with ``errno``; the message carries a hint."""

    def __init__(self, act: str, thing: str, errno: int, *, details: str = "") -> None:
        hint = _HINTS.get((errno, act.split(" ", 1)[0])) or _HINTS.get((errno, ""))
        text = f"failed to {act} {thing}: {os.strerror(errno).lower()}"
        super().__init__(f"{text} ({hint})" if hint else text, details)
        self.act = act
        self.thing = thing
        self.errno = errno


# (errno, first word of the act, or "" for any act) -> what to do about it.
_HINTS: dict[tuple[int, str], str] = {
    (_errno.EPERM, ""): "the plugin needs CAP_NET_ADMIN in this network namespace",
    (_errno.EACCES, ""): "the plugin needs root, or a security policy forbids it",
    (_errno.ENOSPC, ""): "the disk or a kernel table is full",
    (_errno.EROFS, ""): "the file system is read-only",
    (_errno.EOPNOTSUPP, ""): "the running kernel lacks this feature",
    (_errno.ENODEV, "set"): "the link has vanished",
    (_errno.EACCES, "add"): "IPv6 is disabled on that link, see its sysctl disable_ipv6; or the "
    "plugin needs root",
    (_errno.ENETUNREACH, "add"): "the gateway is not on a subnet of the interface",
    (_errno.EADDRNOTAVAIL, "set"): "the address is a multicast or zero address",
    (_errno.EADDRNOTAVAIL, "add"): "its MAC is a multicast or zero address",
}


def one_error(failures: "Sequence[BaseException]") -> CniError:
    """Fold what went wrong in a clean-up into the one error that is reported.

    A single failure keeps its code, msg and details. Of several, the first gives the code and
    the messages are joined.
    """
    errors = [as_cni_error(failure) for failure in failures]
    if len(errors) == 1:
        return errors[0]
    details = "; ".join(error.details for error in errors if error.details)
    return CniError("; ".join(error.msg for error in errors), details, code=errors[0].code)


def as_cni_error(failure: BaseException) -> CniError:
    """``failure`` itself when it has a CNI code, else its text under code 999 (5 for OSError)."""
    if isinstance(failure, CniError):
        return failure
    if isinstance(failure, OSError):
        where = f" {failure.filename}" if failure.filename else ""
        reason = (failure.strerror or str(failure)).lower()
        return IoError(f"i/o failed on{where}: {reason}" if where else f"i/o failed: {reason}")
    return CniError(
        f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__
    )


def causes(failure: BaseException) -> "Iterable[str]":
    """The messages of the exceptions that led to ``failure``, nearest first."""
    cause = failure.__cause__
    while cause is not None:
        yield str(cause) or type(cause).__name__
        cause = cause.__cause__
