"""resolv.conf(5), as far as a CNI result can tell it."""

from cnilib.errors import IoError
from cnilib.store import read_file
from cnilib.types.result import DNS


def read_resolv_conf(path: str) -> DNS:
    """The resolver settings of a file; nothing when no path is given.

    Raises:
        IoError: it cannot be read.
    """
    if not path:
        return DNS()
    text = read_file(path)
    if text is None:
        raise IoError(f"failed to read resolvConf {path}: no such file or directory")
    return parse_resolv_conf(text.decode("utf-8", "replace"))


def parse_resolv_conf(text: str) -> DNS:
    """``nameserver`` and ``domain`` have one value, ``search`` and ``options`` add up."""
    found: dict[str, list[str]] = {"nameserver": [], "domain": [], "search": [], "options": []}
    for line in text.splitlines():
        keyword, *values = line.split() or [""]
        if keyword in found:
            found[keyword] += values[:1] if keyword in {"nameserver", "domain"} else values
    return DNS(
        nameservers=tuple(found["nameserver"]),
        domain=found["domain"][-1] if found["domain"] else "",
        search=tuple(found["search"]),
        options=tuple(found["options"]),
    )
