"""What goes into the frozen suite; ``build.spec`` hands it to PyInstaller.

PyInstaller finds the modules and libraries that the plugins need and supplies the boot loader;
where each of them goes is decided here.
"""

import _imp
import hashlib
import importlib.util
import marshal
import os
from typing import TYPE_CHECKING, Any

from PyInstaller.building.utils import get_code_object, replace_filename_in_code_object
from PyInstaller.depend.bindepend import resolve_library_path

from cnilib.cnid.client import SCRIPT
from plugins.registry import DAEMONS, PLUGINS
from tools.freeze import archive, schemas

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    Entry = tuple[str, str, str]

_HERE = os.path.dirname(os.path.abspath(__file__))
_INSTEAD, _LIGHT = (os.path.join(_HERE, name) for name in ("instead", "light"))
_BOOT = os.path.join(_HERE, "boot.py")
_CLIENT = "cnilib.cnid.client"
_NETFILTER_LIBRARY = "libnftables.so.1"

NEVER_USED = [
    *("_codecs_cn", "_codecs_hk", "_codecs_iso2022", "_codecs_jp", "_codecs_kr", "_codecs_tw"),
    *("_distutils_hack", "_multibytecodec", "_ssl", "bdb", "bz2", "cmd", "curses", "distutils"),
    *("doctest", "dotenv", "email_validator", "eval_type_backport", "ftplib", "http", "lzma"),
    *("annotated_types", "mypy", "nftables.schema", "pdb", "pydantic"),
    *("pydantic_core.core_schema", "pydoc", "readline", "rich", "setuptools", "sqlite3", "ssl"),
    *("test", "tkinter", "typing_extensions", "typing_inspection", "tzdata", "unittest", "xml"),
    *("xmlrpc",),
]
"""What the libraries import for features that no plugin has."""

_ENCODINGS = {"aliases", "ascii", "idna", "latin_1", "punycode", "utf_8", "utf_8_sig", "utf_16"}
_PACKAGES = {
    "collections",
    "importlib",
    "json",
    "pydantic",
    "pydantic_core",
    "pyroute2",
    "pyroute2.config",
}
_BEFORE_BOOT = {"encodings", "encodings.aliases", "encodings.utf_8"}


class Recipe:
    """The suite's modules, libraries and executables, as PyInstaller wants them.

    ``analysis`` is PyInstaller's Analysis, ``work`` a directory for what is made on the way.
    """

    def __init__(self, root: str, work: str, analysis: "Callable[..., Any]") -> None:
        self.programs = {
            name: f"from plugins.launch import run\nrun({name!r})\n" for name in PLUGINS
        }
        self.programs["cnid"] = (
            "import sys\nfrom plugins.server import main\nsys.exit(main(sys.argv[1:]))\n"
        )
        self._work = work
        found = analysis(
            [_BOOT],
            pathex=[root],
            hiddenimports=[
                "plugins.launch",
                "plugins.server",
                "cnilib.cnid.server",
                *(module for module, _ in PLUGINS.values()),
                *DAEMONS.values(),
                "pydantic_core._pydantic_core",
            ],
            excludes=[*NEVER_USED, *_replaceable_by_builtins()],
            binaries=[(_library(_NETFILTER_LIBRARY), ".")],
            optimize=2,
        )
        modules_file, base_library, client = self._write_archives(found)
        self.contents: list[Entry] = [
            *found.binaries,
            ("modules.bin", modules_file, "DATA"),
            ("base_library.zip", base_library, "DATA"),
            ("client.bin", client, "DATA"),
        ]
        self.runtime_directory = f"cni-runtime-{self._build_id()}"

    def bootstrap(self, program: str) -> "list[Entry]":
        """What an executable itself holds: boot.py, what to run, and nothing else."""
        script = self._path(f"{program}.py")
        with open(script, "w", encoding="utf-8") as file:
            file.write(self.programs[program])
        no_modules = self._path("empty.pyz")  # the boot loader insists on one
        with open(no_modules, "wb"):
            pass
        return [
            ("boot", _BOOT, "PYSOURCE-2"),
            (SCRIPT.decode() + program, script, "PYSOURCE-2"),
            ("PYZ.pyz", no_modules, "PYZ"),
        ]

    def _write_archives(self, found: Any) -> tuple[str, str, str]:
        base = next(source for name, source, _ in found.datas if name == "base_library.zip")
        modules = archive.read_base_library(base)
        modules |= {name: _compiled(name, source) for name, source, _ in found.pure}
        modules = {name: module for name, module in modules.items() if _is_wanted(name)}
        modules |= {name: _code(name, source) for name, source in _instead().items()}
        modules |= {
            f"{name}#light": _code(name, source) for name, source in _sources(_LIGHT).items()
        }
        extensions = {
            _module_name(place): place for place, _, kind in found.binaries if kind == "EXTENSION"
        }
        modules_file, base_library = self._path("modules.bin"), self._path("base.zip")
        client = self._path("client.bin")
        archive.write_archive(modules_file, modules, extensions)
        archive.write_base_library(base_library, {name: modules[name] for name in _BEFORE_BOOT})
        with open(client, "wb") as file:  # by itself: it runs before there is an import system
            marshal.dump(modules[_CLIENT][1], file)
        return modules_file, base_library, client

    def _build_id(self) -> str:
        """The same for the same contents; two builds that differ can lie side by side."""
        digest = hashlib.sha256(repr(self.programs).encode())
        sources = sorted(source for _, source, _ in self.contents)
        for path in (*sources, _BOOT):
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:12]

    def _path(self, name: str) -> str:
        directory = os.path.join(self._work, "suite")
        os.makedirs(directory, exist_ok=True)
        return os.path.join(directory, name)


