"""What was delegated for each container: one file with the very stdin of the delegate.

``<dataDir>/<container id>`` as the reference has it, so that either suite deletes what the other
added; ``<container id>-<ifname>`` for an interface of a container whose plain name is taken by
another network.
"""

import os
from typing import NamedTuple

from cnilib import jsontext
from cnilib.errors import DecodeError
from cnilib.store import create_exclusive, ensure_directory, read_file, remove_file, write_atomic
from plugins.meta.flannel.config import delegate_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnilib.attachment import Attachment, ValidAttachments
    from cnilib.types.base import JsonObject

_SUFFIXES_OF_OTHERS = (".tmp", ".lock")


class Saved(NamedTuple):
    """A file and the configuration in it; an empty ``document`` when it is no configuration."""

    path: str
    document: "JsonObject"

    @property
    def name(self) -> str:
        """The name of the file."""
        return os.path.basename(self.path)

    @property
    def network(self) -> object:
        """The network's name, None in a file that is no configuration."""
        return jsontext.find(self.document, "name")


def save(directory: str, attachment: "Attachment", stdin: bytes) -> None:
    """Keep what the delegate is going to get.

    Raises:
        IoError: it cannot be written.
    """
    ensure_directory(directory, 0o700)
    plain, own = _paths(directory, attachment)
    while True:
        saved = _read(plain)
        if saved is not None:
            is_free = saved.network in {None, attachment.network}
            write_atomic(plain if is_free else own, stdin)
            return
        if create_exclusive(plain, stdin):  # another network's ADD may run at the same time
            return


def find_saved(directory: str, attachment: "Attachment") -> Saved | None:
    """What was kept for this attachment; a file that is no configuration counts as its own.

    Raises:
        IoError: a file cannot be read.
    """
    for path in reversed(_paths(directory, attachment)):
        saved = _read(path)
        if saved is not None and saved.network in {None, attachment.network}:
            return saved
    return None


def forget(saved: Saved) -> None:
    """Remove a file."""
    remove_file(saved.path)


def list_saved(directory: str, network: str, before: float) -> "Iterator[Saved]":
    """Everything that was kept for a network before that time, as files are dated."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return
    for name in names:
        if not name.startswith(".") and not name.endswith(_SUFFIXES_OF_OTHERS):
            saved = _read(os.path.join(directory, name))
            if saved is not None and saved.network == network and _time(saved.path) < before:
                yield saved


def owner(saved: Saved, valid: "ValidAttachments") -> tuple[str, str] | None:
    """Container id and ifname of a file that belongs to no valid attachment; None if it does.

    The plain name does not tell the interface: runtimes call a container's first one eth0.
    """
    if any(
        saved.name in {container_id, f"{container_id}-{ifname}"} for container_id, ifname in valid
    ):
        return None
    container_id, dash, ifname = saved.name.rpartition("-")
    if dash and os.path.exists(os.path.join(os.path.dirname(saved.path), container_id)):
        return container_id, ifname
    return saved.name, "eth0"


def _paths(directory: str, attachment: "Attachment") -> tuple[str, str]:
    plain = os.path.join(directory, attachment.container_id)
    return plain, f"{plain}-{attachment.ifname}"


def _time(path: str) -> float:
    """When it was written; long ago when a DEL has just removed it."""
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0


def _read(path: str) -> Saved | None:
    content = read_file(path)
    if content is None:
        return None
    try:
        document = jsontext.load_object(content, path)
    except DecodeError:
        return Saved(path, {})
    is_whole = delegate_type(document) and isinstance(jsontext.find(document, "name"), str)
    return Saved(path, document if is_whole else {})
