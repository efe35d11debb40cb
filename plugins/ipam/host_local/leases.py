"""The leases of one network: a directory with one file for each address.

``<address>`` holds the container id, CR LF and the interface name (in files of early releases only
the container id), ``last_reserved_ip.<range id>`` the address the next search starts after, and
``lock`` is held with flock. A lease appears with its whole content or not at all; an empty file,
which a crash of the reference plugin leaves behind, is free.
"""

import os
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, inet_pton

from cnilib.errors import CniError, IoError, NotAvailable
from cnilib.store import create_exclusive, locked, read_file, remove_file, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from cnilib.attachment import Attachment, ValidAttachments
    from cnilib.types.addresses import IPAddress
    from cnilib.undo import ErrorList
    from plugins.ipam.host_local.ranges import RangeSet

_SEPARATOR = "\r\n"
_LOCK_MODE = 0o750  # the reference plugin's


class Leases:
    """The leases of one network, and the ones this call has made."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._made: list[str] = []

    def exist(self) -> bool:
        """Whether anything was ever leased."""
        return os.path.isdir(self._directory)

    def locked(self, deadline: float) -> "AbstractContextManager[None]":
        """Keep every other plugin, the reference's included, from changing the leases."""
        return locked(f"{self._directory}/lock", deadline, _LOCK_MODE)

    def require_writable(self) -> None:
        """Look whether a lease could be written, without writing one.

        Raises:
            NotAvailable: names the directory.
        """
        directory = self._directory
        while not os.path.exists(directory):
            directory = os.path.dirname(directory) or "."
        if not os.path.isdir(directory) or not os.access(directory, os.W_OK | os.X_OK):
            raise NotAvailable(f"the directory of the leases cannot be written: {directory}")

    def taken(self) -> set[str]:
        """The names of all leased addresses."""
        return {name for name, owner in self._owners().items() if owner}

    def held_by(self, attachment: "Attachment") -> "set[IPAddress]":
        """The addresses of an attachment."""
        mine = {_owner(attachment), attachment.container_id}
        return {ip_address(name) for name, owner in self._owners().items() if owner in mine}

    def take_requested(
        self, attachment: "Attachment", range_set: "RangeSet", address: "IPAddress"
    ) -> "IPAddress":
        """Lease one certain address of a range set.

        Raises:
            CniError: it is taken or reserved, or the attachment has an address of the set already.
        """
        owners = self._owners()
        _refuse_second(attachment, range_set, owners)
        chosen = range_set.range_of(address)
        if address == chosen.gateway:
            raise _failure(range_set, f"requested ip {address} is subnet's gateway")
        if chosen.is_reserved(address):
            raise _failure(
                range_set,
                f"requested IP address {address} is excluded, or the network or broadcast address "
                f"of {chosen.network}",
            )
        if not self._take(attachment, range_set, address, owners):
            raise _failure(
                range_set,
                f"requested IP address {address} is not available in range set {range_set}: "
                f"it belongs to {' '.join(owners.get(str(address), 'another').split())}",
            )
        return address

    def take_next(self, attachment: "Attachment", range_set: "RangeSet") -> "IPAddress":
        """Lease the next free address, so that a freed one is used again as late as possible.

        Raises:
            CniError: none is free, or the attachment has an address of the set already.
        """
        owners = self._owners()
        _refuse_second(attachment, range_set, owners)
        taken = {name for name, owner in owners.items() if owner}
        after = self._last_reserved(range_set)
        while (address := range_set.next_free(taken, after)) is not None:
            if self._take(attachment, range_set, address, owners):
                return address
            taken.add(str(address))  # made without the lock
        raise _failure(
            range_set,
            f"no IP addresses available in range set: {range_set}; {self._directory} holds "
            f"{len(taken)} leases",
        )

    def give_back(self) -> None:
        """Remove the leases this call has made, and no other of the same attachment."""
        while self._made:
            remove_file(f"{self._directory}/{self._made.pop()}")

    def release(self, attachment: "Attachment", errors: "ErrorList") -> None:
        """Remove every lease of an attachment; without one, those of early releases."""
        owners = self._owners()
        mine = _owner(attachment)
        if mine not in owners.values():
            mine = attachment.container_id
        self._remove([name for name, owner in owners.items() if owner == mine], errors)

    def collect(self, valid: "ValidAttachments", errors: "ErrorList") -> None:
        """Remove the leases of attachments that are not valid."""
        stale = [name for name, owner in self._owners().items() if not _is_valid(owner, valid)]
        self._remove([name for name in stale if self._written(name) < valid.before], errors)

    def _remove(self, names: list[str], errors: "ErrorList") -> None:
        for name in names:
            with errors:
                remove_file(f"{self._directory}/{name}")

    def _take(
        self,
        attachment: "Attachment",
        range_set: "RangeSet",
        address: "IPAddress",
        owners: dict[str, str],
    ) -> bool:
        """Lease an address and remember it as the last; False when its file exists.

        The name is noted before the file is made: a signal in between must not leave it behind.
        """
        name = str(address)
        path, data = f"{self._directory}/{name}", _owner(attachment).encode()
        if owners.get(name):
            return False
        self._made.append(name)
        if name in owners:  # an empty file
            write_atomic(path, data)
        elif not create_exclusive(path, data):
            self._made.remove(name)
            return False
        write_atomic(f"{self._directory}/last_reserved_ip.{range_set.range_id}", name.encode())
        return True

    def _last_reserved(self, range_set: "RangeSet") -> "IPAddress | None":
        """None when nothing was reserved yet; whatever else the file says counts as that."""
        text = read_file(f"{self._directory}/last_reserved_ip.{range_set.range_id}") or b""
        try:
            return ip_address(text.decode().strip())
        except ValueError:
            return None

    def _owners(self) -> dict[str, str]:
        """Address -> who has leased it, "" for an empty file."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return {}
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise IoError(f"failed to list the leases in {self._directory}: {reason}") from error
        contents = ((name, self._content(name)) for name in names if _is_address(name))
        return {name: content for name, content in contents if content is not None}

    def _content(self, name: str) -> str | None:
        """A lease's content without the white space around it; None when it has just gone."""
        content = read_file(f"{self._directory}/{name}")
        return None if content is None else content.decode("utf-8", "replace").strip()

    def _written(self, name: str) -> float:
        """When a lease was written, in seconds since the epoch."""
        try:
            return os.stat(f"{self._directory}/{name}").st_mtime
        except FileNotFoundError:
            return 0.0


def _owner(attachment: "Attachment") -> str:
    return f"{attachment.container_id}{_SEPARATOR}{attachment.ifname}"


def _is_valid(owner: str, valid: "ValidAttachments") -> bool:
    container_id, separator, ifname = owner.partition(_SEPARATOR)
    return (container_id, ifname) in valid if separator else valid.has_container(container_id)


def _is_address(name: str) -> bool:
    if name[0] not in "0123456789abcdef:":  # most of the other files, without an exception each
        return False
    try:
        inet_pton(AF_INET6 if ":" in name else AF_INET, name)
    except (OSError, ValueError):
        return False
    return True


def _refuse_second(attachment: "Attachment", range_set: "RangeSet", owners: dict[str, str]) -> None:
    mine = {_owner(attachment), attachment.container_id}
    for name, owner in owners.items():
        if owner in mine and ip_address(name) in range_set:
            raise _failure(
                range_set,
                f"{name} has been allocated to {attachment}, duplicate allocation is not allowed",
            )


def _failure(range_set: "RangeSet", what: str) -> CniError:
    return CniError(f"failed to allocate for range {range_set.range_id}: {what}")
