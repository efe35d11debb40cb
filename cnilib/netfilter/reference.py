"""Removing what the reference plugins' ADD left, in either of their backends (netfilter.md 4).

A container may have been added by the reference plugins and be deleted by ours: on a node that
switches with containers running, every one of them. Our own iptables backends write objects of
the same names, so this is also how those go away.

Nothing is listed unless a probe by name says that there is something: a DEL for a container of
ours asks nf_tables a few questions of 0.05 ms each. With iptables-nft the rules are deleted over
nftables by handle, which needs neither an iptables binary nor an understanding of its
expressions; on a host with iptables-legacy tables the binary is used.
"""

from typing import NamedTuple

from cnilib.attachment import Attachment
from cnilib.netfilter import iptables, nfprobe
from cnilib.netfilter.iptables import reference_chain
from cnilib.netfilter.names import attachment_key, network_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cnilib.attachment import ValidAttachments
    from cnilib.types.addresses import IPAddress

FAMILIES = ("ip", "ip6")

# What to remove: chain name prefix, and the chains whose rules jump there.
_PORTMAP_CHAINS = (("CNI-DN-", "CNI-HOSTPORT-DNAT"), ("CNI-SN-", "CNI-HOSTPORT-SNAT"))
_MASQUERADE_CHAIN, _MASQUERADE_ENTRY = "CNI-", "POSTROUTING"
_NFT_PORTMAP_TABLE = "cni_hostport"
_NFT_PORTMAP_CHAINS = ("hostports", "hostip_hostports", "masquerading")
_NFT_MASQUERADE = ("inet", "cni_plugins_masquerade", "masq_checks")
_FIREWALL_CHAIN = "CNI-FORWARD"
_ACCEPT = (1).to_bytes(4, "big")  # NF_ACCEPT
# family -> offsets of source and destination address in the header (RFC 791, RFC 8200)
_ADDRESS_OFFSETS = {4: (12, 16), 6: (8, 24)}
_TRIES = 5


class _Rule(NamedTuple):
    """A rule to judge by the bytes in it: raw from nf_tables, or a line of iptables-legacy."""

    data: bytes
    handle: int = 0
    line: str = ""


def remove_portmap(attachment: Attachment) -> bool:
    """Remove the port forwards of one attachment; whether there were any.

    Raises:
        KernelError, CniError: the kernel or iptables-legacy refused.
        TryAgain: somebody else kept changing the rules.
    """
    found = False
    for family in FAMILIES:
        for prefix, entry in _PORTMAP_CHAINS:
            chain = reference_chain(prefix, attachment)
            found |= _remove_chain(family, chain, entry, attachment.ifname)
        found |= _remove_rules(
            family,
            _NFT_PORTMAP_TABLE,
            _NFT_PORTMAP_CHAINS,
            lambda rule: _has_comment(rule.data, attachment.container_id),
        )
    return found


def remove_masquerade(attachment: Attachment) -> bool:
    """Remove the masquerading of one attachment; whether there was any.

    Raises:
        KernelError, CniError, TryAgain: see ``remove_portmap``.
    """
    found = False
    chain = reference_chain(_MASQUERADE_CHAIN, attachment)
    for family in FAMILIES:
        found |= _remove_chain(family, chain, _MASQUERADE_ENTRY, attachment.ifname)
    family, table, checks = _NFT_MASQUERADE
    key = attachment_key(attachment).encode()
    return _remove_rules(family, table, (checks,), lambda rule: key in rule.data) or found


def remove_firewall(addresses: "Iterable[IPAddress]") -> bool:
    """Remove the accept rules of these addresses from CNI-FORWARD; whether there were any.

    The reference plugins keep no other key than the address.

    Raises:
        KernelError, CniError, TryAgain: see ``remove_portmap``.
    """
    found = False
    for address in addresses:
        found |= _remove_accepts(address)
    return found


def collect_portmap(network: str, valid: "ValidAttachments") -> None:
    """Remove the iptables port forwards of this network's attachments that are not valid.

    Those of the reference's nftables backend carry the container alone and not the network, so
    no GC of one network may judge them.

    Raises:
        KernelError, CniError, TryAgain: see ``remove_portmap``.
    """
    for attachment in _stale(network, valid, "CNI-HOSTPORT-DNAT", "dnat name"):
        remove_portmap(attachment)


