"""What each attachment has in our tables, in files that can be read without listing a ruleset.

::

    /run/cni/cni_plugins/<namespace>/
        table                          made by the call that made the tables: records are complete
        records/<key>.<plugin>         one attachment's elements, rules and bridge, as JSON
        owners/<element>               symlink to the record that owns the element now
        waiting/<element>/<time>       symlinks to records that want a port somebody else has
        bridges/<bridge>/<record>      symlink to the policy that this record asks for

A ruleset belongs to one network namespace and /run to the machine, so each namespace has records
of its own, named by SO_NETNS_COOKIE, which is never used twice. All calls are made under ``lock``.
"""

import json
import os
import socket
import time
from typing import NamedTuple

from cnilib.attachment import Attachment
from cnilib.store import ensure_directory, locked, read_file, remove_file, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import Any

ROOT = "/run/cni/cni_plugins"
LOCK = "/run/cni/cni-plugins-nft.lock"
_SO_NETNS_COOKIE = 71  # asm-generic/socket.h, Linux 5.14
_COOKIE_BYTES = 8
_MODE = 0o644


class Element(NamedTuple):
    """An element of a set, or of a map when it has ``data``.

    ``key`` and ``data`` are the parts of a concatenation, without nft's spelling. The data of the
    map ``isolation`` is one verdict.
    """

    family: str
    name: str
    key: tuple[str | int, ...]
    data: tuple[str | int, ...] | None = None


class Rule(NamedTuple):
    """A rule of its own, in nft's words and without the comment."""

    family: str
    chain: str
    text: str


class BridgeUse(NamedTuple):
    """A bridge and the policy an attachment asks for: ``open``, ``same-bridge``, ``isolated``."""

    name: str
    policy: str


class Owner(NamedTuple):
    """One plugin's part of one attachment."""

    attachment: Attachment
    plugin: str


class Record(NamedTuple):
    """What an owner has installed; ``waiting`` is what it would have if it were not taken."""

    owner: Owner
    elements: tuple[Element, ...] = ()
    rules: tuple[Rule, ...] = ()
    bridge: BridgeUse | None = None
    waiting: tuple[Element, ...] = ()


def lock(deadline: float | None = None) -> "AbstractContextManager[None]":
    """Serialise everything that changes records and tables."""
    return locked(LOCK, deadline)


