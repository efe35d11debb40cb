"""Routing tables: which numbers are free to take."""

from cnilib.kernel.link_routes import tables_with_routes
from cnilib.kernel.rules import list_rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from cnilib.kernel.netns import Namespace

RESERVED_TABLES = frozenset({0, 253, 254, 255})
"""Unspecified, default, main and local (linux/rtnetlink.h)."""


def tables_in_use(namespace: "Namespace") -> set[int]:
    """The tables that have a route of any family, or that a rule looks up."""
    rules = [rule for family in (4, 6) for rule in list_rules(namespace, family)]
    return tables_with_routes(namespace) | {rule.table for rule in rules}


def free_table(used: "Collection[int]", first: int) -> int:
    """The smallest number from ``first`` on that is neither used nor reserved."""
    table = first
    while table in used or table in RESERVED_TABLES:
        table += 1
    return table
