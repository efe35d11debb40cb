"""Network namespaces: opening them, entering them, and one rtnetlink socket for each."""

import ctypes
import os
from contextlib import contextmanager

from cnilib.errors import NetnsError
from cnilib.kernel.netlink import NetlinkSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

OWN = "/proc/self/ns/net"
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_NS_GET_NSTYPE = 0xB703  # _IO(NSIO, 0x3), linux/nsfs.h


class Namespace:
    """A network namespace that stays open, and the first argument of every verb.

    ``path`` is the name it was opened by, for messages.
    """

    def __init__(self, path: str, descriptor: int, *, own: bool = False) -> None:
        self.path = path
        self.fd = descriptor
        self._own = own
        self._netlink: NetlinkSocket | None = None

    @classmethod
    def current(cls) -> "Namespace":
        """The namespace the plugin was started in: the host's side."""
        return cls("the host", os.open(OWN, os.O_RDONLY | os.O_CLOEXEC), own=True)

    @classmethod
    def open(cls, path: str) -> "Namespace":
        """The namespace behind a path, symbolic links followed.

        Raises:
            NetnsError: there is no such file, or it is no network namespace.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise NetnsError(f'failed to open netns "{path}": {reason}') from error
        if not _is_network_namespace(descriptor):
            os.close(descriptor)
            raise NetnsError(f'failed to open netns "{path}": it is not a network namespace')
        return cls(path, descriptor)

    @classmethod
    def find(cls, path: str) -> "Namespace | None":
        """The namespace behind a path; None when the path is empty or does not exist.

        Raises:
            NetnsError: it exists and is no network namespace.
        """
        if not path:
            return None
        try:
            return cls.open(path)
        except NetnsError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                return None
            raise

    @property
    def inode(self) -> int:
        """What identifies the namespace while it exists."""
        return os.fstat(self.fd).st_ino

    @property
    def netlink(self) -> NetlinkSocket:
        """The rtnetlink socket that lives in this namespace, opened at its first use."""
        if self._netlink is None:
            with self.entered():
                self._netlink = NetlinkSocket()
        return self._netlink

    @contextmanager
    def entered(self) -> "Iterator[None]":
        """Run a block with the calling thread inside the namespace."""
        if self._own:
            yield
            return
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(self.fd, self.path)
            try:
                yield
            finally:
                _setns(before, "the host")
        finally:
            os.close(before)

    @contextmanager
    def locked(self, deadline: float) -> "Iterator[None]":
        """Have the namespace for oneself: no other call for the container runs the block meanwhile.

        The lock is on the namespace itself, by whatever path it was opened; the reference's sbr
        takes the same. ``deadline`` is a value of ``time.monotonic()``.

        Raises:
            TryAgain: the lock was still taken at the deadline.
            IoError: the kernel cannot lock it.
        """
        from cnilib.store import held

        with held(self.fd, self.path, deadline):
            yield

    def close(self) -> None:
        """Close the namespace and its socket."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None
        os.close(self.fd)

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        failure: "BaseException | None",
        trace: "TracebackType | None",
    ) -> None:
        self.close()


def _is_network_namespace(descriptor: int) -> bool:
    """Ask nsfs for the kind; any other file system does not know the question."""
    import fcntl

    try:
        return fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == _CLONE_NEWNET
    except OSError:
        return False


def _setns(descriptor: int, path: str) -> None:
    """setns(2); Python has it from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno()).lower()
        raise NetnsError(f'failed to enter netns "{path}": {reason}')
