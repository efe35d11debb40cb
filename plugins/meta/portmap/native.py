"""What portmap wants in our own tables: elements of maps and sets, and rules where it must.

The layout is netfilter.md 2. A mapping is one element, so that neither a packet nor an ADD gets
slower with their number. Only a mapping with conditions, and a long range of ports, is a rule of
its own in ``hostports_cond``; it belongs to this attachment and no other ADD rewrites it.
"""

from cnilib.netfilter.ledger import Entry
from cnilib.netfilter.ruleset import Element, Rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from plugins.meta.portmap.config import Conf
    from plugins.meta.portmap.targets import Forward, Target

_LONG_RANGE = 1000
"""A range of more ports than this, with equal port numbers, is one rule instead of elements."""


def elements(
    conf: "Conf", targets: "Sequence[Target]", devices: "Mapping[str, str]"
) -> "Iterator[Element]":
    """The elements for all targets; ``devices`` maps a family to its route_localnet device."""
    for target in targets:
        family, address = target.family, str(target.address.ip)
        yield from _all_mapped(target)
        if not conf.snat:
            continue
        network = target.address.network
        yield Element(family, "snat_dst", (address,), None)
        own = (address, str(network.network_address))
        yield Element(family, f"hp_own{network.prefixlen}", own, None)
        if conf.masq_all:
            yield Element(family, "masqall_dst", (address,), None)
    yield from guards(devices)


def guards(devices: "Mapping[str, str]") -> "Iterator[Element]":
    """Devices with route_localnet, on which nobody else may reach this host's 127.0.0.0/8."""
    for family, device in devices.items():
        yield Element(family, "localnet", (device,), None)


def rules(targets: "Sequence[Target]") -> "Iterator[Rule]":
    """The rules for what an element cannot say."""
    for target in targets:
        for forward in target.forwards:
            if _needs_rule(target, forward):
                for part in _translatable(forward):
                    yield Rule(target.family, "hostports_cond", _rule_text(target, part))


def ledger_entries(targets: "Sequence[Target]") -> "Iterator[Entry]":
    """The IPv4 ports, for nerdctl, which looks for no others."""
    for target in targets:
        for forward in target.forwards if target.family == "ip" else ():
            yield Entry(forward.protocol, forward.host_ports, forward.host_address)


def _needs_rule(target: "Target", forward: "Forward") -> bool:
    long = forward.length > _LONG_RANGE and forward.host_port == forward.container_port
    return bool(target.conditions) or long


def _all_mapped(target: "Target") -> "Iterator[Element]":
    """Where ranges of one configuration overlap, the first mapping of a port counts."""
    seen = set()
    for forward in target.forwards:
        for element in () if _needs_rule(target, forward) else _mapped(target, forward):
            if element[:3] not in seen:
                seen.add(element[:3])
                yield element


def _mapped(target: "Target", forward: "Forward") -> "Iterator[Element]":
    address = str(target.address.ip)
    for single in forward.singles():
        data = (address, single.container_port)
        port = (single.protocol, single.host_port)
        if single.host_address is None:
            yield Element(target.family, "hp_any", port, data)
        else:
            yield Element(target.family, "hp_addr", (str(single.host_address), *port), data)


def _translatable(forward: "Forward") -> "list[Forward]":
    """A range that keeps its port numbers is one rule; any other is one rule for each port."""
    return [forward] if forward.host_port == forward.container_port else forward.singles()


def _rule_text(target: "Target", forward: "Forward") -> str:
    local = (target.family, "daddr", str(forward.host_address)) if forward.host_address else ()
    match = (forward.protocol, "dport", forward.host_ports)
    return " ".join((*target.conditions, *local, *match, "dnat", "to", _to(target, forward)))


def _to(target: "Target", forward: "Forward") -> str:
    address = str(target.address.ip)
    if forward.length > 1:
        return address
    host = f"[{address}]" if target.family == "ip6" else address
    return f"{host}:{forward.container_port}"
