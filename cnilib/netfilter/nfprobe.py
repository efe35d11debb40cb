"""Small questions to nf_tables: does a table or chain exist, which rules hold these bytes.

libnftables answers the same by building a cache of the ruleset, and an iptables binary by
starting a process; a question asked straight over nfnetlink costs 0.05 ms. What the reference
plugins left behind is looked for on every DEL and is nearly always absent, so that matters.

Read only. Messages: linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h.
"""

import errno
import os
import struct
from typing import NamedTuple

from cnilib.errors import KernelError
from cnilib.kernel.nfnetlink import conversation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FAMILIES = {"inet": 1, "ip": 2, "bridge": 7, "ip6": 10}  # linux/netfilter.h, NFPROTO_*
_SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
_GET_TABLE, _GET_CHAIN, _GET_RULE = (_SUBSYSTEM | n for n in (1, 4, 7))
_GET_SET, _GET_GENERATION = (_SUBSYSTEM | n for n in (10, 16))
_GENERIC = 4  # bytes of struct nfgenmsg: family, version, resource
_TABLE_NAME = 1  # NFTA_TABLE_NAME
_CHAIN_TABLE, _CHAIN_NAME = 1, 3  # NFTA_CHAIN_*
_SET_TABLE, _SET_NAME = 1, 2  # NFTA_SET_*
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS = 1, 2, 3, 4  # NFTA_RULE_*
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2  # NFTA_EXPR_*
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT})
# EINVAL: nfnetlink without the nf_tables subsystem
_ABSENT = _UNSUPPORTED | {errno.ENOENT, errno.EINVAL}


class RawRule(NamedTuple):
    """A rule as the kernel sends it; ``data`` holds names, comments and addresses as bytes."""

    handle: int
    data: bytes


def supported() -> bool:
    """Whether the kernel has nf_tables and lets us ask.

    Raises:
        KernelError: neither yes nor no, for example EPERM.
    """
    return _exists(_GET_GENERATION, "inet", {})


def has_table(family: str, table: str) -> bool:
    """Whether the table exists; a kernel without nf_tables has none."""
    return _exists(_GET_TABLE, family, {_TABLE_NAME: table})


def has_chain(family: str, table: str, chain: str) -> bool:
    """Whether the chain exists."""
    return _exists(_GET_CHAIN, family, {_CHAIN_TABLE: table, _CHAIN_NAME: chain})


def chain_names(family: str, table: str) -> list[str]:
    """The names of all chains of a table; none when the table is missing."""
    names = []
    for payload in _dump(_GET_CHAIN, family, {_CHAIN_TABLE: table}):
        attributes = dict(_attributes(payload))
        if _text(attributes, _CHAIN_TABLE) == table:
            names.append(_text(attributes, _CHAIN_NAME))
    return names


def set_names(family: str, table: str) -> list[str]:
    """The names of all sets and maps of a table, their elements untouched."""
    names = []
    for payload in _dump(_GET_SET, family, {_SET_TABLE: table}):
        attributes = dict(_attributes(payload))
        if _text(attributes, _SET_TABLE) == table:
            names.append(_text(attributes, _SET_NAME))
    return names


def rules(family: str, table: str, chain: str) -> list[RawRule]:
    """The rules of a chain in order; none when the chain is missing."""
    found = []
    for payload in _dump(_GET_RULE, family, {_RULE_TABLE: table, _RULE_CHAIN: chain}):
        attributes = dict(_attributes(payload))
        if (_text(attributes, _RULE_TABLE), _text(attributes, _RULE_CHAIN)) == (table, chain):
            handle = int.from_bytes(attributes[_RULE_HANDLE], "big")
            found.append(RawRule(handle, payload))
    return found


def expressions(rule: RawRule) -> list[tuple[str, dict[int, bytes]]]:
    """What a rule consists of: expression name and its attributes by number."""
    found = []
    listed = dict(_attributes(rule.data)).get(_RULE_EXPRESSIONS, b"")
    for _, element in _attributes(listed):
        expression = dict(_attributes(element))
        body = dict(_attributes(expression.get(_EXPRESSION_DATA, b"")))
        found.append((_text(expression, _EXPRESSION_NAME), body))
    return found


def _exists(message: int, family: str, attributes: dict[int, str]) -> bool:
    try:
        conversation().get_raw(
            _request(family, attributes), message, "find", _name(family, attributes)
        )
    except KernelError as error:
        if error.errno in _ABSENT:
            return False
        raise
    return True


def _dump(message: int, family: str, attributes: dict[int, str]) -> list[bytes]:
    """The attribute bytes of every object of a kind."""
    body, thing = _request(family, attributes), _name(family, attributes)
    try:
        answers = conversation().dump_raw(body, message, "list", thing)
    except KernelError as error:
        if error.errno in _ABSENT:
            return []
        raise
    return [answer[_GENERIC:] for answer in answers]


def _request(family: str, attributes: dict[int, str]) -> bytes:
    body = struct.pack("=BBH", _FAMILIES[family], 0, 0)
    return body + b"".join(_attribute(kind, text) for kind, text in attributes.items())


def _attributes(data: bytes) -> "Iterator[tuple[int, bytes]]":
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        yield kind & _TYPE_MASK, data[offset + 4 : offset + length]
        offset += (max(length, 4) + 3) & ~3


def _attribute(kind: int, text: str) -> bytes:
    value = os.fsencode(text) + b"\0"
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _text(attributes: dict[int, bytes], kind: int) -> str:
    return attributes.get(kind, b"").rstrip(b"\0").decode("utf-8", "replace")


def _name(family: str, attributes: dict[int, str]) -> str:
    return " ".join(("nftables", family, *attributes.values()))