class Records:
    """The records of the network namespace this thread is in."""

    def __init__(self) -> None:
        self._root = os.path.join(ROOT, _namespace_name())

    def mark_complete(self) -> None:
        """Remember that every element of the tables has a record from now on."""
        ensure_directory(self._root)
        write_atomic(self._path("table"), b"", _MODE)

    def are_complete(self) -> bool:
        """Whether an attachment without record can have nothing in the tables."""
        return os.path.exists(self._path("table"))

    def read(self, owner: Owner) -> Record | None:
        """The record of an owner; None when there is none."""
        return self._read(record_name(owner))

    def write(self, record: Record) -> None:
        """Store a record."""
        text = json.dumps(_plain(record), separators=(",", ":")).encode("utf-8", "replace")
        write_atomic(self._path("records", record_name(record.owner)), text, _MODE)

    def written(self, owner: Owner) -> float:
        """When an owner's record was written, in seconds since the epoch; 0 without one."""
        return _changed(self._path("records", record_name(owner)))

    def remove(self, owner: Owner) -> None:
        """Forget a record."""
        remove_file(self._path("records", record_name(owner)))

    def all(self) -> "Iterator[Record]":
        """Every record."""
        for name in _names(self._path("records")):
            record = None if name.startswith(".") else self._read(name)
            if record is not None:
                yield record

    def owner_of(self, element: Element) -> str:
        """The name of the record that owns an element; "" when nobody does."""
        return _target(self._path("owners", element_name(element)))

    def record_owning(self, element: Element) -> Record | None:
        """The record that owns an element."""
        name = self.owner_of(element)
        return self._read(name) if name else None

    def set_owner(self, element: Element, owner: Owner) -> None:
        """Make ``owner`` the owner of an element."""
        _point(self._path("owners", element_name(element)), record_name(owner))

    def clear_owner(self, element: Element) -> None:
        """An element has no owner any more."""
        remove_file(self._path("owners", element_name(element)))

    def add_claim(self, element: Element, owner: Owner) -> None:
        """Queue for an element that somebody else has."""
        directory = self._path("waiting", element_name(element))
        name = record_name(owner)
        if name not in self._claims(directory).values():
            _point(os.path.join(directory, f"{time.time_ns():020d}"), name)

    def remove_claim(self, element: Element, owner: Owner) -> None:
        """Leave the queue for an element."""
        directory = self._path("waiting", element_name(element))
        for stamp, name in self._claims(directory).items():
            if name == record_name(owner):
                remove_file(os.path.join(directory, stamp))
        if not _names(directory) and os.path.isdir(directory):
            os.rmdir(directory)

    def oldest_claim(self, element: Element) -> Record | None:
        """The record that has waited longest for an element."""
        for _, name in sorted(self._claims(self._path("waiting", element_name(element))).items()):
            record = self._read(name)
            if record is not None:
                return record
        return None

    def use_bridge(self, bridge: BridgeUse, owner: Owner) -> None:
        """Note that an attachment uses a bridge, under which policy."""
        _point(self._path("bridges", _quoted(bridge.name), record_name(owner)), bridge.policy)

    def leave_bridge(self, name: str, owner: Owner) -> None:
        """An attachment does not use a bridge any more."""
        directory = self._path("bridges", _quoted(name))
        remove_file(os.path.join(directory, record_name(owner)))
        if not _names(directory) and os.path.isdir(directory):
            os.rmdir(directory)

    def bridge_policies(self, name: str) -> list[str]:
        """The policies under which a bridge is used, oldest user first."""
        directory = self._path("bridges", _quoted(name))
        paths = [os.path.join(directory, user) for user in _names(directory)]
        return [_target(path) for path in sorted(paths, key=_changed)]

    def _claims(self, directory: str) -> dict[str, str]:
        return {stamp: _target(os.path.join(directory, stamp)) for stamp in _names(directory)}

    def _read(self, name: str) -> Record | None:
        text = read_file(self._path("records", name))
        try:
            return _record(json.loads(text)) if text else None
        except (ValueError, KeyError, TypeError):
            return None  # half a file of another program: as if there were none

    def _path(self, *names: str) -> str:
        return os.path.join(self._root, *names)


def record_name(owner: Owner) -> str:
    """The file name of an owner's record."""
    from cnilib.netfilter.names import attachment_key

    return f"{attachment_key(owner.attachment)}.{owner.plugin}"


def element_name(element: Element) -> str:
    """The file name of an element in the index."""
    return ",".join((element.family, element.name, *(_quoted(str(part)) for part in element.key)))


def _namespace_name() -> str:
    """SO_NETNS_COOKIE, or the inode of the namespace on kernels before 5.14."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            cookie = probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, _COOKIE_BYTES)
        except OSError:
            return f"inode-{os.stat('/proc/thread-self/ns/net').st_ino}"
    return str(int.from_bytes(cookie, "little"))


def _plain(record: Record) -> "dict[str, Any]":
    return {
        "network": record.owner.attachment.network,
        "containerID": record.owner.attachment.container_id,
        "ifname": record.owner.attachment.ifname,
        "plugin": record.owner.plugin,
        "elements": record.elements,
        "rules": record.rules,
        "bridge": record.bridge,
        "waiting": record.waiting,
    }


def _record(plain: "dict[str, Any]") -> Record:
    attachment = Attachment(plain["network"], plain["containerID"], plain["ifname"])
    return Record(
        Owner(attachment, plain["plugin"]),
        tuple(map(_element, plain["elements"])),
        tuple(Rule(*rule) for rule in plain["rules"]),
        BridgeUse(*plain["bridge"]) if plain["bridge"] else None,
        tuple(map(_element, plain["waiting"])),
    )


def _element(plain: "list[Any]") -> Element:
    family, name, key, data = plain
    return Element(family, name, tuple(key), None if data is None else tuple(data))


def _quoted(text: str) -> str:
    """``text`` as a file name."""
    return text.replace("%", "%25").replace("/", "%2F").replace(",", "%2C")


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # missing, or no link: nobody
        return ""


def _changed(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0


def _point(path: str, target: str) -> None:
    """Make ``path`` a symlink to ``target`` in one step."""
    if _target(path) == target:
        return
    temporary = f"{os.path.dirname(path)}/.{os.getpid()}.tmp"
    ensure_directory(os.path.dirname(path))
    remove_file(temporary)
    os.symlink(target, temporary)
    os.rename(temporary, path)
