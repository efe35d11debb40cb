"""Leases on the disk: a file each, so that a change of one does not write a thousand."""

import json
import os

from cnilib.log import warn
from cnilib.store import read_file, remove_file, write_atomic
from plugins.ipam.dhcp.daemon.lease import Record
from plugins.ipam.dhcp.marks import file_id

_SUFFIX = ".json"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Store:
    """The files in one directory. Times in them count from the boot, which is noted with them."""

    def __init__(self, directory: str) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._directory = directory
        self._boot = (read_file(_BOOT_ID) or b"").decode().strip()

    def write(self, record: Record) -> None:
        """Keep a lease.

        Raises:
            IoError: the disk is full, for example.
        """
        document = {"boot": self._boot, **record.to_json()}
        write_atomic(self._path(record), json.dumps(document, indent=1).encode())

    def remove(self, record: Record) -> None:
        """Forget a lease.

        Raises:
            IoError: the file cannot be removed.
        """
        remove_file(self._path(record))

    def read(self) -> list[Record]:
        """All leases of this boot; files of another boot, or that are broken, are removed."""
        records = []
        for name in sorted(os.listdir(self._directory)):
            if not name.endswith(_SUFFIX) or name.startswith("."):
                continue
            path = f"{self._directory}/{name}"
            try:
                document = json.loads(read_file(path) or b"")
                record = Record.from_json(document) if document["boot"] == self._boot else None
            except (ValueError, KeyError, TypeError) as error:
                warn(f"dhcp: {path} is no lease: {error!r}")
                record = None
            if record is None:
                remove_file(path)
            else:
                records.append(record)
        return records

    def _path(self, record: Record) -> str:
        name = f"{file_id(record.attachment)}.{record.family}{_SUFFIX}"
        return f"{self._directory}/{name}"
