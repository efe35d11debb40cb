"""The server of cnid: accept, fork, and let the child become the caller's plugin.

The parent holds no state: it never waits for a child, and a child needs nothing of the parent. When
the parent is killed, the calls that it has accepted come to their end.
"""

import ctypes
import fcntl
import gc
import marshal
import os
import select
import signal
import socket
import struct
import sys
from contextlib import suppress

from cnilib.cnid.client import LARGEST, PLACES, READY, SOCKET
from cnilib.log import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import NoReturn

    Leave = Callable[[int], NoReturn]

_BACKLOG = 1024
_NICE = -10
_PATIENCE = 5.0
_DESCRIPTORS = 3 + len(PLACES)  # the standard streams come first
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_F_SETSIG, _F_SETOWN, _O_ASYNC = 10, 8, 0o20000
_FIRST_PASSED = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)
_NAMESPACES = ("user", "pid")
"""Of these the child cannot adopt the caller's, so they must be our own already."""


class Server:
    """Runs calls of ``plugins`` by ``run(plugin, leave)``, of executables of its own ``build``."""

    def __init__(
        self, build: str, plugins: "Collection[str]", run: "Callable[[str, Leave], NoReturn]"
    ) -> None:
        self._build, self._plugins, self._run = build, plugins, run
        self._own_socket = False
        self._program = _identity(sys.executable)
        self._capabilities = _capabilities("self")

    def serve(self, idle_seconds: float | None) -> None:
        """Serve until SIGTERM, until nobody has called for so long, or until we are replaced.

        Raises:
            OSError: the socket cannot be made; for example another cnid is running.
        """
        listening = self._listen()
        ended, ending = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(ending)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _wake_up)
        os.environ.clear()  # once, not in every child
        _come_first()
        gc.collect()
        gc.freeze()  # children share these pages as long as nobody counts what is on them
        try:
            self._loop(listening, ended, idle_seconds)
        finally:
            if self._own_socket:
                os.unlink(SOCKET)
            listening.close()

    def _loop(self, listening: socket.socket, ended: int, idle_seconds: float | None) -> None:
        poll = select.poll()
        poll.register(listening, select.POLLIN)
        poll.register(ended, select.POLLIN)
        patience = None if idle_seconds is None else idle_seconds * 1000
        while ready := poll.poll(patience):
            if any(descriptor == ended for descriptor, _ in ready):
                return
            connection, _ = listening.accept()
            with connection:
                if _identity(sys.executable) != self._program:
                    return  # our files were replaced: the new ones are asked from now on
                self._take(listening, connection)

    def _listen(self) -> socket.socket:
        """The socket systemd passed, else our own."""
        if os.environ.pop("LISTEN_PID", "") == str(os.getpid()):
            os.environ.pop("LISTEN_FDS", None)
            listening = socket.socket(fileno=_FIRST_PASSED)
            os.set_inheritable(_FIRST_PASSED, False)  # noqa: FBT003 - it has no keywords
            return listening
        os.makedirs(os.path.dirname(SOCKET), mode=0o700, exist_ok=True)
        os.chmod(os.path.dirname(SOCKET), 0o700)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        _remove_stale(SOCKET)
        umask = os.umask(0o177)
        try:
            listening.bind(SOCKET)
        finally:
            os.umask(umask)
        listening.listen(_BACKLOG)
        self._own_socket = True
        return listening

    def _take(self, listening: socket.socket, connection: socket.socket) -> None:
        """Fork a child, and nothing else: while hundreds call at once, this is the only queue."""
        try:
            child = os.fork()
        except OSError as error:
            warn(f"cnid: cannot fork: {error}")
            return
        if child == 0:
            try:
                listening.close()
                self._become(connection)
            except BrokenPipeError:  # the caller had no patience and runs the plugin itself
                os._exit(0)
            except Exception as error:  # noqa: BLE001 - the caller sees a lost connection
                warn(f"cnid: {error!r}")
            finally:
                os._exit(1)

    def _become(self, connection: socket.socket) -> None:
        """In the child: take the caller's place and run the plugin."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        caller = _find_caller(connection, self._capabilities)
        if caller is None:
            return  # just loses the connection
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, caller))
        connection.settimeout(_PATIENCE)
        build, _, plugin = connection.recv(LARGEST).decode().rpartition("/")
        if build != self._build or plugin not in self._plugins:
            return
        connection.send(READY)
        request, descriptors, _, _ = socket.recv_fds(connection, LARGEST, _DESCRIPTORS)
        if not request or len(descriptors) != _DESCRIPTORS:
            return
        environ, umask = marshal.loads(request)  # noqa: S302 - root's, of the same build
        connection.settimeout(None)
        _adopt(descriptors, environ, umask)
        _end_with(connection)

        def leave(status: int) -> "NoReturn":
            fcntl.fcntl(connection, fcntl.F_SETFL, 0)
            connection.send(bytes([status]))
            os._exit(0)

        self._run(plugin, leave)


def _come_first() -> None:
    """Be scheduled before the children: each call waits for this process, and it only forks.

    A child takes its caller's priority. Without the right to it nothing is lost but time.
    """
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)


def _wake_up(_signal: int, _frame: object) -> None:
    """A handler that returns, so that the wake-up descriptor is written to."""


def _find_caller(connection: socket.socket, own: int) -> int | None:
    """The caller's process id, if it may call; None otherwise.

    It must be root, have every capability that we have (``own``), and be in our own user and pid
    namespaces.
    """
    option = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, user, _ = _CREDENTIALS.unpack(option)
    try:
        if user != 0 or own & ~_capabilities(pid):
            return None
        for kind in _NAMESPACES:
            ours, theirs = os.stat(f"/proc/self/ns/{kind}"), os.stat(f"/proc/{pid}/ns/{kind}")
            if not os.path.samestat(ours, theirs):
                return None
    except OSError:  # it is gone already
        return None
    return int(pid)


def _capabilities(pid: "int | str") -> int:
    """The effective set as a bit mask (proc(5), CapEff)."""
    with open(f"/proc/{pid}/status", "rb") as file:
        return int(file.read().partition(b"\nCapEff:")[2].split(None, 1)[0], 16)


def _adopt(descriptors: list[int], environ: dict[bytes, bytes], umask: int) -> None:
    """The caller's streams, namespaces, directories, mask and environment become ours."""
    *streams, network, mounts, root, directory = descriptors
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    for kind, descriptor in (("mnt", mounts), ("net", network)):
        if not os.path.samestat(os.fstat(descriptor), os.stat(f"/proc/self/ns/{kind}")):
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(descriptor, 0) != 0:
                number = ctypes.get_errno()
                raise OSError(number, f"cannot enter the caller's {kind} namespace")
    os.fchdir(root)
    os.chroot(".")
    os.fchdir(directory)
    os.umask(umask)
    for descriptor in descriptors:
        os.close(descriptor)
    os.environb.update(environ)


def _end_with(connection: socket.socket) -> None:
    """Get SIGTERM when the caller goes away (F_SETSIG of fcntl(2); it sends nothing any more)."""
    fcntl.fcntl(connection, _F_SETSIG, signal.SIGTERM)
    fcntl.fcntl(connection, _F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETFL, _O_ASYNC)


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more.

    Raises:
        FileExistsError: somebody does.
    """
    asking = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        asking.connect(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        os.unlink(path)
        return
    finally:
        asking.close()
    raise FileExistsError(f"another cnid listens on {path}")


def _identity(path: str) -> tuple[int, int] | None:
    """What changes when a file is replaced."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
