"""Putting a built suite into a directory that runtimes execute plugins from.

``python -m tools.install SOURCE TARGET``. At every moment each plugin name in TARGET is a complete
executable whose runtime directory is there: the new runtime directory is put beside the old one
first, then each executable is replaced by a rename. Plugins that were started just before still
load from the old runtime directory, so that one stays until the next install. Files that are not
ours are left alone, unless they have the name of a plugin.

``--units DIRECTORY`` puts the systemd units there as well, with ``--bindir`` (TARGET when not
given) as the place of the executables. Nothing is enabled.
"""

import argparse
import fcntl
import os
import re
import shutil
import tempfile

_UNITS = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "packaging/systemd"
)
_RUNTIME = re.compile(rb"cni-runtime-[0-9a-f]{12}")
_LARGEST = 1 << 20
"""Bytes; our executables are far smaller, and no larger file is read to find out."""


def main() -> None:
    """Install, or take away what was installed."""
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--prune", action="store_true", help="no older runtime directory stays")
    words.add_argument("--uninstall", action="store_true", help="remove the suite from TARGET")
    words.add_argument("--units", metavar="DIRECTORY", help="install systemd units there, too")
    words.add_argument("--bindir", help="where the units find the executables; else TARGET")
    words.add_argument("places", nargs="+", metavar="SOURCE TARGET")
    asked = words.parse_args()
    target = asked.places[-1]
    if asked.uninstall:
        uninstall(target)
        remove_units(asked.units)
        return
    source, target = asked.places
    install(source, target, prune=asked.prune)
    if asked.units:
        install_units(asked.units, asked.bindir or os.path.abspath(target))


def install(source: str, target: str, *, prune: bool = False) -> None:
    """Replace the suite in ``target`` by the one in ``source``.

    Raises:
        SystemExit: ``source`` holds no built suite.
    """
    plugins = [name for name in sorted(os.listdir(source)) if runtime_of(f"{source}/{name}")]
    if not plugins:
        raise SystemExit(f"{source} holds no built suite: run make build first")
    runtimes = {runtime_of(f"{source}/{name}") for name in plugins}
    os.makedirs(target, mode=0o755, exist_ok=True)
    with _lock(target):
        stale = _runtimes_in(target) - _runtimes_used(target) - runtimes
        for runtime in sorted(filter(None, runtimes)):
            _put_directory(f"{source}/{runtime}", f"{target}/{runtime}")
        for name in plugins:
            _put_file(f"{source}/{name}", f"{target}/{name}")
        if prune:
            stale = _runtimes_in(target) - _runtimes_used(target)
        for runtime in sorted(stale):
            shutil.rmtree(f"{target}/{runtime}")
        _sync(target)


def uninstall(target: str) -> None:
    """Remove what ``install`` put there, and nothing else."""
    with _lock(target):
        for name in sorted(os.listdir(target)):
            if runtime_of(f"{target}/{name}"):
                os.unlink(f"{target}/{name}")
        for runtime in sorted(_runtimes_in(target)):
            shutil.rmtree(f"{target}/{runtime}")


def install_units(directory: str, bindir: str) -> None:
    """Write the systemd units, whose executables are in ``bindir``."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
    for name in sorted(os.listdir(_UNITS)):
        with open(f"{_UNITS}/{name}", encoding="utf-8") as file:
            text = file.read().replace("@BINDIR@", bindir)
        with tempfile.NamedTemporaryFile("w", prefix=".cni-install-", dir=directory) as scratch:
            scratch.write(text)
            scratch.flush()
            _put_file(scratch.name, f"{directory}/{name}", mode=0o644)


def remove_units(directory: str | None) -> None:
    """Remove the units of ``install_units``."""
    for name in os.listdir(_UNITS) if directory else ():
        path = f"{directory}/{name}"
        if os.path.exists(path):
            os.unlink(path)


def runtime_of(path: str) -> str:
    """The name of the runtime directory that an executable of ours uses; "" for other files."""
    if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) > _LARGEST:
        return ""
    with open(path, "rb") as file:
        found = _RUNTIME.search(file.read())
    return found.group().decode() if found else ""


def _runtimes_in(directory: str) -> set[str]:
    return {
        name
        for name in os.listdir(directory)
        if _RUNTIME.fullmatch(name.encode()) and os.path.isdir(f"{directory}/{name}")
    }


def _runtimes_used(directory: str) -> set[str]:
    return {runtime_of(f"{directory}/{name}") for name in os.listdir(directory)}


def _put_directory(source: str, target: str) -> None:
    """A complete directory appears under its name at once; one that is there and equal stays."""
    if _fingerprint(source) == _fingerprint(target):
        return
    parent = os.path.dirname(target)
    with tempfile.TemporaryDirectory(prefix=".cni-install-", dir=parent) as scratch:
        new = f"{scratch}/new"
        shutil.copytree(source, new)
        for directory, _, files in os.walk(new):
            os.chmod(directory, 0o755)  # noqa: S103 - every user may run plugins
            for name in files:
                _finish(f"{directory}/{name}", f"{directory}/{name}")
        if os.path.isdir(target):  # damaged: somebody changed or removed files in it
            os.rename(target, f"{scratch}/old")
        os.rename(new, target)


def _put_file(source: str, target: str, mode: int = 0o755) -> None:
    descriptor, scratch = tempfile.mkstemp(prefix=".cni-install-", dir=os.path.dirname(target))
    os.close(descriptor)
    try:
        shutil.copyfile(source, scratch)
        os.chmod(scratch, mode)
        _finish(scratch, target)
    except BaseException:
        os.unlink(scratch)
        raise


def _finish(scratch: str, target: str) -> None:
    """On the disk first, then under its name: a crash leaves the old file or the new one."""
    _sync(scratch)
    os.rename(scratch, target)


def _fingerprint(directory: str) -> list[tuple[str, int]]:
    return sorted(
        (os.path.relpath(f"{where}/{name}", directory), os.path.getsize(f"{where}/{name}"))
        for where, _, files in os.walk(directory)
        for name in files
    )


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _lock:  # noqa: N801 - used as a statement
    """One installation at a time; leaves no lock file behind."""

    def __init__(self, directory: str) -> None:
        self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)

    def __enter__(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


if __name__ == "__main__":
    main()