def _replaceable_by_builtins() -> list[str]:
    """OpenSSL's hashes, 5 MB, where the interpreter has SHA-512 itself (Fedora's has not)."""
    own = ("_sha512", "_sha2")
    return ["_hashlib"] if any(importlib.util.find_spec(name) for name in own) else []


def _library(name: str) -> str:
    path = resolve_library_path(name)
    if path is None:
        raise SystemExit(f"{name} is missing: install nftables' library (tools/packages.sh build)")
    return str(path)


def _compiled(name: str, source: str | None) -> "tuple[bool, CodeType]":
    if source in {"-", None}:  # a namespace package
        return True, compile("", name, "exec")
    is_package = os.path.basename(source or "").startswith("__init__.")
    file = name.replace(".", "/") + ("/__init__.py" if is_package else ".py")
    code = get_code_object(name, source, optimize=2)
    return is_package, replace_filename_in_code_object(code, file)


def _instead() -> dict[str, str]:
    """Module name -> its source in the frozen suite, for those that are not the real ones."""
    return schemas.sources() | _sources(_INSTEAD)


def _sources(directory: str) -> dict[str, str]:
    """Module name -> source, of the files in a directory."""
    sources = {}
    for file_name in sorted(os.listdir(directory)):
        if file_name.endswith(".py"):
            with open(os.path.join(directory, file_name), encoding="utf-8") as file:
                sources[file_name.removesuffix(".py")] = file.read()
    return sources


def _code(name: str, source: str) -> "tuple[bool, CodeType]":
    file = f"{name.replace('.', '/')}.py"
    return name in _PACKAGES, compile(source, file, "exec", optimize=2)


def _is_wanted(name: str) -> bool:
    """Not the rarer encodings, nor what the interpreter itself holds, ready without a read."""
    if _imp.is_frozen(name):
        return False
    package, _, submodule = name.partition(".")
    if package == "encodings":
        return not submodule or submodule in _ENCODINGS
    return package != "multiprocessing" or not submodule


def _module_name(place: str) -> str:
    """``pkg/_ext.cpython-311-x86_64-linux-gnu.so`` -> ``pkg._ext``."""
    return place.rpartition("/lib-dynload/")[2].partition(".")[0].replace("/", ".")
