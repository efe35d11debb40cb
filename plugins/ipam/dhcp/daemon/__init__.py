"""``dhcp daemon``: gets leases for the dhcp plugin and keeps them alive.

One process and one event loop; each lease has a task that renews it. On the host it keeps its
socket, a file for each lease beside it, and its pid file. SIGTERM ends it and leaves the leases:
containers go on, and the next daemon takes the leases up.
"""

import asyncio
import gc
import os
import resource
import signal
import sys

from cnilib.errors import CniError
from cnilib.log import warn
from plugins.ipam.dhcp.daemon.flags import USAGE, Flags, UsageError, parse_flags
from plugins.ipam.dhcp.daemon.leases import Leases
from plugins.ipam.dhcp.daemon.server import Listening, passed_socket, start
from plugins.ipam.dhcp.daemon.store import Store
from plugins.ipam.dhcp.marks import directory_of

_SWEEP = 10.0
"""Seconds between two looks for namespaces that are gone."""


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM or SIGINT; the exit status."""
    try:
        flags = parse_flags(arguments)
    except UsageError as error:
        text = str(error)
        sys.stderr.write(f"{text}\n{USAGE}" if text else USAGE)
        return 2 if text else 0
    gc.enable()  # frozen plugins switch it off: they do not live long enough
    try:
        _raise_file_limit()
        with _PidFile(flags.pidfile):
            asyncio.run(_serve(flags))
    except (CniError, OSError) as error:
        sys.stderr.write(f"dhcp daemon: {error}\n")
        return 1
    return 0


async def _serve(flags: Flags) -> None:
    listening = Listening(flags.hostprefix + flags.socketpath, passed_socket(dict(os.environ)))
    try:
        marks = directory_of(listening.path)
        os.makedirs(marks, mode=0o700, exist_ok=True)
        leases = Leases(flags, Store(flags.statedir or marks), marks)
        stopped = _stop_event()
        leases.restore()
        server = await start(listening, leases)
        try:
            await _sweep_until(stopped, leases)
        finally:
            server.close()
            leases.stop()
    finally:
        listening.close()


def _stop_event() -> asyncio.Event:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


async def _sweep_until(stopped: asyncio.Event, leases: Leases) -> None:
    while not stopped.is_set():
        try:
            async with asyncio.timeout(_SWEEP):
                await stopped.wait()
        except TimeoutError:
            _sweep(leases)


def _sweep(leases: Leases) -> None:
    """A full disk, or a link that goes in this moment, is no reason to stop."""
    try:
        leases.sweep()
    except (CniError, OSError) as error:
        warn(f"dhcp: {error}")


class _PidFile:
    """The process id, in a file while the daemon runs; "" means no file."""

    def __init__(self, path: str) -> None:
        if path and not os.path.isabs(path):
            raise CniError(f"error writing pidfile {path!r}: path not absolute")
        self._path = path

    def __enter__(self) -> None:
        if self._path:
            with open(self._path, "w", encoding="ascii") as file:
                file.write(str(os.getpid()))
            os.chmod(self._path, 0o644)

    def __exit__(self, *_: object) -> None:
        if self._path and os.path.exists(self._path):
            os.unlink(self._path)


def _raise_file_limit() -> None:
    """A thousand leases that are renewed at once have a thousand sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
