"""The constant part of our nftables tables (netfilter.md 2).

One table per family, ``ip cni_plugins`` and ``ip6 cni_plugins``, made by the first call that needs
it. Its rules never change; what belongs to an attachment is an element of a map or set. The
priorities are chosen against others' chains: -95 comes after kube-proxy, Docker and iptables
(-100), 95 before every other masquerade, 105 after the administrator's own source NAT.
"""

from typing import NamedTuple

from cnilib.errors import ConfigError
from cnilib.store import read_file

TABLE = "cni_plugins"
FAMILIES = ("ip", "ip6")
MARK_FILE = "/etc/cni/firewall/mark"
"""A host's own choice of the bit, as ``0x1000`` or ``4096``; tables get it when they are made."""

_DEFAULT_MARK = 0x1000  # Kubernetes has bits 14 and 15, Calico 20 to 31, portmap's iptables 13
_MARK_BITS = 32

OWN_SUBNET_SETS = ("hp_own", "out_own")
"""Sets of (container address, network address), one for each prefix length in use."""


class _Family(NamedTuple):
    """What differs between the two tables."""

    address: str
    any_protocol_dnat: str
    bits: int
    multicast: str


_TRAITS = {
    "ip": _Family("ipv4_addr", "ip", 32, "224.0.0.0/4"),
    "ip6": _Family("ipv6_addr", "ip6", 128, "ff00::/8"),
}


def mark() -> int:
    """The bit of the packet mark that tells later forward chains that we accept a packet.

    Raises:
        ConfigError: the host's file does not hold one bit.
    """
    data = read_file(MARK_FILE)
    if data is None:
        return _DEFAULT_MARK
    text = data.decode("utf-8", "replace").strip()
    try:
        bit = int(text, 0)
    except ValueError:
        bit = 0
    if bit.bit_count() != 1 or not 0 < bit < 1 << _MARK_BITS:
        raise ConfigError(f"{MARK_FILE} says {text!r}: expected one bit of the mark, as 0x1000")
    return bit


def create(family: str) -> str:
    """The whole table; what exists already stays, and its rules are written anew."""
    note = "CNI plugins: managed automatically, do not edit"
    lines = [f'add table {family} {TABLE} {{ comment "{note}" ; }}']
    lines += [f"add {kind} {family} {TABLE} {spec}" for kind, spec in _collections(family)]
    bodies = chains(family)
    lines += [f"add chain {family} {TABLE} {name} {_BASES.get(name, '')}" for name in bodies]
    for name, rules in bodies.items():
        if name not in _KEPT:
            lines.append(f"flush chain {family} {TABLE} {name}")
            lines += [f"add rule {family} {TABLE} {name} {rule}" for rule in rules]
    return "\n".join(lines) + "\n"


def create_own_subnets(family: str, names: "set[str]") -> str:
    """The sets ``names`` and, for the chains that look into them, one rule for each.

    ``names`` must hold every such set of the table: the chains are written anew.
    """
    address = _TRAITS[family].address
    lines = []
    for name in sorted(names):
        spec = f"{{ type {address} . {address} ; }}"
        lines.append(f"add set {family} {TABLE} {name} {spec}")
    for prefix, chain in (("hp_own", "hairpin"), ("out_own", "own_subnet")):
        mine = sorted(name for name in names if name.startswith(prefix))
        if mine:
            lines.append(f"flush chain {family} {TABLE} {chain}")
        lines += [
            f"add rule {family} {TABLE} {chain} {_own_subnet_rule(family, prefix, name)}"
            for name in mine
        ]
    return "".join(f"{line}\n" for line in lines)


