"""Getting past the host's own FORWARD chain (firewall.md 3, netfilter.md 6).

An accept in our tables cannot overrule a drop that comes later, such as the FORWARD policy Docker
and ufw set. So packets we accept carry a mark, and the table ``filter`` that iptables uses gets::

    FORWARD      first: jump to CNI-FORWARD
    CNI-FORWARD  first: jump to the administrator's chain; then accept what carries the mark
    CNI-ADMIN    the administrator's rules, or those of a chain with another name

These rules are constant and stay. They consist of nothing that iptables cannot read. Chains and
jumps that exist, made by an administrator or the reference plugin, are used as they are.
"""

import struct

from cnilib.errors import CheckFailed, TryAgain
from cnilib.netfilter import layout, nfprobe, nft
from cnilib.netfilter.records import lock

FORWARD, CHAIN = "FORWARD", "CNI-FORWARD"
COMMENT = "CNI firewall plugin rules"
ADMIN_COMMENT = "CNI firewall plugin admin overrides"

_TABLE = "filter"
_VERDICT_CHAIN = 2  # NFTA_VERDICT_CHAIN
_IMMEDIATE_DATA, _COMPARE_DATA = 2, 3  # NFTA_IMMEDIATE_DATA, NFTA_CMP_DATA
_ACCEPT = (1).to_bytes(4, "big")  # NF_ACCEPT
_TRIES = 5


def ensure_jumps(family: str, admin_chain: str) -> None:
    """Make the chains and rules of a family that are missing.

    Raises:
        CniError: nftables refused, for example because the chains would form a loop.
        TryAgain: somebody else keeps changing the rules.
    """
    if not _missing(family, admin_chain):
        return
    for _ in range(_TRIES):
        with lock():
            commands = _missing(family, admin_chain)
            try:
                nft.run(commands)
            except nft.NftMissingError:  # the rule to stand behind went away
                continue
            return
    raise TryAgain(f"chain {CHAIN} of table {family} {_TABLE} keeps changing; try again")


def check_jumps(family: str, admin_chain: str) -> None:
    """Hold the rules against the table; nothing is made.

    Raises:
        CheckFailed: one is missing.
    """
    where = f"table {family} {_TABLE}"
    if _jump_handle(family, FORWARD, CHAIN) is None:
        raise CheckFailed(f"{where}: {FORWARD} does not jump to {CHAIN}")
    if _jump_handle(family, CHAIN, admin_chain) is None:
        raise CheckFailed(f"{where}: {CHAIN} does not jump to {admin_chain}")
    if not _accepts_mark(family):
        raise CheckFailed(f"{where}: {CHAIN} does not accept packets with mark {layout.mark():#x}")


def _missing(family: str, admin_chain: str) -> str:
    """The commands that make what is missing; "" when nothing is.

    A base chain that exists keeps its policy, since none is given; a new one accepts.
    """
    forward = _jump_handle(family, FORWARD, CHAIN)
    admin = _jump_handle(family, CHAIN, admin_chain)
    accepted = _accepts_mark(family)
    if forward is not None and admin is not None and accepted:
        return ""
    table = f"{family} {_TABLE}"
    bit = layout.mark()
    accept = f"meta mark & {bit:#x} == {bit:#x} counter accept"
    lines = [f"add table {table}"]
    if not nfprobe.has_chain(family, _TABLE, FORWARD):
        lines.append(f"add chain {table} {FORWARD} {{ type filter hook forward priority 0 ; }}")
    lines += [f"add chain {table} {CHAIN}", f"add chain {table} {admin_chain}"]
    if not accepted and admin is not None:
        lines.append(f"add rule {table} {CHAIN} handle {admin} {accept}")
    elif not accepted:
        lines.append(f"insert rule {table} {CHAIN} {accept}")
    if admin is None:
        lines.append(_jump(table, CHAIN, admin_chain, ADMIN_COMMENT))
    if forward is None:
        lines.append(_jump(table, FORWARD, CHAIN, COMMENT))
    return "".join(f"{line}\n" for line in lines)


def _jump(table: str, chain: str, target: str, comment: str) -> str:
    return f"insert rule {table} {chain} counter jump {target} comment {nft.quoted(comment)}"


def _jump_handle(family: str, chain: str, target: str) -> int | None:
    """The first rule of ``chain`` that goes to ``target``, whatever else it matches."""
    name = target.encode() + b"\0"
    verdict = struct.pack("=HH", 4 + len(name), _VERDICT_CHAIN) + name
    for rule in nfprobe.rules(family, _TABLE, chain):
        if verdict in rule.data and _verdict_of(rule).endswith(_padded(verdict)):
            return rule.handle
    return None


def _accepts_mark(family: str) -> bool:
    mark = struct.pack("=I", layout.mark())
    for rule in nfprobe.rules(family, _TABLE, CHAIN):
        parts = [part for part in nfprobe.expressions(rule) if part[0] != "counter"]
        if [name for name, _ in parts] != ["meta", "bitwise", "cmp", "immediate"]:
            continue
        compared = parts[2][1].get(_COMPARE_DATA, b"")
        if compared.endswith(mark) and _verdict_of(rule).endswith(_ACCEPT):
            return True
    return False


def _verdict_of(rule: nfprobe.RawRule) -> bytes:
    """The verdict at the end of a rule; empty without one."""
    for name, body in reversed(nfprobe.expressions(rule)):
        if name == "immediate":
            return body.get(_IMMEDIATE_DATA, b"")
    return b""


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
