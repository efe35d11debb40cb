"""What every executable of the suite runs when cnid has not taken the call: the plugin itself.

From source: ``python -m plugins.launch bridge`` with the CNI variables in the environment.
"""

import posix
import sys

from plugins.registry import DAEMONS, PLUGINS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from cnilib.plugin import Leave, Plugin
    from cnilib.request import Builtin, Request

_leave: "Leave" = posix._exit  # noqa: SLF001 - os._exit, without importing os
_LARGEST = 1 << 20
"""Bytes; our executables are far smaller."""


def main() -> "NoReturn":
    """Serve one invocation."""
    words = sys.argv[1:] or sys.argv
    run(words[0].rpartition("/")[2], words[1:])


def run(name: str, arguments: "list[str] | None" = None) -> "NoReturn":
    """Serve one invocation as the plugin ``name``; ``arguments`` are those after its name."""
    if name not in PLUGINS:
        sys.stderr.write(f"{name} is no plugin of this suite; it has: {', '.join(PLUGINS)}\n")
        _leave(1)
    if name in DAEMONS:
        words = sys.argv[1:] if arguments is None else arguments
        if words[:1] == ["daemon"]:
            run_daemon(name, words[1:])
    run_here(name, _leave)


def run_here(name: str, leave: "Leave") -> "NoReturn":
    """Serve one invocation in this process; ``leave`` ends it with a status."""
    import os

    from cnilib.plugin import serve

    _, oldest = PLUGINS[name]
    serve(name, oldest, lambda: load(name), dict(os.environ), builtin, leave)


def run_daemon(name: str, arguments: "list[str]") -> "NoReturn":
    """Be the plugin's daemon; never cnid's business."""
    from importlib import import_module

    _leave(import_module(DAEMONS[name]).main(arguments))


def load(name: str) -> "Plugin":
    """Import a plugin's module, now that it is sure to run."""
    from importlib import import_module

    module, _ = PLUGINS[name]
    plugin: Plugin = import_module(module).main
    return plugin


def builtin(path: str) -> "Builtin | None":
    """How to call the executable ``path`` in this process; None when it is not of this build."""
    name = path.rpartition("/")[2]
    if name not in PLUGINS or not _is_of_this_build(path):
        return None

    def call(req: "Request") -> bytes:
        from cnilib.plugin import answer

        return answer(req, PLUGINS[name][1], lambda: load(name))

    return call


def build_id() -> str:
    """The name of the runtime directory, which differs from build to build; "" from source."""
    directory: str = getattr(sys, "_MEIPASS", "")
    return directory.rpartition("/")[2]


def _is_of_this_build(path: str) -> bool:
    """Each executable names the runtime directory of its build."""
    build = build_id()
    if not build or posix.stat(path).st_size > _LARGEST:
        return False
    with open(path, "rb") as file:
        return build.encode() in file.read()


if __name__ == "__main__":
    main()
