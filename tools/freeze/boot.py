"""How a frozen plugin finds its modules: in one archive file that all plugins share.

Runs in every executable before anything else, so it may use nothing but built-in modules. It takes
the place of PyInstaller's own bootstrap, which reads a compressed archive inside each executable
and imports ctypes, struct and more before the first line of a plugin (docs/install.md has the
figures).

The archive (``tools/freeze/archive.py`` writes it) begins with the length of its index, eight
bytes little-endian; then the index, a marshalled dictionary
``module name -> (is a package, offset, size, path of the extension module or "")``; then the
marshalled code objects. Some modules of the standard library are there twice: as they are, and as
``name#light``, cut down to what a plugin uses of them (``tools/freeze/light``). Plugins take the
light ones, and so does cnid, whose children are plugins; ``dhcp daemon`` takes the real ones.
"""

import gc
import marshal
import posix
import sys
from _frozen_importlib import BuiltinImporter, FrozenImporter, ModuleSpec
from _frozen_importlib_external import ExtensionFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType

_ARCHIVE = "modules.bin"
_LENGTH = 8
_LIGHT = "#light"
_FIRST_FREE = 3


class Modules:
    """The import system of a frozen plugin: a finder, and the loader of what it finds.

    The archive stays open, so that the suite may be replaced while a plugin runs.
    """

    def __init__(self, directory: str, *, light: bool) -> None:
        self._directory = directory
        self._light = light
        self._file = _open(f"{directory}/{_ARCHIVE}")
        length = int.from_bytes(posix.pread(self._file, _LENGTH, 0), "little")
        self._index = marshal.loads(posix.pread(self._file, length, _LENGTH))  # noqa: S302 - our own
        self._start = _LENGTH + length
        self._real: dict[str, ModuleType] = {}

    def find_spec(
        self, name: str, _path: object = None, _target: object = None
    ) -> "ModuleSpec | None":
        """Where the module is, or None."""
        entry = self._index.get(self._key(name))
        if entry is None:
            return None
        is_package, _, _, extension = entry
        if extension:
            origin = f"{self._directory}/{extension}"
            return ModuleSpec(name, ExtensionFileLoader(name, origin), origin=origin)
        directory = f"{self._directory}/{name.replace('.', '/')}"
        origin = f"{directory}/__init__.py" if is_package else f"{directory}.py"
        spec = ModuleSpec(name, self, origin=origin, is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [directory]
        return spec

    def names(self) -> list[str]:
        """All modules of the archive."""
        return [name for name in self._index if not name.endswith(_LIGHT)]

    def real(self, name: str, attribute: str) -> object:
        """An attribute of the real module, for what the light one of that name does not have.

        Raises:
            AttributeError: neither has it, or it is one that the import system asks for.
        """
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if name not in self._real:
            module = self._real[name] = type(sys)(name)
            module.__spec__ = self.find_spec(name)
            module.__package__ = name if self._index[name][0] else name.rpartition(".")[0]
            module.__path__ = module.__spec__.submodule_search_locations
            self._run(name, module)
        return getattr(self._real[name], attribute)

    def _key(self, name: str) -> str:
        light = name + _LIGHT
        return light if self._light and light in self._index else name

    def create_module(self, spec: ModuleSpec) -> None:
        """An ordinary module object."""

    def exec_module(self, module: "ModuleType") -> None:
        """Run the module's code."""
        self._run(self._key(module.__spec__.name), module)

    def _run(self, key: str, module: "ModuleType") -> None:
        exec(self._code(key), module.__dict__)  # noqa: S102

    def get_code(self, name: str) -> "CodeType":
        """The code object of a module of the archive."""
        return self._code(self._key(name))

    def _code(self, key: str) -> "CodeType":
        _, offset, size, _ = self._index[key]
        code = posix.pread(self._file, size, self._start + offset)
        return marshal.loads(code)  # noqa: S302 - our own

    def get_source(self, _name: str) -> None:
        """None: there is no source for a traceback to quote."""

    def is_package(self, name: str) -> bool:
        """Whether a module of the archive is a package."""
        return self._index[self._key(name)][0]


def _open(path: str) -> int:
    """Open for reading, close-on-exec, on none of the standard descriptors.

    A plugin must still see that one of those was closed by its caller.
    """
    low = []
    while (descriptor := posix.open(path, posix.O_RDONLY)) < _FIRST_FREE:
        low.append(descriptor)
    for number in low:
        posix.close(number)
    return descriptor


gc.disable()  # a plugin ends before garbage matters; looking for it costs 5 % of the imports
sys.frozen = True
_modules = Modules(sys._MEIPASS, light=sys.argv[1:2] != ["daemon"])  # noqa: SLF001
sys.meta_path[:] = [_modules, BuiltinImporter, FrozenImporter]
sys.path[:] = []
sys.path_importer_cache.clear()
