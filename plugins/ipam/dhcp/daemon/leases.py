"""All leases of the daemon, and what the plugin's commands do with them."""

import asyncio
from ipaddress import ip_address
from typing import NamedTuple

from cnilib.attachment import Attachment
from cnilib.errors import CniError, ConfigError, TryAgain
from cnilib.kernel.dhcp4 import CLIENT_ID
from cnilib.log import warn
from plugins.ipam.dhcp.daemon.client import Wishes, acquire_patiently
from plugins.ipam.dhcp.daemon.grant import result_of
from plugins.ipam.dhcp.daemon.lease import Lease, Record, client_for
from plugins.ipam.dhcp.daemon.place import Place
from plugins.ipam.dhcp.daemon.store import Store
from plugins.ipam.dhcp.daemon.times import now
from plugins.ipam.dhcp.marks import file_id, remove_mark, take_marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from plugins.ipam.dhcp.daemon.flags import Flags
    from plugins.ipam.dhcp.rpc import Order

_FAMILIES = (4, 6)
_LONGEST_ID = 254  # bytes behind the type byte of a client identifier


class Key(NamedTuple):
    """One lease of an attachment."""

    attachment: Attachment
    family: int


class Leases:
    """The table of leases; every change is stored before it is answered.

    ``marks`` is the directory in which DEL leaves word while no daemon runs.
    """

    def __init__(self, flags: "Flags", store: Store, marks: str) -> None:
        self._flags = flags
        self._store = store
        self._marks = marks
        self._held: dict[Key, Lease] = {}
        self._coming: dict[Key, asyncio.Task[Lease]] = {}

    def restore(self) -> None:
        """Take up what was stored, where namespace, link and time still allow it."""
        for record in self._store.read():
            lease = Lease(record, self._flags, self)
            reason = _reason_to_drop(record)
            if reason:
                warn(f"dhcp: lease {lease} is dropped: {reason}")
                self._store.remove(record)
            else:
                self._held[Key(record.attachment, record.family)] = lease
                lease.start()
        self.sweep()

    async def add(self, order: "Order") -> "dict[str, Any]":
        """The leases of every family asked for; all of them, or those that are new are given back.

        Raises:
            TryAgain: no server answered.
            CniError: the namespace or the link is missing, or the server's answer cannot be used.
        """
        place = Place.find(self._flags.hostprefix + order.netns, order.ifname)
        await place.wait_until_running()
        attachment = _attachment(order)
        remove_mark(self._marks, attachment)
        keys = [Key(attachment, family) for family in order.families]
        fresh = [key for key in keys if not self._is_held_at(key, place)]
        try:
            leases = await _all(self._get(key, place, order) for key in keys)
        except BaseException:  # the plugin hung up, too
            for key in fresh:
                self._release(key)
            raise
        return result_of([lease.record.grant for lease in leases])

    def check(self, order: "Order") -> None:
        """Every family asked for has a valid lease.

        Raises:
            CniError: it has none.
        """
        for family in order.families:
            key = Key(_attachment(order), family)
            lease = self._held.get(key)
            if lease is None:
                raise CniError(f"there is no DHCPv{family} lease of {key.attachment}")
            lease.require_valid()

    def delete(self, order: "Order") -> None:
        """Release all that the attachment has; nothing is fine."""
        attachment = _attachment(order)
        remove_mark(self._marks, attachment)
        for family in _FAMILIES:
            self._release(Key(attachment, family))

    def gc(self, order: "Order") -> None:
        """Release what the network has for other attachments than the valid ones."""
        valid = {(ref.container_id, ref.ifname) for ref in order.valid}
        for key in [*self._held, *self._coming]:
            attachment = key.attachment
            is_valid = (attachment.container_id, attachment.ifname) in valid
            if attachment.network == order.network and not is_valid:
                self._release(key)

    def sweep(self) -> None:
        """Drop the leases of namespaces that are gone, and release those that DEL has marked."""
        marked = take_marks(self._marks)
        for key, lease in list(self._held.items()):
            try:
                if file_id(key.attachment) in marked:
                    self._release(key)
                elif not lease.record.place.exists:
                    warn(f"dhcp: lease {lease} is dropped: {lease.record.place.netns} is gone")
                    self._forget(key)
                else:
                    lease.settle()
            except CniError as error:  # the others want to be looked at, too
                warn(f"dhcp: lease {lease}: {error}")

    def stop(self) -> None:
        """End all tasks; the leases stay, on the disk and with their servers."""
        for lease in self._held.values():
            lease.stop()
        for task in self._coming.values():
            task.cancel()

    def changed(self, lease: Lease) -> None:
        """A lease has a new grant."""
        self._store.write(lease.record)

    def ended(self, lease: Lease) -> None:
        """A lease is over: it stays known, for CHECK to say so, but is not taken up again."""
        self._store.remove(lease.record)

    def is_last_on_link(self, lease: Lease) -> bool:
        """Whether no other living lease uses the link."""
        place = lease.record.place
        return not any(
            other is not lease and not other.over and other.record.place[:3] == place[:3]
            for other in self._held.values()
        )

    def _is_held_at(self, key: Key, place: Place) -> bool:
        lease = self._held.get(key)
        return (
            lease is not None
            and not lease.over
            and lease.record.grant.times.expires_at > now()
            and lease.record.place[:3] == place[:3]
        )

    async def _get(self, key: Key, place: Place, order: "Order") -> Lease:
        """The lease that is held for this very link, or a new one; two calls at once share it."""
        if self._is_held_at(key, place):
            return self._held[key]
        self._forget(key)
        task = self._coming.get(key)
        if task is None:
            wishes = _wishes(order, key.family)
            task = asyncio.get_running_loop().create_task(self._acquire(key, place, wishes))
            self._coming[key] = task
            task.add_done_callback(lambda _: self._coming.pop(key, None))
        try:
            return await task
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():  # type: ignore[union-attr] # there is one
                raise
            raise TryAgain(f"{key.attachment} was deleted while it was added") from None

    async def _acquire(self, key: Key, place: Place, wishes: Wishes) -> Lease:
        client = client_for(key.family, place, wishes, self._flags)
        grant = await acquire_patiently(client, self._flags)
        record = Record(key.attachment, key.family, place, wishes, grant)
        lease = Lease(record, self._flags, self)
        self._held[key] = lease
        self._store.write(record)
        lease.start()
        return lease

    def _release(self, key: Key) -> None:
        """Give a lease back to its server; one that cannot be reached any longer is forgotten."""
        coming = self._coming.pop(key, None)
        if coming is not None:
            coming.cancel()
        lease = self._forget(key)
        if lease is None or lease.over:
            return
        try:
            lease.client.release(lease.record.grant)
        except CniError as error:
            warn(f"dhcp: lease {lease} is dropped without a RELEASE: {error}")

    def _forget(self, key: Key) -> Lease | None:
        lease = self._held.pop(key, None)
        if lease is not None:
            lease.stop()
            self._store.remove(lease.record)
        return lease


