"""Taking out what an attachment has, and giving freed host ports to those that wait for them."""

from cnilib.netfilter import commands, records, tables
from cnilib.netfilter.names import attachment_key, comment
from cnilib.netfilter.records import Element, Owner, Record, Records

_PORT_MAPS = {"hp_addr", "hp_any"}


def withdraw(store: Records, owner: Owner) -> Record | None:
    """Take out everything of ``owner``, under the lock; None when there was nothing."""
    record = store.read(owner)
    if record is None:
        return None if store.are_complete() else _withdraw_unrecorded(owner)
    own = records.record_name(owner)
    for element in record.waiting:
        store.remove_claim(element, owner)
    mine = [e for e in (*record.elements, *record.waiting) if tables.is_removable(store, e, own)]
    granted = [(e, claim) for e in mine if (claim := _claim(store, e)) is not None]
    if record.bridge:
        store.leave_bridge(record.bridge.name, owner)
    batches = [*map(commands.remove, mine), *tables.rule_removals(owner, record.rules)]
    batches += [commands.add(e, comment(claim.owner.attachment)) for _, (e, claim) in granted]
    if record.bridge:
        families = tables.present_families()
        batches += tables.bridge_batches(store, {record.bridge.name}, families)
    tables.run_if_there(batches)
    _forget(store, record)
    for _, (element, claimant) in granted:
        _grant(store, element, claimant)
    return record


def _withdraw_unrecorded(owner: Owner) -> Record | None:
    """Records were lost while the tables stayed: what is ours is known by its comment."""
    key = attachment_key(owner.attachment)
    found = tables.remove_strays(owner.plugin, lambda text: text.startswith(key))
    return Record(owner) if found else None


def _forget(store: Records, record: Record) -> None:
    own = records.record_name(record.owner)
    markers = [marker for element in record.elements if (marker := target_marker(element))]
    for element in (*record.elements, *markers):
        if store.owner_of(element) == own:
            store.clear_owner(element)
    store.remove(record.owner)


def target_marker(element: Element) -> Element | None:
    """What stands in the index for the address that ports are forwarded to."""
    if element.name not in _PORT_MAPS or not element.data:
        return None
    return Element(element.family, "target", element.data[:1])


def _claim(store: Records, element: Element) -> tuple[Element, Record] | None:
    """The oldest claim on what becomes free: the element it wants, and its record."""
    claimant = store.oldest_claim(element) if element.data is not None else None
    if claimant is None:
        return None
    for wanted in claimant.waiting:
        if wanted[:3] == element[:3]:
            return wanted, claimant
    return None


def _grant(store: Records, element: Element, claimant: Record) -> None:
    now = store.read(claimant.owner) or claimant  # an earlier grant may have changed it
    waiting = tuple(e for e in now.waiting if e != element)
    store.write(now._replace(elements=(*now.elements, element), waiting=waiting))
    store.set_owner(element, claimant.owner)
    store.remove_claim(element, claimant.owner)
