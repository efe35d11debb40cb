"""State files: a lock that a killed holder cannot leave behind, and all-or-nothing writes.

A lock is ``flock(2)`` on a file that stays: the kernel drops it with the process. A file is
written under a temporary name, fsynced and renamed (or linked, where it must not exist yet), so
that a reader, a full disk or a power cut never shows half of it.
"""

import fcntl
import os
import time
from contextlib import contextmanager

from cnilib.errors import IoError, TryAgain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = 50.0  # seconds that a call may take in all: below CRI-O's 60 (protocol.md 8)
_LEAST_PATIENCE = 5.0
_SOON = 1e-6
_CHUNK = 1 << 14


@contextmanager
def locked(path: str, deadline: float | None = None, mode: int = 0o600) -> "Iterator[None]":
    """Hold the lock on the file ``path``, which is made if missing; so is its directory.

    ``deadline`` is a value of ``time.monotonic()``; without one it is that of the process.

    Raises:
        TryAgain: the lock was still taken at the deadline; names the holder where known.
        IoError: the lock file cannot be opened.
    """
    descriptor = _open_lock(path, mode)
    try:
        _acquire(descriptor, path, deadline)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def held(descriptor: int, path: str, deadline: float) -> "Iterator[None]":
    """Hold the lock on an open file, which is called ``path`` in messages.

    Raises:
        TryAgain: the lock was still taken at the deadline, a value of ``time.monotonic()``.
        IoError: the file cannot be locked.
    """
    _acquire(descriptor, path, deadline)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def read_file(path: str) -> bytes | None:
    """The content of a file; None when it does not exist.

    Raises:
        IoError: it exists and cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:  # a file object costs three times as much, and a large network has many leases
            content = b""
            while chunk := os.read(descriptor, _CHUNK):
                content += chunk
            return content
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _io_error("read", path, error) from error


def write_atomic(path: str, data: bytes, mode: int = 0o600) -> None:
    """Replace the content of ``path``; its directory is made (0755) if missing.

    Raises:
        IoError: nothing was changed; for example the disk is full.
    """
    try:
        temporary = _write_temporary(path, data, mode)
        with _unlinked_on_failure(temporary):
            os.rename(temporary, path)
        _sync_directory(path)
    except OSError as error:
        raise _io_error("write", path, error) from error


def create_exclusive(path: str, data: bytes, mode: int = 0o600) -> bool:
    """Create ``path`` with its whole content at once; False when it exists already.

    Raises:
        IoError: nothing was created; for example the disk is full.
    """
    try:
        temporary = _write_temporary(path, data, mode)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)
        _sync_directory(path)
    except OSError as error:
        raise _io_error("create", path, error) from error
    return True


def remove_file(path: str) -> bool:
    """Delete a file; False when there was none.

    Raises:
        IoError: it exists and cannot be deleted.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _io_error("remove", path, error) from error
    return True


def ensure_directory(path: str, mode: int = 0o755) -> None:
    """Make a directory and its parents.

    Raises:
        IoError: it cannot be made, or a file is in the way.
    """
    try:
        os.makedirs(path, mode, exist_ok=True)
    except OSError as error:
        raise _io_error("create directory", path, error) from error


def process_deadline() -> float:
    """The ``time.monotonic()`` at which this process, which serves one call, stops waiting.

    That leaves a moment in any case: what undoes an ADD that ran out of time must have the lock
    as well, and the runtime kills us soon.
    """
    return time.monotonic() + max(_PATIENCE - _process_age(), _LEAST_PATIENCE)


def _process_age() -> float:
    """Seconds since this process began: field 22 of /proc/self/stat, proc(5)."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began


def _open_lock(path: str, mode: int) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileNotFoundError:
        ensure_directory(os.path.dirname(path))
    except OSError as error:
        raise _io_error("open lock file", path, error) from error
    try:
        return os.open(path, flags, mode)
    except OSError as error:
        raise _io_error("open lock file", path, error) from error


def _acquire(descriptor: int, path: str, deadline: float | None) -> None:
    try:
        if not _acquired_at_once(descriptor):
            with _given_up_at(deadline or process_deadline()):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
    except _DeadlineError:
        raise TryAgain(f"lock {path} is held{_holder(descriptor)}; try again") from None
    except OSError as error:
        raise _io_error("lock", path, error) from error


def _acquired_at_once(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _DeadlineError(BaseException):
    """Raised in the middle of a system call, so no handler of errors on the way may swallow it."""


@contextmanager
def _given_up_at(deadline: float) -> "Iterator[None]":
    """End a system call that waits, by SIGALRM: one whose handler raises is not repeated (PEP 475).

    Waiting in the kernel gives the lock to whoever came first, at once; polling gives it to nobody
    for a while and then to anybody.
    """
    import signal

    def expire(_signal: int, _frame: object) -> None:
        raise _DeadlineError

    before = signal.signal(signal.SIGALRM, expire)
    left = signal.setitimer(signal.ITIMER_REAL, max(deadline - time.monotonic(), _SOON))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *left)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)


def _holder(descriptor: int) -> str:
    """`` by process N`` from /proc/locks, where it can be told (proc(5))."""
    inode = str(os.fstat(descriptor).st_ino)
    for line in (read_file("/proc/locks") or b"").decode().splitlines():
        fields = line.split()
        if "->" not in fields and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode:
            return f" by process {fields[4]}"
    return ""


def _write_temporary(path: str, data: bytes, mode: int) -> str:
    """A synced file beside ``path``; its name starts with a dot, so no reader takes it for state.

    A killed writer may leave one behind: the next writer with its process id overwrites it.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name[:200]}.{os.getpid()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, mode)
    except FileNotFoundError:
        os.makedirs(directory, exist_ok=True)
        descriptor = os.open(temporary, flags, mode)
    with _unlinked_on_failure(temporary), open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    return temporary


@contextmanager
def _unlinked_on_failure(temporary: str) -> "Iterator[None]":
    try:
        yield
    except OSError:
        os.unlink(temporary)
        raise


def _sync_directory(path: str) -> None:
    """Without this a power cut may take the new name back."""
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _io_error(act: str, path: str, error: OSError) -> IoError:
    reason = (error.strerror or str(error)).lower()
    return IoError(f"failed to {act} {path}: {reason}")