async def _all(coroutines: "Any") -> list[Lease]:
    """The results; the first failure cancels the others and is raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _attachment(order: "Order") -> Attachment:
    return Attachment(order.network, order.container_id, order.ifname)


def _wishes(order: "Order", family: int) -> Wishes:
    """What an order asks for in one protocol.

    Raises:
        ConfigError: an option's value is no hexadecimal number, or a suggestion no address.
    """
    try:
        provide = {option.code: bytes.fromhex(option.value) for option in order.provide}
        suggested = [text for text in order.suggest if ip_address(text).version == family]
    except ValueError as error:
        raise ConfigError(f"invalid option to provide, or address to suggest: {error}") from None
    text = f"{order.container_id}/{order.network}/{order.ifname}".encode()
    client_id = provide.pop(CLIENT_ID, b"\0" + text[:_LONGEST_ID])
    return Wishes(client_id, tuple(order.request), provide, next(iter(suggested), ""))


def _reason_to_drop(record: Record) -> str:
    """Why a stored lease cannot be taken up; "" when it can."""
    if record.grant.times.expires_at <= now():
        return "it has expired"
    try:
        mac = record.place.with_present_mac().mac
    except CniError as error:
        return str(error)
    return "" if mac == record.place.mac else f"{record.place.ifname} is another link now"
