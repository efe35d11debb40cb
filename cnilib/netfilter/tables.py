"""Sending batches to our tables: what is missing is made, what is gone stays gone."""

from cnilib.netfilter import commands, layout, nfprobe, nft, records
from cnilib.netfilter.names import attachment_key, comment
from cnilib.netfilter.nft import NftExistsError, NftMissingError, NftNotSupportedError
from cnilib.netfilter.records import Element, Owner, Record, Records, Rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SHARED = {"localnet"}
"""Sets whose elements belong to a device, not to an attachment: added, never removed."""

_SETS_OF = {
    "portmap": ("hp_", "snat_dst", "masqall_dst"),
    "firewall": ("fw_addr", "closed_dst"),
    "masquerade": ("masq_src", "out_own"),
}


def is_removable(store: Records, element: Element, own: str) -> bool:
    """Whether an element in the record named ``own`` goes with it.

    One that the index gives to nobody was put in by a call that was killed before it could say so.
    """
    return element.name not in SHARED and store.owner_of(element) in {"", own}


def run(store: Records, text: str, families: set[str], record: Record) -> None:
    """Send a batch; when something constant is missing, send it again with all of that.

    Tables that are gone altogether are made with everything that the records say was in them.
    """
    if not text:
        return
    try:
        nft.run(text)
    except NftMissingError:
        missing = {f for f in layout.FAMILIES if not nfprobe.has_table(f, layout.TABLE)}
        lost = [r for r in store.all() if r.owner != record.owner] if families & missing else []
        replay = make(store, families, [*lost, record], replayed=(missing, lost))
        nft.run(replay + text)
        if missing == set(layout.FAMILIES):
            store.mark_complete()


def make(
    store: Records,
    families: set[str],
    every: "list[Record]",
    replayed: "tuple[set[str], list[Record]] | None" = None,
) -> str:
    """The constant part of some tables, and what records had in those that are made anew."""
    anew, lost = (families, every) if replayed is None else replayed
    text = ""
    for family in sorted(families):
        own_subnets = {
            element.name
            for record in every
            for element in record.elements
            if element.family == family and element.name.startswith(layout.OWN_SUBNET_SETS)
        } | {
            name
            for name in nfprobe.set_names(family, layout.TABLE)
            if name.startswith(layout.OWN_SUBNET_SETS)
        }
        text += layout.create(family) + layout.create_own_subnets(family, own_subnets)
        for record in lost if family in anew else ():
            text += _replay(store, record, family)
    return text


def _replay(store: Records, record: Record, family: str) -> str:
    words, own = comment(record.owner.attachment), records.record_name(record.owner)
    text = "".join(
        commands.add(element, words)
        for element in record.elements
        if element.family == family and (element.name in SHARED or store.owner_of(element) == own)
    )
    text += "".join(
        commands.add_rule(rule, words) for rule in record.rules if rule.family == family
    )
    if record.bridge:
        text += commands.bridge(
            family, record.bridge.name, store.bridge_policies(record.bridge.name)
        )
    return text


def run_if_there(batches: "Iterable[str]") -> None:
    """Send removals as one transaction; whatever is not there any more is removed already."""
    batches = [batch for batch in batches if batch]
    if not batches:
        return
    try:
        nft.run("".join(batches))
    except NftNotSupportedError:
        return  # a kernel without nf_tables holds nothing of ours
    except (NftMissingError, NftExistsError):
        for batch in batches:
            _run_one_if_there(batch)


def _run_one_if_there(batch: str) -> None:
    try:
        nft.run(batch)
    except (NftMissingError, NftExistsError):
        return  # gone, or somebody else's by now


def bridge_batches(store: Records, names: "set[str]", families: "Iterable[str]") -> list[str]:
    """What some bridges need for the policies of those who use them now."""
    return [
        commands.bridge(family, name, store.bridge_policies(name))
        for name in sorted(names)
        for family in families
    ]


def present_families() -> list[str]:
    """The families in which our table exists."""
    return [family for family in layout.FAMILIES if nfprobe.has_table(family, layout.TABLE)]


def rule_removals(owner: Owner, rules: "Iterable[Rule]") -> list[str]:
    """Deletions of an attachment's own rules, which are found by the key in their comment."""
    key = attachment_key(owner.attachment).encode()
    return [
        commands.delete_rule(family, chain, raw.handle)
        for family, chain in sorted({(rule.family, rule.chain) for rule in rules})
        for raw in nfprobe.rules(family, layout.TABLE, chain)
        if key in raw.data
    ]


def remove_strays(plugin: str, is_stray: "Callable[[str], bool]") -> bool:
    """Remove elements and rules of ``plugin`` by their comment; whether there were any.

    The slow path, for what has no record: it lists the tables.
    """
    from cnilib.netfilter import listing

    batches = []
    for family in present_families():
        listed = listing.table(family)
        batches += [
            commands.delete(element)
            for element, text in listed.elements
            if element.name.startswith(_SETS_OF[plugin]) and is_stray(text)
        ]
        batches += [
            commands.delete_rule(family, rule.chain, rule.handle)
            for rule in listed.rules
            if plugin == "portmap" and is_stray(rule.comment)
        ]
    run_if_there(batches)
    return bool(batches)
