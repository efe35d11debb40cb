"""Marks that DEL leaves for a daemon that is not running, beside the leases it stores.

``<socket>.leases/`` has a file for each lease, and ``<id>.released`` for each attachment that was
deleted meanwhile. The daemon drops those leases when it starts, and looks again from time to time.
"""

import hashlib
import os

from cnilib.store import remove_file, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.attachment import Attachment

_SUFFIX = ".released"


def directory_of(socket_path: str) -> str:
    """Where the state beside a socket is."""
    return f"{socket_path}.leases"


def file_id(attachment: "Attachment") -> str:
    """A file name for an attachment, whose own names may be longer than a file's may."""
    text = "/".join(attachment)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def leave_mark(socket_path: str, attachment: "Attachment") -> bool:
    """Mark an attachment as deleted; False when no daemon has ever kept state here.

    Raises:
        IoError: the mark cannot be written.
    """
    directory = directory_of(socket_path)
    if not os.path.isdir(directory):
        return False
    write_atomic(f"{directory}/{file_id(attachment)}{_SUFFIX}", f"{attachment}\n".encode())
    return True


def take_marks(directory: str) -> set[str]:
    """The ids of all attachments that were marked; the marks are gone afterwards."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return set()
    ids = {name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)}
    return {marked for marked in ids if remove_file(f"{directory}/{marked}{_SUFFIX}")}


def remove_mark(directory: str, attachment: "Attachment") -> None:
    """An ADD has made the attachment anew."""
    remove_file(f"{directory}/{file_id(attachment)}{_SUFFIX}")
