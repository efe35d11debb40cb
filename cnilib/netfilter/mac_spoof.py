"""``macspoofchk``: frames of a container with another source MAC than its own are dropped.

Names are the reference's, so that each suite can remove what the other made (bridge.md 3.2);
the comment of our rules goes on with the network's key, which GC needs.
"""

from cnilib.netfilter import nfprobe, nft
from cnilib.netfilter.names import digest, network_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.attachment import Attachment, ValidAttachments

_FAMILY, _TABLE, _BASE = "bridge", "nat", "PREROUTING"
_PREFIX = "cni-br-iface-"
_NOTE = "macspoofchk-"
_LONGEST_CHAIN = 127  # NFT_NAME_MAXLEN - 1
_LONGEST_COMMENT = 127


def ensure_mac_spoof_check(attachment: "Attachment", host_veth: str, mac: str) -> None:
    """Let through only frames from ``host_veth`` that carry ``mac``; repeatable.

    Raises:
        NftNotSupportedError: the kernel has no nf_tables for bridges.
    """
    base, own, allowed = f"{_FAMILY} {_TABLE}", _chain(attachment), _mac_chain(attachment)
    note = f"comment {nft.quoted(_comment(attachment))}"
    hook = "{ type filter hook prerouting priority -300 ; policy accept ; }"
    lines = [
        f"add table {base}",
        f"add chain {base} {_BASE} {hook}",
        *(f"add chain {base} {chain}" for chain in (own, allowed)),
        *_entry_deletions(attachment),
        *(f"flush chain {base} {chain}" for chain in (own, allowed)),
        f"add rule {base} {_BASE} iifname {nft.quoted(host_veth)} jump {own} {note}",
        f"add rule {base} {own} jump {allowed} {note}",
        f"add rule {base} {allowed} ether saddr {mac} return {note}",
        f"add rule {base} {allowed} drop {note}",
    ]
    nft.run("".join(f"{line}\n" for line in lines))


def remove_mac_spoof_check(attachment: "Attachment") -> None:
    """Remove the check; nothing to remove is fine."""
    if not nfprobe.has_table(_FAMILY, _TABLE):
        return
    base = f"{_FAMILY} {_TABLE}"
    lines = _entry_deletions(attachment)
    present = set(nfprobe.chain_names(_FAMILY, _TABLE))
    chains = [c for c in (_chain(attachment), _mac_chain(attachment)) if c in present]
    lines += [f"flush chain {base} {chain}" for chain in chains]
    lines += [f"delete chain {base} {chain}" for chain in chains]
    if lines:
        nft.run("".join(f"{line}\n" for line in lines))


def collect_mac_spoof_checks(network: str, valid: "ValidAttachments") -> None:
    """Remove our checks of a network's attachments that are not valid."""
    from cnilib.attachment import Attachment

    if not nfprobe.has_table(_FAMILY, _TABLE):
        return
    keep = {_comment(Attachment(network, *pair)) for pair in valid}
    mark = f", net: {network_key(network)}"
    for entry in nft.listing(f"list chain {_FAMILY} {_TABLE} {_BASE}"):
        comment = entry.get("rule", {}).get("comment", "")
        if not comment.endswith(mark) or comment in keep:
            continue
        jumps = [part["jump"]["target"] for part in entry["rule"]["expr"] if "jump" in part]
        _remove_by_chain(entry["rule"]["handle"], jumps)


def _remove_by_chain(handle: int, jumps: list[str]) -> None:
    base = f"{_FAMILY} {_TABLE}"
    chains = [chain for jump in jumps for chain in (jump, f"{jump}-mac")]
    lines = [f"delete rule {base} {_BASE} handle {handle}"]
    lines += [f"flush chain {base} {chain}" for chain in chains]
    lines += [f"delete chain {base} {chain}" for chain in chains]
    nft.run("".join(f"{line}\n" for line in lines))


def _entry_deletions(attachment: "Attachment") -> list[str]:
    """The rules of the base chain that carry our comment, or the reference's."""
    texts = [_comment(attachment).encode(), f"{_NOTE}{_reference(attachment)}\0".encode()]
    return [
        f"delete rule {_FAMILY} {_TABLE} {_BASE} handle {rule.handle}"
        for rule in nfprobe.rules(_FAMILY, _TABLE, _BASE)
        if any(text in rule.data for text in texts)
    ]


def _reference(attachment: "Attachment") -> str:
    return f"{attachment.container_id}-{attachment.ifname}"


def _comment(attachment: "Attachment") -> str:
    mark = f", net: {network_key(attachment.network)}"
    words = f"{_NOTE}{_reference(attachment)}".replace('"', "")
    if len(words) + len(mark) > _LONGEST_COMMENT:
        words = f"{_NOTE}{digest(_reference(attachment))}"
    return words + mark


def _chain(attachment: "Attachment") -> str:
    name = f"{_PREFIX}{_reference(attachment)}"
    if (
        len(f"{name}-mac") > _LONGEST_CHAIN
        or not name.replace("-", "").replace("_", "").replace(".", "").isalnum()
        or not name.isascii()
    ):
        return f"{_PREFIX}{digest(_reference(attachment))}"
    return name


def _mac_chain(attachment: "Attachment") -> str:
    return f"{_chain(attachment)}-mac"
