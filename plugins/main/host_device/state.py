"""What a device was like on the host, in one file for each attachment.

``<dataDir>/<network>-<container id>-<ifname>.json``. It is there while the device is away.
"""

import json
import os
from typing import NamedTuple

from cnilib.attachment import Attachment
from cnilib.errors import IoError
from cnilib.log import warn
from cnilib.store import read_file, remove_file, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cnilib.kernel.link_messages import Link

_SUFFIX = ".json"
_LONGEST_NAME = 255  # NAME_MAX


class Saved(NamedTuple):
    """A device as it was; ``index``, ``mac`` and ``kind`` are what it is known by, too.

    ``netns`` is where it went, ``name`` its own on the host, ``alias`` the administrator's.
    """

    attachment: Attachment
    netns: str
    name: str
    index: int  # type: ignore[assignment] # shadows tuple.index, which nobody calls
    kind: str
    mac: str
    mtu: int
    alias: str
    up: bool


def of_device(attachment: Attachment, netns: str, device: "Link") -> Saved:
    """What is to be kept of a device that is still at home.

    An alias that repeats the name is a mark that somebody left, and nothing to restore.
    """
    alias = "" if device.alias == device.name else device.alias
    return Saved(
        attachment,
        netns,
        device.name,
        device.index,
        device.kind,
        device.mac,
        device.mtu,
        alias,
        device.up,
    )


def of_marked(attachment: Attachment, netns: str, link: "Link") -> Saved:
    """What can be known without a file of a link in the container: its alias is its old name."""
    return of_device(attachment, netns, link)._replace(name=link.alias, alias="", up=False)


def save(data_dir: str, saved: Saved) -> None:
    """Write the file.

    Raises:
        IoError: it cannot be written, or another attachment has it (a dash may be part of names).
    """
    path = _path(data_dir, saved.attachment)
    other = _read(path)
    if other is not None and other.attachment != saved.attachment:
        raise IoError(
            f"failed to write {path}: it belongs to {other.attachment}, delete that first"
        )
    plain = saved._asdict() | {"attachment": saved.attachment._asdict()}
    write_atomic(path, json.dumps(plain, indent=1).encode())


def find(data_dir: str, attachment: Attachment) -> Saved | None:
    """What was kept for an attachment; None without a file that can be understood."""
    saved = _read(_path(data_dir, attachment))
    return saved if saved is not None and saved.attachment == attachment else None


def forget(data_dir: str, attachment: Attachment) -> None:
    """Remove the attachment's file, if it has one."""
    if find(data_dir, attachment) is not None:
        remove_file(_path(data_dir, attachment))


def of_network(data_dir: str, network: str, before: float) -> "Iterator[Saved]":
    """What was kept for the attachments of a network before that time (seconds since 1970).

    Raises:
        IoError: the directory cannot be read.
    """
    try:
        names = sorted(os.listdir(data_dir))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise IoError(f"failed to list {data_dir}: {error.strerror}") from error
    for name in names:
        path = os.path.join(data_dir, name)
        saved = _read(path) if name.endswith(_SUFFIX) and not name.startswith(".") else None
        if saved and saved.attachment.network == network and os.stat(path).st_mtime < before:
            yield saved


def _read(path: str) -> Saved | None:
    """None without a file, or with one that DEL cannot go by."""
    try:
        data = read_file(path)
        return None if data is None else _decoded(json.loads(data))
    except IoError as error:
        warn(f"host-device: {error.msg}")
    except (ValueError, TypeError, KeyError):
        warn(f"host-device: {path} does not tell what a device was like: ignored")
    return None


def _decoded(plain: "dict[str, Any]") -> Saved:
    """Raises ValueError, TypeError or KeyError for what ``save`` does not write."""
    attachment = Attachment(**plain["attachment"])
    saved = Saved(**(plain | {"attachment": attachment}))
    texts = (*attachment, saved.netns, saved.name, saved.kind, saved.mac, saved.alias)
    numbers = (saved.index, saved.mtu, saved.up)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("expected a string")
    if not all(isinstance(number, int) for number in numbers):
        raise TypeError("expected a number")
    return saved


def _path(data_dir: str, attachment: Attachment) -> str:
    """Names that are too long together are kept apart by a digest."""
    name = "-".join(attachment) + _SUFFIX
    if len(name.encode()) > _LONGEST_NAME:
        from hashlib import sha256

        name = sha256(name.encode()).hexdigest() + _SUFFIX
    return os.path.join(data_dir, name)
