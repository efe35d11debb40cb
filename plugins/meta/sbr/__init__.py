"""sbr: what leaves from an address of the interface goes by the routes of that interface.

For a container with several interfaces. ADD moves the interface's routes out of the main table, to
a private table for each of its addresses, and adds one rule ``from <address> lookup <table>``::

    {"cniVersion": "1.0.0", "name": "web", "type": "sbr"}

With ``table`` only rules are made, and they look up that table, which somebody else fills. On the
host it leaves nothing. DEL removes the rules and puts the routes back into the main table.
"""

from ipaddress import ip_network

from pydantic import Field, field_validator

from cnilib.errors import CheckFailed, ConfigError, KernelError
from cnilib.kernel.addresses import list_addresses
from cnilib.kernel.link_routes import change_routes, list_link_routes, tables_with_routes
from cnilib.kernel.links import find_link, get_link
from cnilib.kernel.netns import Namespace
from cnilib.kernel.rules import add_rule, list_rules, remove_rule
from cnilib.kernel.tables import RESERVED_TABLES, free_table, tables_in_use
from cnilib.log import warn
from cnilib.plugin import plugin
from cnilib.types.addresses import Ip
from cnilib.types.base import Items
from cnilib.types.config import NetConf
from cnilib.undo import ErrorList
from plugins.meta.sbr.plan import (
    Owner,
    left_in_main,
    moved,
    moved_back,
    owners_of,
    source_hints,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.route_messages import LinkRoute
    from cnilib.kernel.rules import Rule
    from cnilib.request import Request
    from cnilib.types.addresses import IPNetwork
    from cnilib.types.result import Result
    from cnilib.undo import Undo

_FIRST_TABLE, _LAST_TABLE = 100, 2**32 - 1


class TeardownConf(NetConf):
    """What DEL needs; it never refuses a value."""

    table: int | None = Field(
        default=None, description="routing table of the rules; it is left to whoever fills it"
    )


class Conf(TeardownConf):
    """The keys of ADD and CHECK."""

    table: int | None = Field(
        default=None,
        ge=1,
        le=_LAST_TABLE,
        description="make only rules, to this table, and touch no route",
    )
    gateways: Items[Ip] = Field(
        default=(),
        description="gateways instead of those of prevResult, at most one of each family",
    )
    add_source_hints: bool = Field(
        default=False, description="keep the subnets of the interface in the main table as well"
    )

    @field_validator("gateways")
    @classmethod
    def _one_of_a_family(cls, gateways: tuple[Ip, ...]) -> tuple[Ip, ...]:
        versions = [gateway.version for gateway in gateways]
        if len(versions) > len(set(versions)):
            raise ValueError(
                "more than one gateway of a family: give one IPv4 and one IPv6 at most"
            )
        return gateways


def add(req: "Request", conf: Conf, undo: "Undo") -> "Result":
    """A rule for each address; the routes to the rules' tables, then out of the main table."""
    result = req.get_prev_result()
    if not result.ips:
        raise ConfigError("prevResult has no ips: sbr needs the addresses it is to make rules for")
    with Namespace.open(req.netns) as container, container.locked(req.deadline):
        link = get_link(container, req.ifname)
        owners = owners_of(result, req.ifname, conf.gateways)
        tables = _ensure_rules(container, link, owners, conf.table, undo)
        if conf.table is None and owners:
            _move_routes(container, link, tables, conf, undo)
    return result


def _ensure_rules(
    container: Namespace,
    link: "Link",
    owners: "Collection[Owner]",
    table: int | None,
    undo: "Undo",
) -> dict[Owner, int]:
    """The table of each address: as configured, of the rule it has, or the next unused one.

    A rule to a table with routes of other interfaces is not from a former ADD of ours.
    """
    rules = [rule for family in (4, 6) for rule in list_rules(container, family)]
    used = set[int]() if table else tables_in_use(container)
    tables: dict[Owner, int] = {}
    last = _FIRST_TABLE - 1
    for owner in owners:
        present = _tables_of(rules, owner, table)
        if present and table is None:
            present -= tables_with_routes(container, besides=link.index)
        tables[owner] = last = min(present) if present else table or free_table(used, last + 1)
        if not present:
            undo.add(
                f"remove the rule from {owner.source}", _drop_rule, container.path, owner, last
            )
            add_rule(container, owner.source, last)
    return tables


def _tables_of(rules: "Collection[Rule]", owner: Owner, table: int | None) -> set[int]:
    """Where the rules of an address lead that may be ours."""
    found = {rule.table for rule in rules if rule.plain and rule.source == owner.source}
    return found - RESERVED_TABLES if table is None else found & {table}


def _drop_rule(netns: str, owner: Owner, table: int) -> None:
    with Namespace.open(netns) as container:
        remove_rule(container, owner.source, table)


def _move_routes(
    container: Namespace, link: "Link", tables: dict[Owner, int], conf: Conf, undo: "Undo"
) -> None:
    before = list_link_routes(container, link.index)
    wanted = moved(before, tables, link.index, keep_subnets=conf.add_source_hints)
    undo.add(f"put the routes of {link.name} back", _restore, container.path, link.index, before)
    change_routes(container, before, wanted, replace=True)
    if conf.add_source_hints:
        hinted = source_hints(wanted, tables, link.index)
        try:
            change_routes(container, wanted, hinted)
        except KernelError as error:  # only an improvement: an IPv6 address may be tentative yet
            warn(f"sbr: no source hint: {error}")


def _restore(netns: str, index: int, before: "Collection[LinkRoute]") -> None:
    errors = ErrorList()
    with Namespace.open(netns) as container:
        change_routes(container, list_link_routes(container, index), before, errors=errors)
    errors.raise_any()


def delete(req: "Request", conf: TeardownConf, errors: "ErrorList") -> None:
    """Routes back first, rules last: a DEL that is killed between finds its way again."""
    with errors:
        container = Namespace.find(req.netns)
        if container is not None:
            with container, container.locked(req.deadline):
                _remove(container, req, conf, errors)


def _remove(container: Namespace, req: "Request", conf: TeardownConf, errors: "ErrorList") -> None:
    link = find_link(container, req.ifname)
    sources = _sources(container, link) if link else _orphaned_sources(container, req)
    rules = [rule for family in (4, 6) for rule in list_rules(container, family)]
    ours = [
        rule
        for rule in reversed(rules)  # the kernel asks the newest first
        if rule.plain and rule.source in sources and conf.table in {None, rule.table}
    ]
    if link and conf.table is None:
        shared = RESERVED_TABLES | {rule.table for rule in rules if rule not in ours}
        tables = [rule.table for rule in ours if rule.table not in shared]
        with errors:
            kept = _empty_tables(container, link, tables, errors)
            ours = [rule for rule in ours if rule.table not in kept]
    for rule in ours:
        if rule.source is not None:
            with errors:
                remove_rule(container, rule.source, rule.table, rule.priority)


def _empty_tables(
    container: Namespace, link: "Link", tables: list[int], errors: "ErrorList"
) -> set[int]:
    """Move the routes back; the tables that the kernel did not let go of, for the next DEL."""
    before = list_link_routes(container, link.index)
    change_routes(container, before, moved_back(before, tables), errors=errors)
    if not errors.failures:
        return set()
    return {route.table for route in list_link_routes(container, link.index)} & set(tables)


def _sources(container: Namespace, link: "Link") -> "set[IPNetwork]":
    addresses = list_addresses(container, link.index)
    return {ip_network(address.interface.ip) for address in addresses}


def _orphaned_sources(container: Namespace, req: "Request") -> "set[IPNetwork]":
    """Addresses of the result that went with the interface and that no other one has now."""
    if req.prev_result is None:
        return set()
    from cnilib.kernel.conntrack import local_addresses

    owners = owners_of(req.prev_result, req.ifname, ())
    present = local_addresses(container, 4) | local_addresses(container, 6)
    return {owner.source for owner in owners if owner.address.ip not in present}


def check(req: "Request", conf: Conf) -> None:
    """Each address has its rule, its table the way out, and the main table nothing of ours."""
    owners = owners_of(req.get_prev_result(), req.ifname, conf.gateways)
    with Namespace.open(req.netns) as container:
        link = get_link(container, req.ifname)
        rules = [rule for family in (4, 6) for rule in list_rules(container, family)]
        routes = list_link_routes(container, link.index)
    for owner in owners:
        tables = _tables_of(rules, owner, conf.table)
        lookup = "" if conf.table is None else f" lookup {conf.table}"
        _expect(tables, f"rule from {owner.source}{lookup}", req)
        if owner.gateway is not None and conf.table is None:
            defaults = [r for r in routes if r.table in tables and r.dst == owner.anywhere]
            _expect(defaults, f"default route in the table of {owner.source}", req)
    left = left_in_main(routes, owners)
    if left and conf.table is None and not conf.add_source_hints:
        raise CheckFailed(
            f"routes of {req.ifname} in {req.netns}: expected none in the main table, found "
            f"{', '.join(str(route.dst) for route in left)}"
        )


def _expect(present: object, what: str, req: "Request") -> None:
    if not present:
        raise CheckFailed(f"{what} for {req.ifname} in {req.netns}: expected, found none")


main = plugin(
    "sbr", Conf, add=add, delete=delete, check=check, delete_conf=TeardownConf, chained=True
)