def chains(family: str) -> dict[str, list[str]]:
    """Chain -> the rules it must hold, in order."""
    bit = mark()
    return {
        "hostports_cond": [],
        "hostports": [
            "jump hostports_cond",
            f"dnat {family} to {family} daddr . meta l4proto . th dport map @hp_addr",
            f"dnat {family} to meta l4proto . th dport map @hp_any",
        ],
        "hairpin": [],
        "own_subnet": [],
        "guard": _ipv4_only(family, "iifname @localnet ip daddr 127.0.0.0/8 drop"),
        "nat_pre": ["fib daddr type local jump hostports"],
        "nat_out": ["fib daddr type local jump hostports"],
        "nat_post_hp": [
            f"ct status dnat {family} daddr @masqall_dst masquerade",
            *_ipv4_only(
                family, "ct status dnat ip daddr @snat_dst ip saddr 127.0.0.0/8 masquerade"
            ),
            f"ct status dnat {family} daddr @snat_dst jump hairpin",
        ],
        "nat_post_out": [
            f"{family} daddr {_TRAITS[family].multicast} return",
            f"{family} saddr @masq_src jump own_subnet",
            f"{family} saddr @masq_src masquerade",
        ],
        "fw_ok": [f"meta mark set meta mark | {bit:#x} accept"],
        "isolation_2": ["oifname @restricted drop"],
        "forward": [
            "iifname vmap @isolation",
            "iifname @open_bridges oifname @restricted ct state new drop",
            f"{family} daddr @closed_dst ct state new ct status & dnat != dnat drop",
            f"{family} daddr @fw_addr ct state established,related jump fw_ok",
            f"{family} daddr @fw_addr ct status dnat jump fw_ok",
            f"{family} saddr @fw_addr jump fw_ok",
        ],
        "clear_mark": [
            f"meta mark & {bit:#x} == {bit:#x} meta mark set meta mark & {0xFFFFFFFF ^ bit:#x}"
        ],
    }


_BASES = {
    "guard": "{ type filter hook prerouting priority -300 ; }",
    "nat_pre": "{ type nat hook prerouting priority -95 ; }",
    "nat_out": "{ type nat hook output priority -95 ; }",
    "nat_post_hp": "{ type nat hook postrouting priority 95 ; }",
    "nat_post_out": "{ type nat hook postrouting priority 105 ; }",
    "forward": "{ type filter hook forward priority -10 ; }",
    "clear_mark": "{ type filter hook postrouting priority 310 ; }",
}

_KEPT = {"hostports_cond", "hairpin", "own_subnet"}
"""Chains whose rules depend on attachments or prefix lengths."""


def _collections(family: str) -> list[tuple[str, str]]:
    """(kind, name and type) of each map and set."""
    address = _TRAITS[family].address
    target = f"{address} . inet_service"
    return [
        ("map", f"hp_addr {{ type {address} . inet_proto . inet_service : {target} ; }}"),
        ("map", f"hp_any {{ type inet_proto . inet_service : {target} ; }}"),
        *(
            ("set", f"{name} {{ type {address} ; }}")
            for name in ("snat_dst", "masqall_dst", "masq_src", "fw_addr", "closed_dst")
        ),
        *(
            ("set", f"{name} {{ type ifname ; }}")
            for name in ("localnet", "restricted", "open_bridges")
        ),
        ("map", "isolation { type ifname : verdict ; }"),
    ]


def _own_subnet_rule(family: str, prefix: str, name: str) -> str:
    """The container's address against its peer's, cut to the prefix length in the set's name."""
    length = int(name.removeprefix(prefix))
    ours, theirs = ("daddr", "saddr") if prefix == "hp_own" else ("saddr", "daddr")
    verdict = "masquerade" if prefix == "hp_own" else "accept"
    peer = f"{family} {theirs}"
    if length < _TRAITS[family].bits:
        peer = f"({peer} & {_mask(family, length)})"
    return f"{family} {ours} . {peer} @{name} {verdict}"


def _mask(family: str, length: int) -> str:
    from ipaddress import IPv4Address, IPv6Address

    bits = _TRAITS[family].bits
    value = ((1 << length) - 1) << (bits - length)
    return str(IPv4Address(value) if family == "ip" else IPv6Address(value))


def _ipv4_only(family: str, rule: str) -> list[str]:
    return [rule] if family == "ip" else []
