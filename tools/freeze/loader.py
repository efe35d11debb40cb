"""Builds PyInstaller's boot loader with ``early.c`` in it, in place of the one it brings.

``python -m tools.freeze.loader``; ``make build`` runs it once for each environment. The boot loader
is built from PyInstaller's own source distribution, as its manual has it, and nothing in it is
changed: the linker only sends its calls of ``execvp`` through ``early.c``.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
from importlib.metadata import version

from cnilib.cnid.client import SOCKET

_HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    """Compile, and install PyInstaller again.

    Raises:
        CalledProcessError: the compiler or pip failed, and has said why.
        SystemExit: the interpreter's headers are missing.
    """
    headers = sysconfig.get_path("include")
    if not os.path.exists(os.path.join(headers, "Python.h")):
        raise SystemExit(f"{headers} has no Python.h: install libpython3-dev or python3-devel")
    hook = os.path.join(sys.prefix, "early.o")
    compiler = os.environ.get("CC", "gcc")
    constants = {"CNID_SOCKET": SOCKET, "PYTHON_LIBRARY": sysconfig.get_config_var("INSTSONAME")}
    _run(
        *(compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-fPIC", "-c"),
        *(f'-D{name}="{value}"' for name, value in constants.items()),
        *("-I", headers, os.path.join(_HERE, "early.c"), "-o", hook),
    )
    wanted = f"pyinstaller=={version('pyinstaller')}"
    _run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--force-reinstall", "--no-deps", "--no-cache-dir", "--no-binary=pyinstaller", wanted),
        PYINSTALLER_COMPILE_BOOTLOADER="1",
        PYI_STATIC_ZLIB="1",
        CC=compiler,
        LINKFLAGS=f"-Wl,--wrap=execvp {shlex.quote(hook)}",
    )


def _run(*words: str, **environ: str) -> None:
    subprocess.run(words, env=os.environ | environ, check=True)


if __name__ == "__main__":
    main()
