"""The part of cnid in every executable: hand this call over, if there is somebody to take it.

It runs by itself in the core of an interpreter that has not loaded its own modules yet
(tools/freeze/early.c): nothing of ours can be imported, nor anything else that is not built in, but
for what ``_provide`` provides. What it costs, every call pays.
"""

import marshal
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

SOCKET = "/run/cni/cnid/socket"
READY = b"+"
LARGEST = 1 << 17
"""Bytes of a request; a larger environment than that is nobody's, and its plugin runs by itself."""

SCRIPT = b"program-"
"""How the name of an executable's script begins; the plugin's name follows."""

PLACES = ("/proc/self/ns/net", "/proc/self/ns/mnt", "/", ".")
_TAIL = 1 << 14
_NEEDED = ("_socket", "select")
_PATIENCE = 5.0
"""Seconds to wait for a server that is there. Two hundred calls at once on two slow cores take one;
running them all by themselves then would take longer than waiting."""
_LOST = b"""{
    "code": 11,
    "msg": "cnid's process for %b was killed; run DEL, then try again"
}"""


def main(directory: str, terminations: int) -> None:
    """End with the status of this call when cnid has run it; return when nobody has.

    ``directory`` is the runtime directory, whose name is that of the build; ``terminations`` a
    descriptor that can be read when SIGTERM or SIGINT has arrived (signalfd(2)).
    """
    for name in _NEEDED:
        _provide(name, directory)
    build = directory.rpartition("/")[2]
    status = hand_over(f"{build}/{_own_name()}", terminations)
    if status is not None:
        posix._exit(status)  # noqa: SLF001 - os._exit, without importing os


def _own_name() -> str:
    """The plugin that this executable is, whatever it is called by.

    The boot loader's table of contents, near the end of the file, has the script's name.
    """
    file = posix.open("/proc/self/exe", posix.O_RDONLY | posix.O_CLOEXEC)
    end = posix.pread(file, _TAIL, max(0, posix.fstat(file).st_size - _TAIL))
    posix.close(file)
    return end.rpartition(SCRIPT)[2].partition(b"\0")[0].decode()


def _provide(name: str, directory: str) -> None:
    """Make an extension module importable; with Debian's interpreters these are built in."""
    if name in sys.builtin_module_names:
        return
    import _imp
    from _frozen_importlib import ModuleSpec

    place = "python{}.{}/lib-dynload".format(*sys.version_info)
    origin = f"{directory}/{place}/{name}{_imp.extension_suffixes()[0]}"
    module = _imp.create_dynamic(ModuleSpec(name, None, origin=origin))
    _imp.exec_dynamic(module)
    sys.modules[name] = module


def hand_over(program: str, terminations: int) -> int | None:
    """The exit status of this call, run by cnid; None: nobody has run it, nor will.

    Nobody behind the socket, another build, another user: all of them are None and silent.
    """
    import _socket

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    try:
        if not _is_taken(connection, program):
            return None
        status = _wait(connection, terminations)
    finally:
        connection.close()
    if not status:  # the child was killed: nobody else will tell the runtime
        posix.write(1, _LOST % program.rpartition("/")[2].encode())
        return 1
    return status[0]


def _is_taken(connection: "socket", program: str) -> bool:
    """Speak to cnid up to the point from where the call is its child's."""
    opened: list[int] = []
    try:
        request = _request()
        opened.extend(posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC) for path in PLACES)
        connection.settimeout(_PATIENCE)
        connection.connect(SOCKET)
        connection.send(program.encode())
        if len(request) > LARGEST or connection.recv(1) != READY:
            return False
        _send(connection, request, (0, 1, 2, *opened))
    except OSError:
        return False
    finally:
        for descriptor in opened:
            posix.close(descriptor)
    return True


def _request() -> bytes:
    posix.umask(umask := posix.umask(0o077))
    return marshal.dumps((posix.environ, umask))


def _send(connection: "socket", request: bytes, descriptors: tuple[int, ...]) -> None:
    import _socket

    numbers = b"".join(number.to_bytes(4, sys.byteorder) for number in descriptors)
    connection.sendmsg([request], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)])


def _wait(connection: "socket", terminations: int) -> bytes:
    """The status, one byte; empty when the child was killed.

    SIGTERM and SIGINT are the child's: it undoes, says so on stdout, and its status is ours.
    """
    import _socket
    import select

    poll = select.poll()
    poll.register(connection, select.POLLIN)
    poll.register(terminations, select.POLLIN)
    while all(descriptor == terminations for descriptor, _ in poll.poll()):
        poll.unregister(terminations)
        connection.shutdown(_socket.SHUT_WR)
    try:
        return connection.recv(1)
    except OSError:
        return b""
