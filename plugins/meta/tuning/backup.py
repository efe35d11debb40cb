"""The values from before an ADD, in a file that the reference plugin's DEL can read as well.

``<dataDir>/<container id>_<ifname>.json``: the members ``mac``, ``promisc``, ``mtu``, ``allmulti``
and ``txQLen``, as far as they were changed, are the reference's. Ours beside them: ``sysctl`` (path
below /proc/sys -> value) and ``network``, for GC. Others are kept as found.
"""

import json
import os
from typing import NamedTuple

from cnilib.errors import IoError
from cnilib.log import warn
from cnilib.store import ensure_directory, read_file, remove_file, write_atomic
from plugins.meta.tuning.config import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cnilib.attachment import Attachment, ValidAttachments
    from cnilib.undo import ErrorList, Undo

_MEMBERS: dict[str, type] = {
    "mac": str,
    "promisc": bool,
    "mtu": int,
    "allmulti": bool,
    "txQLen": int,
}
_SUFFIX = ".json"


class Backup(NamedTuple):
    """What a file says: attribute -> value, and sysctl path -> value."""

    attributes: dict[str, Value]
    sysctls: dict[str, str]


def save(data_dir: str, attachment: "Attachment", before: Backup, undo: "Undo") -> None:
    """Add values to the attachment's file, except those it has: the oldest are the true ones.

    Raises:
        IoError: the file cannot be written.
    """
    path = _path(data_dir, attachment)
    old = read_file(path)
    document = _parse(old) or {}
    saved_sysctls = document.get("sysctl")
    kept = saved_sysctls if isinstance(saved_sysctls, dict) else {}
    document = before.attributes | document | {"network": attachment.network}
    if before.sysctls or kept:
        document["sysctl"] = before.sysctls | kept
    undo.add(f"put {path} back", _put_back, path, old)
    ensure_directory(data_dir, 0o700)
    write_atomic(path, json.dumps(document, indent=1).encode())


def find(data_dir: str, attachment: "Attachment") -> Backup | None:
    """What there is to restore; None without a file or when it cannot be understood."""
    try:
        document = _parse(read_file(_path(data_dir, attachment)))
    except IoError:  # DEL has nothing to go by, and must not fail for it
        return None
    if document is None:
        return None
    attributes = {
        member: document[member] for member, kind in _MEMBERS.items() if _is(document, member, kind)
    }
    sysctls = document.get("sysctl")
    pairs = sysctls.items() if isinstance(sysctls, dict) else ()
    return Backup(attributes, {path: value for path, value in pairs if isinstance(value, str)})


def remove(data_dir: str, attachment: "Attachment") -> None:
    """Delete the attachment's file, if there is one; DEL must not fail for it (tuning.md 4)."""
    try:
        remove_file(_path(data_dir, attachment))
    except IoError as error:
        warn(f"tuning: {error.msg}")


def collect(data_dir: str, network: str, valid: "ValidAttachments", errors: "ErrorList") -> None:
    """Delete the files of attachments of ``network`` that are not valid.

    A container id may hold an underscore, so names are compared whole. A file without a network
    is of the reference plugin, and nobody knows whose.

    Raises:
        IoError: the directory cannot be read.
    """
    keep = {f"{container_id}_{ifname}{_SUFFIX}" for container_id, ifname in valid}
    try:
        names = os.listdir(data_dir)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise IoError(f"failed to list {data_dir}: {error.strerror}") from error
    for name in names:
        if name.endswith(_SUFFIX) and not name.startswith(".") and name not in keep:
            path = os.path.join(data_dir, name)
            with errors:
                document = _parse(read_file(path))
                ours = document is not None and document.get("network") == network
                if ours and os.stat(path).st_mtime < valid.before:
                    remove_file(path)


def _path(data_dir: str, attachment: "Attachment") -> str:
    return os.path.join(data_dir, f"{attachment.container_id}_{attachment.ifname}{_SUFFIX}")


def _parse(data: bytes | None) -> "dict[str, Any] | None":
    try:
        document = json.loads(data) if data else None
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _is(document: "dict[str, Any]", member: str, kind: type) -> bool:
    """Python counts True as an int, JSON does not."""
    value = document.get(member)
    return type(value) is kind


def _put_back(path: str, data: bytes | None) -> None:
    if data is None:
        remove_file(path)
    else:
        write_atomic(path, data)
