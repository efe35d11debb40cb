"""Writing the two archives of the runtime directory.

``modules.bin`` holds the byte code of every module, stored as it is: inflating it would cost each
start more than reading it. ``base_library.zip`` holds what the interpreter imports before
``boot.py`` runs.
"""

import marshal
import zipfile
from importlib.util import MAGIC_NUMBER
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType

_PYC_HEADER = 16
_LENGTH = 8


def write_archive(
    path: str, modules: "Mapping[str, tuple[bool, CodeType]]", extensions: "Mapping[str, str]"
) -> None:
    """Write ``modules`` (name -> is a package, code) and where the extension modules lie.

    The format is described in ``tools/freeze/boot.py``.
    """
    index: dict[str, tuple[bool, int, int, str]] = {}
    blobs: list[bytes] = []
    offset = 0
    for name, (is_package, code) in sorted(modules.items()):
        blob = marshal.dumps(code)
        index[name] = (is_package, offset, len(blob), "")
        blobs.append(blob)
        offset += len(blob)
    for name, place in sorted(extensions.items()):
        index[name] = (False, 0, 0, place)
    head = marshal.dumps(index)
    with open(path, "wb") as file:
        file.write(len(head).to_bytes(_LENGTH, "little"))
        file.write(head)
        file.writelines(blobs)


def read_base_library(path: str) -> "dict[str, tuple[bool, CodeType]]":
    """The modules of the base_library.zip that PyInstaller made."""
    modules: dict[str, tuple[bool, CodeType]] = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.namelist():
            name = entry.removesuffix(".pyc").replace("/", ".")
            code = marshal.loads(archive.read(entry)[_PYC_HEADER:])  # noqa: S302 - PyInstaller's
            is_package = name.endswith(".__init__")
            modules[name.removesuffix(".__init__")] = (is_package, code)
    return modules


def write_base_library(path: str, modules: "Mapping[str, tuple[bool, CodeType]]") -> None:
    """A base_library.zip, stored and as small as can be: its directory is read in each start."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, (is_package, code) in sorted(modules.items()):
            place = f"{name.replace('.', '/')}{'/__init__' * is_package}.pyc"
            header = MAGIC_NUMBER.ljust(_PYC_HEADER, b"\0")
            archive.writestr(zipfile.ZipInfo(place), header + marshal.dumps(code))
