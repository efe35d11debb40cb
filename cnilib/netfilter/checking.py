"""Comparing our tables with what an attachment wants (CHECK)."""

from cnilib.errors import CheckFailed
from cnilib.netfilter import commands, layout, listing
from cnilib.netfilter.names import attachment_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cnilib.netfilter.listing import TableListing
    from cnilib.netfilter.records import BridgeUse, Element, Owner, Rule


def check(
    owner: "Owner",
    elements: "Sequence[Element]",
    rules: "Sequence[Rule]",
    bridge: "BridgeUse | None",
) -> None:
    """Compare each table that is concerned.

    Raises:
        CheckFailed: names what is missing or differs.
    """
    families = {element.family for element in elements} | {rule.family for rule in rules}
    for family in sorted(families):
        table = listing.table(family)
        if not table.exists:
            raise CheckFailed(f"nftables table {family} {layout.TABLE} is missing")
        _check_constant_rules(family, table, elements)
        _check_elements(table, [e for e in elements if e.family == family])
        _check_rules(owner, table, [rule for rule in rules if rule.family == family])
        if bridge:
            _check_bridge(family, table, bridge)


def _check_constant_rules(
    family: str, table: "TableListing", elements: "Iterable[Element]"
) -> None:
    for chain, expected in layout.chains(family).items():
        found = sum(rule.chain == chain for rule in table.rules)
        if found < len(expected):
            raise CheckFailed(
                f"chain {chain} of table {family} {layout.TABLE} has {found} rules, "
                f"expected {len(expected)}"
            )
    for element in elements:
        if element.family != family or not element.name.startswith(layout.OWN_SUBNET_SETS):
            continue
        if not any(f'"@{element.name}"' in rule.text for rule in table.rules):
            raise CheckFailed(f"the rule for set {element.name} is missing")


def _check_elements(table: "TableListing", elements: "Iterable[Element]") -> None:
    present = {(e.name, e.key): e for e, _ in table.elements}
    for element in elements:
        found = present.get((element.name, element.key))
        if found is None:
            raise CheckFailed(f"{_words(element)} is missing")
        if element.data is not None and found.data != element.data:
            raise CheckFailed(f"{_words(element)} leads to {found.data}, expected {element.data}")


def _check_rules(owner: "Owner", table: "TableListing", rules: "Sequence[Rule]") -> None:
    key = attachment_key(owner.attachment)
    for chain in {rule.chain for rule in rules}:
        expected = sum(rule.chain == chain for rule in rules)
        found = sum(r.chain == chain and r.comment.startswith(key) for r in table.rules)
        if found != expected:
            raise CheckFailed(
                f"chain {chain} has {found} rules of this attachment, expected {expected}"
            )


def _check_bridge(family: str, table: "TableListing", bridge: "BridgeUse") -> None:
    present = {(e.name, e.key): e for e, _ in table.elements}
    where = f"of table {family} {layout.TABLE}"
    if bridge.policy == commands.OPEN:
        return
    chain = commands.bridge_chain(bridge.name)
    for name in ("isolation", "restricted"):
        if (name, (bridge.name,)) not in present:
            raise CheckFailed(f"bridge {bridge.name} is missing in {name} {where}")
    rules = sum(rule.chain == chain for rule in table.rules)
    expected = 2 if bridge.policy == commands.ISOLATED else 1
    if rules < expected:
        raise CheckFailed(f"chain {chain} {where} has {rules} rules, expected {expected}")


def _words(element: "Element") -> str:
    key = " . ".join(map(str, element.key))
    return f"element {key} of {element.family} {layout.TABLE} {element.name}"
