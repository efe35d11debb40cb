"""The rules of portmap in iptables, by the names of the reference plugin (portmap.md 3).

``CNI-HOSTPORT-DNAT`` is entered for packets to local addresses and jumps, by destination port, to
the chain of one container, ``CNI-DN-<hash>``, which marks what has to be masqueraded and then
translates the destination. One restore for each family writes all of it. Rules of ours name
their interface in the comment, since two interfaces of a container in one network share a chain;
``cnilib.netfilter.reference`` removes the rules again.
"""

from cnilib.errors import CheckFailed, ConfigError
from cnilib.log import warn
from cnilib.netfilter.iptables import (
    INTERFACE_MARK,
    Listing,
    change,
    comment,
    deletion,
    interface_marker,
    listing,
    missing_rule,
    reference_chain,
    words,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnilib.attachment import Attachment
    from plugins.meta.portmap.config import Conf
    from plugins.meta.portmap.targets import Forward, Target

_ENTRY, _SET_MARK, _MASQUERADE = "CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ"
_CHAIN_PREFIX = "CNI-DN-"
_MULTIPORT_SLOTS = 15  # XT_MULTI_PORTS; a range takes two
_LOCALHOST = "127.0.0.1/32"
_EVERYWHERE = {"ip": "0.0.0.0/0", "ip6": "::/0"}


def add_rules(conf: "Conf", target: "Target", attachment: "Attachment") -> None:
    """Put the target's rules in place of whatever this attachment had.

    Raises:
        ConfigError: no iptables binary, no ``externalSetMarkChain``, or a port is taken and
            ``portConflict`` is "fail".
        CniError: iptables failed; nothing was changed.
    """
    told = False

    def plan(now: Listing) -> list[str]:
        nonlocal told
        conflicts = list(_conflicts(now, target, attachment))
        if conflicts and conf.port_conflict == "fail":
            raise ConfigError(conflicts[0])
        for conflict in () if told else conflicts:
            warn(f"portmap: {conflict}")
        told = True
        return [
            *_removal(now, attachment),
            *_stale(now, target, attachment),
            *_shared(now, conf, target),
            *_chain_rules(conf, target, attachment),
            *_entry_rules(target, attachment),
        ]

    change(target.family, "nat", plan)


def check_rules(conf: "Conf", target: "Target", attachment: "Attachment") -> None:
    """Hold what ADD wrote against the kernel.

    Raises:
        CheckFailed: a chain or rule is missing; it is named.
    """
    now = listing(target.family, "nat")
    chain = reference_chain(_CHAIN_PREFIX, attachment)
    if chain not in now:
        raise CheckFailed(f"chain {chain} of table {target.family} nat is missing")
    for base in ("PREROUTING", "OUTPUT"):
        if not now.jumps(base, _ENTRY):
            raise CheckFailed(f"the jump from {base} to {_ENTRY} of {target.family} nat is missing")
    rules = [*_chain_rules(conf, target, attachment), *_entry_rules(target, attachment)]
    missing = missing_rule(target.family, "nat", rules)
    if missing:
        raise CheckFailed(f"rule of table {target.family} nat is missing: {missing}")


def _removal(now: Listing, attachment: "Attachment") -> "Iterator[str]":
    """Make the attachment's chain exist without a rule of this interface, nor a jump for one."""
    chain = reference_chain(_CHAIN_PREFIX, attachment)
    if chain not in now:
        yield f":{chain} - [0:0]"
    for rule in (*now.jumps(_ENTRY, chain), *now.rules(chain)):
        text = rule.replace('\\"', '"')
        if INTERFACE_MARK not in text or interface_marker(attachment.ifname) in text:
            yield deletion(rule)


def _stale(now: Listing, target: "Target", attachment: "Attachment") -> "Iterator[str]":
    """Rules for the same address under another container of this network: that one is dead."""
    own = reference_chain(_CHAIN_PREFIX, attachment)
    network = f'name: "{attachment.network}" id: "'
    for chain, rules in now.chains.items():
        if not chain.startswith(_CHAIN_PREFIX) or chain == own:
            continue
        jumps = now.jumps(_ENTRY, chain)
        ours = any(network in jump.replace('\\"', '"') for jump in jumps)
        if ours and any(_leads_to(rule, target) for rule in rules):
            yield from (deletion(jump) for jump in jumps)
            yield f"-F {chain}"
            yield f"-X {chain}"


def _leads_to(rule: str, target: "Target") -> bool:
    destination = _value(rule, "--to-destination")
    return destination == _host(target) or destination.startswith(f"{_host(target)}:")


def _shared(now: Listing, conf: "Conf", target: "Target") -> "Iterator[str]":
    """The chains and rules that all containers use, where they are missing."""
    if _ENTRY not in now:
        yield f":{_ENTRY} - [0:0]"
    for base in ("PREROUTING", "OUTPUT"):
        if not now.jumps(base, _ENTRY):
            yield f"-A {base} -m addrtype --dst-type LOCAL -j {_ENTRY}"
    if conf.snat and not conf.external_set_mark_chain:
        yield from _masquerading(now, f"{1 << conf.mark_bit:#x}/{1 << conf.mark_bit:#x}")
    elif conf.snat and conf.external_set_mark_chain not in now:
        raise ConfigError(
            f"externalSetMarkChain {conf.external_set_mark_chain} does not exist in table "
            f"{target.family} nat: create it first"
        )


def _masquerading(now: Listing, mark: str) -> "Iterator[str]":
    """The chain that sets ``mark`` (value/mask) and the one that masquerades what bears it."""
    for chain in (_SET_MARK, _MASQUERADE):
        if chain not in now:
            yield f":{chain} - [0:0]"
    if not any(f"--set-xmark {mark}" in rule for rule in now.rules(_SET_MARK)):
        yield words("-A", _SET_MARK, *_note("masquerade mark"), "-j", "MARK", "--set-xmark", mark)
    if not any(f"--mark {mark} " in rule for rule in now.rules(_MASQUERADE)):
        yield f"-A {_MASQUERADE} -m mark --mark {mark} -j MASQUERADE"
    if not now.jumps("POSTROUTING", _MASQUERADE):
        yield words("-I", "POSTROUTING", "1", *_note("requiring masquerade"), "-j", _MASQUERADE)


def _note(text: str) -> tuple[str, ...]:
    """The reference plugin's comments for the shared rules."""
    return ("-m", "comment", "--comment", f"CNI portfwd {text}")


def _entry_rules(target: "Target", attachment: "Attachment") -> "Iterator[str]":
    """By protocol and in groups of ports, a jump to the attachment's chain."""
    chain = reference_chain(_CHAIN_PREFIX, attachment)
    text = f'dnat name: "{attachment.network}" id: "{attachment.container_id}"'
    note = ("-m", "comment", "--comment", comment(text, attachment.ifname))
    for protocol in sorted({forward.protocol for forward in target.forwards}):
        ports = [f.host_ports.replace("-", ":") for f in target.forwards if f.protocol == protocol]
        for group in _groups(list(dict.fromkeys(ports))):
            match = ("-m", "multiport", "--destination-ports", ",".join(group))
            yield words(
                "-A", _ENTRY, "-p", protocol, *note, *match, *target.conditions, "-j", chain
            )


def _groups(ports: list[str]) -> "Iterator[list[str]]":
    group: list[str] = []
    slots = 0
    for port in ports:
        size = 2 if ":" in port else 1
        if slots + size > _MULTIPORT_SLOTS:
            yield group
            group, slots = [], 0
        group.append(port)
        slots += size
    if group:
        yield group


def _chain_rules(conf: "Conf", target: "Target", attachment: "Attachment") -> "Iterator[str]":
    """The attachment's chain: mark what must be masqueraded, then translate."""
    chain = reference_chain(_CHAIN_PREFIX, attachment)
    set_mark = conf.external_set_mark_chain or _SET_MARK
    note = ("-m", "comment", "--comment", comment("portmap", attachment.ifname))
    for forward in target.forwards:
        for part in _translatable(forward):
            match = ("-p", part.protocol, *note, "-m", part.protocol, "--dport", _ports(part))
            local = ("-d", str(part.host_address)) if part.host_address else ()
            for source in _masqueraded(conf, target):
                yield words("-A", chain, "-s", source, *local, *match, "-j", set_mark)
            to = ("-j", "DNAT", "--to-destination", _destination(part, target))
            yield words("-A", chain, *local, *match, *to)


def _masqueraded(conf: "Conf", target: "Target") -> list[str]:
    """Sources whose answers would not come back through this host by themselves."""
    if not conf.snat:
        return []
    if conf.masq_all:
        return [_EVERYWHERE[target.family]]
    own_subnet = f"{_address(target)}/{target.address.network.prefixlen}"
    return [own_subnet, _LOCALHOST] if target.family == "ip" else [own_subnet]


def _translatable(forward: "Forward") -> "list[Forward]":
    """A range that keeps its port numbers is one rule; any other is one rule for each port."""
    return [forward] if forward.host_port == forward.container_port else forward.singles()


def _ports(forward: "Forward") -> str:
    return forward.host_ports.replace("-", ":")


def _destination(forward: "Forward", target: "Target") -> str:
    if forward.length > 1:
        return _address(target)
    return f"{_host(target)}:{forward.container_port}"


def _address(target: "Target") -> str:
    return str(target.address.ip)


def _host(target: "Target") -> str:
    return f"[{_address(target)}]" if target.family == "ip6" else _address(target)


def _conflicts(now: Listing, target: "Target", attachment: "Attachment") -> "Iterator[str]":
    """What to say about ports that another container's chain translates already."""
    own = reference_chain(_CHAIN_PREFIX, attachment)
    taken = [
        (chain, rule)
        for chain, rules in now.chains.items()
        if chain.startswith(_CHAIN_PREFIX) and chain != own
        for rule in rules
        if _value(rule, "-j") == "DNAT" and not _leads_to(rule, target)
    ]
    for chain, rule in taken:
        for forward in target.forwards:
            if _overlap(rule, forward):
                owner = _owner(now, chain)
                yield f"host port {forward.host_ports}/{forward.protocol} is published by {owner}"


def _overlap(rule: str, forward: "Forward") -> bool:
    local = _value(rule, "-d").partition("/")[0]
    first, _, last = _value(rule, "--dport").partition(":")
    return (
        _value(rule, "-p") == forward.protocol
        and first.isdigit()
        and int(first) < forward.host_port + forward.length
        and forward.host_port <= int(last or first)
        and (not local or forward.host_address is None or local == str(forward.host_address))
    )


def _owner(now: Listing, chain: str) -> str:
    """``<id> of network <name>`` from the comment of a jump to the chain."""
    for jump in now.jumps(_ENTRY, chain):
        text = jump.replace('\\"', '"')
        name = text.partition('name: "')[2].partition('"')[0]
        container = text.partition('id: "')[2].partition('"')[0]
        if name and container:
            return f"{container} of network {name}"
    return f"chain {chain}"


def _value(rule: str, option: str) -> str:
    """The word after an option in a listed rule; "" without it."""
    _, found, rest = f" {rule} ".partition(f" {option} ")
    return rest.split(" ", 1)[0] if found else ""