def collect_masquerade(network: str, valid: "ValidAttachments") -> None:
    """Remove the masquerading of this network's attachments that are not valid, both backends.

    Raises:
        KernelError, CniError, TryAgain: see ``remove_portmap``.
    """
    for attachment in _stale(network, valid, _MASQUERADE_ENTRY, "name"):
        remove_masquerade(attachment)
    family, table, chain = _NFT_MASQUERADE
    ours = f"{network_key(network)}-".encode()
    keep = {attachment_key(Attachment(network, *pair)).encode() for pair in valid}
    _remove_rules(
        family,
        table,
        (chain,),
        lambda rule: ours in rule.data and not any(key in rule.data for key in keep),
    )


def forwards_ports(family: str, attachment: Attachment) -> bool:
    """Whether the reference plugin's rules, of either backend, lead to the attachment."""
    chain, entry = reference_chain("CNI-DN-", attachment), "CNI-HOSTPORT-DNAT"
    target = chain.encode() + b"\0"
    jumps = [rule for rule in _raw(family, entry) if target in rule.data]
    if "nat" in iptables.legacy_tables(family):
        jumps += [_from_line(line) for line in iptables.listing(family, "nat").jumps(entry, chain)]
    if jumps:
        return not any(iptables.INTERFACE_MARK.encode() in rule.data for rule in jumps)
    return any(
        _has_comment(rule.data, attachment.container_id)
        for rule in nfprobe.rules(family, _NFT_PORTMAP_TABLE, _NFT_PORTMAP_CHAINS[0])
    )


def accepts(address: "IPAddress") -> bool:
    """Whether the reference plugin's two rules for an address are in CNI-FORWARD."""
    family = "ip" if address.version == 4 else "ip6"
    rules = nfprobe.rules(family, "filter", _FIREWALL_CHAIN)
    if sum(_accepts(rule, address) for rule in rules) >= len(_legacy_accepts(address)):
        return True
    if "filter" not in iptables.legacy_tables(family):
        return False
    return _legacy_accepts(address) <= set(
        iptables.listing(family, "filter").rules(_FIREWALL_CHAIN)
    )


def _remove_chain(family: str, chain: str, entry: str, ifname: str) -> bool:
    """Remove a chain of table nat and the rules of ``entry`` that jump to it.

    Rules that say they belong to another interface stay, and with them the chain.
    """
    found = False
    if nfprobe.has_chain(family, "nat", chain):
        found = _retried(lambda: _chain_removal(family, chain, entry, ifname))
    if "nat" in iptables.legacy_tables(family):
        found |= _remove_legacy_chain(family, chain, entry, ifname)
    return found


def _chain_removal(family: str, chain: str, entry: str, ifname: str) -> list[str]:
    target = chain.encode() + b"\0"
    jumps = [rule for rule in _raw(family, entry) if target in rule.data]
    body = _raw(family, chain)
    commands = [
        f"delete rule {family} nat {name} handle {rule.handle}"
        for name, rules in ((entry, jumps), (chain, body))
        for rule in rules
        if not _of_other_interface(rule, ifname)
    ]
    whole = not any(_of_other_interface(rule, ifname) for rule in (*jumps, *body))
    if whole and nfprobe.has_chain(family, "nat", chain):
        commands.append(f"delete chain {family} nat {chain}")
    return commands


def _raw(family: str, chain: str) -> list[_Rule]:
    return [_Rule(rule.data, rule.handle) for rule in nfprobe.rules(family, "nat", chain)]


def _remove_legacy_chain(family: str, chain: str, entry: str, ifname: str) -> bool:
    found = False

    def plan(now: iptables.Listing) -> list[str]:
        nonlocal found
        if chain not in now:
            return []
        found = True
        rules = [_from_line(line) for line in (*now.jumps(entry, chain), *now.rules(chain))]
        gone = [rule for rule in rules if not _of_other_interface(rule, ifname)]
        lines = [iptables.deletion(rule.line) for rule in gone]
        return lines if len(gone) < len(rules) else [*lines, f"-X {chain}"]

    iptables.change(family, "nat", plan)
    return found


def _from_line(line: str) -> _Rule:
    return _Rule(line.replace('\\"', '"').encode(), line=line)


