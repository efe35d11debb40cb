"""cnid, the preforked plugin server: ``cnid [--idle-exit SECONDS]`` in the foreground.

It loads every plugin once; calls that the executables hand over then need no start-up. Nothing
depends on it: without it every plugin runs in its own process.
"""

import os
import sys
from importlib import import_module

from cnilib.kernel.messages import compile_tables
from cnilib.netfilter import nft
from plugins.launch import build_id, run_here
from plugins.registry import DAEMONS, PLUGINS

_NOT_RUN = (*DAEMONS.values(), "cnilib.kernel.dhcp4", "cnilib.kernel.packets")
"""Daemons, and what only they use: each object loaded is a page that children may have to copy."""
_USAGE = "usage: cnid [--idle-exit SECONDS]\n"


def main(arguments: list[str]) -> int:
    """Serve; the exit status."""
    idle_seconds = None
    if arguments[:1] == ["--idle-exit"] and len(arguments) == 2 and arguments[1].isdigit():
        idle_seconds = float(arguments[1])
    elif arguments:
        sys.stderr.write(_USAGE)
        return 2
    if os.geteuid() != 0:
        sys.stderr.write("cnid: run it as root, as runtimes run plugins\n")
        return 1
    preload()
    from cnilib.cnid.server import Server

    try:
        Server(build_id(), PLUGINS, run_here).serve(idle_seconds)
    except OSError as error:
        sys.stderr.write(f"cnid: {error}\n")
        return 1
    return 0


def preload() -> None:
    """Load every module and library, and make every validator, so that children find them."""
    modules = getattr(sys.meta_path[0], "names", lambda: ())()
    for name in (*modules, *(module for module, _ in PLUGINS.values())):
        if name.startswith(("cnilib.", "plugins.")) and not name.startswith(_NOT_RUN):
            import_module(name)
    prepare = getattr(import_module("pydantic"), "prepare", None)  # the frozen suite's own has it
    if prepare:
        prepare()
    nft.load()
    compile_tables()
