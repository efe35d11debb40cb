"""Putting in what an attachment wants, without taking what is somebody else's."""

from typing import NamedTuple

from cnilib.errors import ConfigError
from cnilib.netfilter import commands, records, tables
from cnilib.netfilter.names import comment
from cnilib.netfilter.nft import NftExistsError
from cnilib.netfilter.records import BridgeUse, Element, Owner, Record, Records, Rule
from cnilib.netfilter.withdrawing import target_marker, withdraw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnilib.attachment import Attachment


class Wanted(NamedTuple):
    """Everything one plugin wants for one attachment."""

    elements: tuple[Element, ...] = ()
    rules: tuple[Rule, ...] = ()
    bridge: BridgeUse | None = None


class Conflict(NamedTuple):
    """An element that somebody else has with other data; ``holder`` is None when unknown."""

    element: Element
    holder: "Attachment | None"


def sentence(conflict: Conflict) -> str:
    """A conflict in words."""
    *_, protocol, port = conflict.element.key
    if conflict.holder is None:
        return f"host port {port}/{protocol} is published by somebody else"
    holder = conflict.holder
    return (
        f"host port {port}/{protocol} is published by {holder.container_id} of network "
        f"{holder.network}"
    )


class Application:
    """One ADD: decides what to take, what to give back and what to wait for."""

    def __init__(self, store: Records, owner: Owner, wanted: Wanted) -> None:
        self._store = store
        self._owner = owner
        self._wanted = wanted
        self._comment = comment(owner.attachment)
        self._old = store.read(owner) or Record(owner)

    def run(self, *, fail: bool) -> list[Conflict]:
        """Install what can be had; the conflicts are what cannot."""
        for stale in self._stale_records():
            withdraw(self._store, stale.owner)
        conflicts = self._conflicts()
        if fail and conflicts:
            raise ConfigError(sentence(conflicts[0]))
        try:
            self._install(conflicts)
        except NftExistsError:
            conflicts = self._conflicts_in_kernel(conflicts)
            if fail:
                raise ConfigError(sentence(conflicts[0])) from None
            self._install(conflicts)
        return conflicts

    def _stale_records(self) -> "Iterable[Record]":
        """Those of a dead container of this network whose address is ours now."""
        for marker in self._markers():
            other = self._store.record_owning(marker)
            if other is None or other.owner.plugin != self._owner.plugin:
                continue
            theirs, ours = other.owner.attachment, self._owner.attachment
            if theirs.network == ours.network and theirs.container_id != ours.container_id:
                yield other

    def _markers(self) -> set[Element]:
        return {marker for e in self._wanted.elements if (marker := target_marker(e))}

    def _conflicts(self) -> list[Conflict]:
        conflicts = []
        for element in self._wanted.elements:
            if element.data is None:
                continue
            other = self._store.record_owning(element)
            if other is None or other.owner == self._owner or element in other.elements:
                continue
            conflicts.append(Conflict(element, other.owner.attachment))
        return conflicts

    def _conflicts_in_kernel(self, known: list[Conflict]) -> list[Conflict]:
        """Elements without record that hold other data: records were lost, or others wrote."""
        from cnilib.netfilter import listing

        found = list(known)
        taken = {c.element for c in known}
        for family in {e.family for e in self._wanted.elements if e.data is not None}:
            present = {(e.name, e.key): e for e, _ in listing.table(family).elements}
            for element in self._wanted.elements:
                other = present.get((element.name, element.key))
                if element.family != family or other is None or element in taken:
                    continue
                if other.data != element.data:
                    found.append(Conflict(element, None))
        return found

    def _install(self, conflicts: list[Conflict]) -> None:
        waiting = tuple(conflict.element for conflict in conflicts)
        mine = tuple(e for e in self._wanted.elements if e not in waiting)
        record = Record(self._owner, mine, self._wanted.rules, self._wanted.bridge, waiting)
        self._store.write(record)
        before = self._bridge_commands(record)
        self._move_bridge(self._old.bridge, record.bridge)
        families = {e.family for e in self._wanted.elements} | {r.family for r in record.rules}
        try:
            text = self._text(record) + self._changed_bridges(record, before)
            tables.run(self._store, text, families, record)
        except BaseException:
            self._back_out(record)
            raise
        self._index(record)

    def _text(self, record: Record) -> str:
        own = records.record_name(self._owner)
        gone = [e for e in self._old.elements if e not in record.elements]
        lines = [commands.remove(e) for e in gone if tables.is_removable(self._store, e, own)]
        lines += tables.rule_removals(self._owner, self._old.rules)
        for element in record.elements:
            taken = self._store.owner_of(element) not in {"", own}
            spell = commands.take_over if taken else commands.add
            lines.append(spell(element, self._comment))
        lines += [commands.add_rule(rule, self._comment) for rule in record.rules]
        return "".join(lines)

    def _bridge_commands(self, record: Record) -> list[str]:
        """What the bridges of this call need by the policies that are on file now."""
        bridges = {use.name for use in (record.bridge, self._old.bridge) if use}
        families = {e.family for e in self._wanted.elements} | {r.family for r in record.rules}
        return tables.bridge_batches(self._store, bridges, sorted(families))

    def _changed_bridges(self, record: Record, before: list[str]) -> str:
        """Nothing for a bridge that is used under this policy already.

        Saying it again would delete and make anew, and deletions have their price when the
        process ends (``cnilib.kernel.nfnetlink``).
        """
        after = self._bridge_commands(record)
        return "".join(text for text in after if text not in before)

    def _index(self, record: Record) -> None:
        own = records.record_name(self._owner)
        for element in self._old.elements:
            if element not in record.elements and self._store.owner_of(element) == own:
                self._store.clear_owner(element)
        for element in record.elements:
            if element.name not in tables.SHARED:
                self._store.set_owner(element, self._owner)
                self._store.remove_claim(element, self._owner)
        for marker in self._markers():
            self._store.set_owner(marker, self._owner)
        for element in record.waiting:
            self._store.add_claim(element, self._owner)

    def _back_out(self, record: Record) -> None:
        """The transaction failed as a whole, so what was before still is."""
        if self._old.elements or self._old.rules or self._old.bridge:
            self._store.write(self._old)
        else:
            self._store.remove(self._owner)
        self._move_bridge(record.bridge, self._old.bridge)

    def _move_bridge(self, before: BridgeUse | None, after: BridgeUse | None) -> None:
        if before and (after is None or after.name != before.name):
            self._store.leave_bridge(before.name, self._owner)
        if after:
            self._store.use_bridge(after, self._owner)