def _legacy_accepts(address: "IPAddress") -> set[str]:
    host = f"{address}/{address.max_prefixlen}"
    return {
        f"-A {_FIREWALL_CHAIN} -s {host} -j ACCEPT",
        f"-A {_FIREWALL_CHAIN} -d {host} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    }


def _remove_accepts(address: "IPAddress") -> bool:
    family = "ip" if address.version == 4 else "ip6"
    found = _remove_rules(
        family, "filter", (_FIREWALL_CHAIN,), lambda rule: _accepts(rule, address)
    )
    if "filter" in iptables.legacy_tables(family):
        found |= _remove_legacy_accepts(family, address)
    return found


def _remove_legacy_accepts(family: str, address: "IPAddress") -> bool:
    wanted = _legacy_accepts(address)
    found = False

    def plan(now: iptables.Listing) -> list[str]:
        nonlocal found
        lines = [rule for rule in now.rules(_FIREWALL_CHAIN) if rule in wanted]
        found |= bool(lines)
        return [iptables.deletion(line) for line in lines]

    iptables.change(family, "filter", plan)
    return found


def _remove_rules(
    family: str,
    table: str,
    chains: "Iterable[str]",
    is_wanted: "Callable[[nfprobe.RawRule], bool]",
) -> bool:
    """Delete the rules of some chains that ``is_wanted`` picks; whether there were any."""
    if not nfprobe.has_table(family, table):
        return False

    def removal() -> list[str]:
        return [
            f"delete rule {family} {table} {chain} handle {rule.handle}"
            for chain in chains
            for rule in nfprobe.rules(family, table, chain)
            if is_wanted(rule)
        ]

    return _retried(removal)


def _retried(commands: "Callable[[], list[str]]") -> bool:
    """Send one transaction; whether there was anything to send.

    Listed again when somebody has deleted a rule of it meanwhile.
    """
    from cnilib.netfilter import nft

    for attempt in range(_TRIES):
        batch = commands()
        if not batch:
            return attempt > 0
        try:
            nft.run("\n".join(batch))
        except nft.NftMissingError:
            if attempt == _TRIES - 1:
                raise
        else:
            return True
    return True


def _has_comment(data: bytes, text: str) -> bool:
    """The comment in a rule's user data: type 0, length with its NUL, text (libnftnl udata.h)."""
    encoded = text.encode() + b"\0"
    return len(encoded) <= 255 and bytes((0, len(encoded))) + encoded in data


def _of_other_interface(rule: _Rule, ifname: str) -> bool:
    return (
        iptables.INTERFACE_MARK.encode() in rule.data
        and iptables.interface_marker(ifname).encode() not in rule.data
    )


def _accepts(rule: nfprobe.RawRule, address: "IPAddress") -> bool:
    """Exactly the reference's rule: one address match, at most one xt match, accept."""
    if address.packed not in rule.data:
        return False
    parts = [(name, body) for name, body in nfprobe.expressions(rule) if name != "counter"]
    names = [name for name, _ in parts]
    if names not in (["payload", "cmp", "immediate"], ["payload", "cmp", "match", "immediate"]):
        return False
    source, destination = _ADDRESS_OFFSETS[address.version]
    offset = destination if "match" in names else source
    payload, compare, verdict = parts[0][1], parts[1][1], parts[-1][1]
    return (
        payload.get(3) == offset.to_bytes(4, "big")  # NFTA_PAYLOAD_OFFSET
        and compare.get(3, b"").endswith(address.packed)  # NFTA_CMP_DATA
        and compare.get(2) == bytes(4)  # NFTA_CMP_OP, NFT_CMP_EQ
        and verdict.get(2, b"").endswith(_ACCEPT)  # NFTA_IMMEDIATE_DATA
    )


def _stale(
    network: str, valid: "ValidAttachments", chain: str, comment: str
) -> "Iterator[Attachment]":
    """The attachments named in a nat chain's comments that the runtime does not know any more."""
    import re

    pattern = re.compile(
        rb'(?<![a-z] )%s: "%s" id: "([^"]+)"(?: if: "([^"]+)")?'
        % (comment.encode(), re.escape(network.encode()))
    )
    seen = set()
    for family in FAMILIES:
        for data in _comments(family, chain):
            for container, interface in pattern.findall(data):
                seen.add((container.decode(), interface.decode()))
    for container_id, ifname in seen:
        known = (container_id, ifname) in valid if ifname else valid.has_container(container_id)
        if not known:
            yield Attachment(network, container_id, ifname)


def _comments(family: str, chain: str) -> "Iterator[bytes]":
    for rule in nfprobe.rules(family, "nat", chain):
        yield rule.data
    if "nat" in iptables.legacy_tables(family):
        for line in iptables.listing(family, "nat").rules(chain):
            yield line.replace('\\"', '"').encode()
