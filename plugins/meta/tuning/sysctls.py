"""The sysctls of tuning: names, the allow list, writing, restoring, comparing."""

import errno
import os

from cnilib.errors import CheckFailed, CniError, ConfigError, KernelError
from cnilib.kernel.netns import Namespace
from cnilib.kernel.sysctl import read_sysctl, write_sysctl
from cnilib.store import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnilib.undo import Undo

ALLOWLIST = "/etc/cni/tuning/allowlist.conf"
"""One regular expression a line; missing: every sysctl below net may be set."""

_ROOT, _NET = "/proc/sys/", "/proc/sys/net/"
_REFUSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
# What RE2, in which administrators wrote their lists, knows and Python would misread in silence.
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "digit": "0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "word": r"\w",
    "xdigit": "0-9A-Fa-f",
}


def check_allowed(names: "Iterable[str]") -> None:
    """Hold names, as the configuration writes them, against the allow list.

    A name passes when an expression is found anywhere in it.

    Raises:
        ConfigError: a name that no expression matches, or an expression that is none.
        IoError: the list exists and cannot be read.
    """
    data = read_file(ALLOWLIST)
    if data is None:
        return
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    patterns = [line for line in lines if line]
    for name in names:
        if not any(_matches(pattern, name) for pattern in patterns):
            raise ConfigError(
                f"sysctl {name} is not allowed: {ALLOWLIST} allows [{' '.join(patterns)}]"
            )


def path_of(name: str, ifname: str) -> str:
    """The path below /proc/sys that a name of the configuration means.

    Dots separate, unless the first separator is a slash: then dots are literal (sysctl(8)). The
    interface's name is put in last, so that one with dots stays one step of the path.

    Raises:
        ConfigError: it leads outside of net/.
    """
    slashes = 0 <= name.find("/") < (name.find(".") if "." in name else len(name))
    path = name if slashes else name.replace(".", "/")
    path = os.path.normpath(_ROOT + path.replace("IFNAME", ifname, 1))
    if not path.startswith(_NET) or "\0" in path:
        raise ConfigError(
            f"invalid net sysctl key: {name!r} is not below net, and tuning sets no others"
        )
    return path.removeprefix(_ROOT)


def by_path(sysctls: dict[str, str], ifname: str) -> dict[str, str]:
    """The configured values by path below /proc/sys."""
    return {path_of(name, ifname): value for name, value in sysctls.items()}


def current(container: Namespace, paths: "Iterable[str]") -> dict[str, str]:
    """The present values, without those that do not exist or can only be written."""
    found = {path: _read(container, path) for path in paths}
    return {path: value for path, value in found.items() if value is not None}


def write(
    container: Namespace, sysctls: dict[str, str], before: dict[str, str], undo: "Undo"
) -> None:
    """Write all values, verbatim.

    A value that is already there is written, too: some sysctls pass it on to every interface.
    Where /proc/sys is read-only (rootless runtimes), it is good enough that it is there.

    Raises:
        KernelError: there is no such sysctl, or the kernel refuses the value.
    """
    for path, value in sysctls.items():
        if path in before:
            undo.add(f"restore sysctl {path}", _put_back, container.path, path, before[path])
        try:
            write_sysctl(container, path, value)
        except KernelError as error:
            if error.errno not in _REFUSED or not _same(before.get(path), value):
                raise


def restore(container: Namespace, sysctls: dict[str, str]) -> list[CniError]:
    """Write values back, last first; what went wrong. One that has gone with its link is fine."""
    failures: list[CniError] = []
    for path, value in reversed(sysctls.items()):
        try:
            if not _same(_read(container, path), value):
                write_sysctl(container, path, value)
        except KernelError as error:
            if error.errno != errno.ENOENT:
                failures.append(error)
        except ConfigError as error:  # somebody has edited the file
            failures.append(error)
    return failures


def check(container: Namespace, sysctls: dict[str, str]) -> None:
    """Compare, with runs of white space folded: the kernel separates values by tabs.

    Raises:
        CheckFailed: a value differs, or there is no such sysctl.
    """
    for path, value in sysctls.items():
        found = _read(container, path, unreadable=value)
        if not _same(found, value):
            raise CheckFailed(
                f"sysctl {path} in {container.path} is {found!r}, configured is {value!r}"
                if found is not None
                else f"there is no sysctl {path} in {container.path}, configured is {value!r}"
            )


def _read(container: Namespace, path: str, unreadable: str | None = None) -> str | None:
    """A value, None when there is no such sysctl, ``unreadable`` for a write-only one."""
    try:
        return read_sysctl(container, path)
    except KernelError as error:
        if error.errno in _REFUSED:
            return unreadable
        if error.errno in {errno.EISDIR, errno.ENOTDIR}:
            return None
        raise


def _same(found: str | None, wanted: str) -> bool:
    return found is not None and found.split() == wanted.split()


def _put_back(netns: str, path: str, value: str) -> None:
    with Namespace.open(netns) as container:
        write_sysctl(container, path, value)


def _matches(pattern: str, name: str) -> bool:
    import re

    python = pattern
    for word, characters in _CLASSES.items():
        python = python.replace(f"[:{word}:]", characters)
    try:
        return re.search(python, name, re.ASCII) is not None
    except re.error as error:
        raise ConfigError(
            f"invalid expression {pattern!r} in {ALLOWLIST}: {error}; correct that line"
        ) from None
