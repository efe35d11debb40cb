"""What is in our tables, as objects: for CHECK, GC and recovery, never for a plain ADD or DEL."""

from typing import NamedTuple

from cnilib.netfilter import nft
from cnilib.netfilter.layout import TABLE
from cnilib.netfilter.records import Element

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ListedElement(NamedTuple):
    """An element and its comment."""

    element: Element
    comment: str


class ListedRule(NamedTuple):
    """A rule: ``text`` is its JSON, to be searched."""

    chain: str
    handle: int
    comment: str
    text: str


class TableListing(NamedTuple):
    """One of our tables; ``exists`` is False when there is none."""

    exists: bool
    elements: list[ListedElement]
    rules: list[ListedRule]


def table(family: str) -> TableListing:
    """All elements and rules of ``cni_plugins`` in a family."""
    import json

    elements: list[ListedElement] = []
    rules: list[ListedRule] = []
    objects = nft.listing(f"list table {family} {TABLE}")
    for entry in objects:
        for kind in ("set", "map"):
            if kind in entry:
                listed = entry[kind]
                elements += [_element(family, listed["name"], e) for e in listed.get("elem", ())]
        if "rule" in entry:
            rule = entry["rule"]
            text = json.dumps(rule["expr"])
            rules.append(ListedRule(rule["chain"], rule["handle"], rule.get("comment", ""), text))
    return TableListing(bool(objects), elements, rules)


def _element(family: str, name: str, entry: "Any") -> ListedElement:
    """libnftables-json(5): maps are pairs; a comment wraps the key into an ``elem``."""
    key, data = entry if isinstance(entry, list) else (entry, None)
    comment = ""
    if isinstance(key, dict) and "elem" in key:
        comment = key["elem"].get("comment", "")
        key = key["elem"]["val"]
    parts = None if data is None else _parts(data)
    return ListedElement(Element(family, name, _parts(key), parts), comment)


def _parts(value: "Any") -> tuple[str | int, ...]:
    if isinstance(value, dict) and "concat" in value:
        return tuple(value["concat"])
    if isinstance(value, dict):
        (verdict,) = value
        target = value[verdict]
        return (f"{verdict} {target['target']}" if target else verdict,)
    return (value,)
