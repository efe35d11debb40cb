"""How elements, rules and bridges are spelled in nft's language."""

from cnilib.netfilter.layout import FAMILIES, TABLE
from cnilib.netfilter.names import digest
from cnilib.netfilter.nft import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.netfilter.records import Element, Rule

_INTERFACE_SETS = {"localnet", "restricted", "open_bridges", "isolation"}
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}  # by number: the host may lack /etc/protocols
_BRIDGE_COMMENT = "CNI plugins: a bridge"
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
OPEN, ISOLATED = "open", "isolated"


def add(element: "Element", comment: str) -> str:
    """Add an element; one that is there with the same data stays as it is."""
    return f"add element {_where(element)} {{ {_spelled(element, comment)} }}\n"


def remove(element: "Element") -> str:
    """Delete an element, whether it is there or not."""
    spelled = _spelled(element, "")
    return (
        f"add element {_where(element)} {{ {spelled} }}\n"
        f"delete element {_where(element)} {{ {_key(element)} }}\n"
    )


def delete(element: "Element") -> str:
    """Delete an element that is there, whatever its data."""
    return f"delete element {_where(element)} {{ {_key(element)} }}\n"


def take_over(element: "Element", comment: str) -> str:
    """Give an element that is there with the same data another comment."""
    return remove(element) + add(element, comment)


def add_rule(rule: "Rule", comment: str) -> str:
    """Append a rule of an attachment."""
    return f"add rule {rule.family} {TABLE} {rule.chain} {rule.text} comment {quoted(comment)}\n"


def delete_rule(family: str, chain: str, handle: int) -> str:
    """Delete a rule by its handle."""
    return f"delete rule {family} {TABLE} {chain} handle {handle}\n"


def bridge(family: str, name: str, policies: list[str]) -> str:
    """What a bridge needs for the policies of its users, the newest last; none: nothing."""
    restricted = [policy for policy in policies if policy != OPEN]
    if restricted:
        return _restricted_bridge(family, name, restricted[-1])
    lines = _unrestricted_bridge(family, name)
    where = f"{family} {TABLE} open_bridges"
    if policies:
        return lines + f"add element {where} {{ {_bridge_element(name)} }}\n"
    return lines + _removed(where, name, "")


def bridge_chain(name: str) -> str:
    """The chain of a restricted bridge."""
    return f"iso_{name}" if set(name) <= _SAFE else f"iso_{digest(name)}"


def _restricted_bridge(family: str, name: str, policy: str) -> str:
    table, chain, device = f"{family} {TABLE}", bridge_chain(name), quoted(name)
    lines = [f"add chain {table} {chain}", f"flush chain {table} {chain}"]
    if policy == ISOLATED:
        lines.append(f"add rule {table} {chain} oifname {device} drop")
    lines += [
        f"add rule {table} {chain} oifname != {device} jump isolation_2",
        f"add element {table} isolation {{ {_bridge_element(name)} : jump {chain} }}",
        f"add element {table} restricted {{ {_bridge_element(name)} }}",
    ]
    return "".join(f"{line}\n" for line in lines) + _removed(f"{table} open_bridges", name, "")


def _unrestricted_bridge(family: str, name: str) -> str:
    table, chain = f"{family} {TABLE}", bridge_chain(name)
    return (
        f"add chain {table} {chain}\n"
        + _removed(f"{table} isolation", name, f" : jump {chain}")
        + _removed(f"{table} restricted", name, "")
        + f"flush chain {table} {chain}\ndelete chain {table} {chain}\n"
    )


def _removed(where: str, bridge_name: str, data: str) -> str:
    element = _bridge_element(bridge_name)
    return (
        f"add element {where} {{ {element}{data} }}\n"
        f"delete element {where} {{ {quoted(bridge_name)} }}\n"
    )


def _bridge_element(name: str) -> str:
    return f"{quoted(name)} comment {quoted(_BRIDGE_COMMENT)}"


def _where(element: "Element") -> str:
    return f"{element.family} {TABLE} {element.name}"


def _spelled(element: "Element", comment: str) -> str:
    note = f" comment {quoted(comment)}" if comment else ""
    data = "" if element.data is None else " : " + " . ".join(map(str, element.data))
    return f"{_key(element)}{note}{data}"


def _key(element: "Element") -> str:
    if element.name in _INTERFACE_SETS:
        return " . ".join(quoted(str(part)) for part in element.key)
    return " . ".join(str(_PROTOCOLS.get(str(part), part)) for part in element.key)


__all__ = [
    "FAMILIES",
    "ISOLATED",
    "OPEN",
    "add",
    "add_rule",
    "bridge",
    "bridge_chain",
    "delete",
    "delete_rule",
    "remove",
    "take_over",
]
