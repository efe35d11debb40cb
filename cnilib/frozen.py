"""What differs when the suite runs frozen: the environment that child processes must get."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_LOADER_VARIABLES = ("LD_LIBRARY_PATH", "LD_PRELOAD", "LIBPATH")
_LOADER_PREFIXES = ("_PYI_", "_MEI", "PYINSTALLER_")


def child_environment(environ: "Mapping[str, str]") -> dict[str, str]:
    """``environ`` as it was before PyInstaller's boot loader changed it for this process.

    The loader points LD_LIBRARY_PATH at its own directory and keeps the former value under
    ``*_ORIG``; a foreign binary started with it would load our libraries.
    """
    child = {
        name: value for name, value in environ.items() if not name.startswith(_LOADER_PREFIXES)
    }
    if "_PYI_ARCHIVE_FILE" not in environ:
        return child
    for name in _LOADER_VARIABLES:
        original = child.pop(f"{name}_ORIG", None)
        child.pop(name, None)
        if original is not None:
            child[name] = original
    return child
