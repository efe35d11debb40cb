"""Sysctls of a network namespace, by their path below /proc/sys."""

import os

from cnilib.errors import ConfigError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnilib.kernel.netns import Namespace

_ROOT = "/proc/sys/"
_FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}


def read_sysctl(namespace: "Namespace", key: str) -> str | None:
    """The value without its trailing newline; None when there is no such sysctl.

    ``key`` is a slash path such as ``net/ipv4/conf/eth0/arp_notify``.

    Raises:
        ConfigError: the path leads elsewhere.
        KernelError: it exists and cannot be read.
    """
    path = _path(key)
    try:
        with namespace.entered(), open(path, "rb") as file:
            return file.read().decode("utf-8", "replace").removesuffix("\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KernelError("read sysctl", _thing(namespace, key), error.errno or 0) from error


def write_sysctl(namespace: "Namespace", key: str, value: str) -> None:
    """Set a value.

    Raises:
        ConfigError: the path leads elsewhere.
        KernelError: ENOENT, there is no such sysctl; EINVAL, the value is refused; EROFS.
    """
    path = _path(key)
    act = f"write {value!r} to sysctl"
    try:
        with namespace.entered():
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, value.encode())
            finally:
                os.close(descriptor)
    except OSError as error:
        raise KernelError(act, _thing(namespace, key), error.errno or 0) from error


def ensure_sysctl(namespace: "Namespace", key: str, value: str) -> None:
    """Set a value unless it is set: a read-only /proc/sys with the right value is fine."""
    if read_sysctl(namespace, key) != value:
        write_sysctl(namespace, key, value)


def ensure_forwarding(namespace: "Namespace", versions: "Iterable[int]") -> None:
    """Have a namespace route packets of these IP versions (4, 6) between its links."""
    for version in versions:
        ensure_sysctl(namespace, _FORWARDING[version], "1")


def _path(key: str) -> str:
    steps = key.split("/")
    if not key or any(step in {"", ".", ".."} for step in steps) or set(key) & {"\0", "\n"}:
        raise ConfigError(f"invalid sysctl name {key!r}: expected a path below /proc/sys")
    return _ROOT + key


def _thing(namespace: "Namespace", key: str) -> str:
    return f"{key} in {namespace.path}"
