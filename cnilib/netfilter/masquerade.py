"""Masquerading of a container's addresses: ``ipMasq`` of the main plugins (netfilter.md 7).

Packets with exactly the container's source address that go to neither its own subnet nor
multicast leave with the address of the outgoing interface.
"""

from cnilib.errors import ConfigError
from cnilib.netfilter import iptables, reference, ruleset
from cnilib.netfilter.ruleset import Element, Owner, Wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cnilib.attachment import Attachment, ValidAttachments
    from cnilib.types.addresses import IPInterface

BACKENDS = ("", "iptables", "nftables")
_PLUGIN = "masquerade"
_MULTICAST = {"ip": "224.0.0.0/4", "ip6": "ff00::/8"}


def check_backend(backend: str) -> None:
    """Refuse a backend that does not exist.

    Raises:
        ConfigError: it is none of ``BACKENDS``.
    """
    if backend not in BACKENDS:
        raise ConfigError(
            f"unknown ipmasq backend {backend!r}: ipMasqBackend must be iptables or nftables"
        )


def ensure_masquerade(
    attachment: "Attachment", interfaces: "Sequence[IPInterface]", backend: str = ""
) -> None:
    """Masquerade these addresses and no others of the attachment.

    Without a ``backend`` this is nftables, unless the host keeps its rules in iptables-legacy.

    Raises:
        ConfigError: the backend does not exist.
    """
    check_backend(backend)
    if _uses_iptables(backend, interfaces):
        reference.remove_masquerade(attachment)
        for family in _families(interfaces):
            mine = [i for i in interfaces if _family(i) == family]
            iptables.restore(family, "nat", list(_iptables_lines(attachment, family, mine)))
    else:
        ruleset.apply(Owner(attachment, _PLUGIN), Wanted(tuple(_elements(interfaces))))


def remove_masquerade(attachment: "Attachment") -> None:
    """Stop masquerading an attachment, whichever backend or plugin suite started it."""
    ruleset.withdraw(Owner(attachment, _PLUGIN))
    reference.remove_masquerade(attachment)


def check_masquerade(
    attachment: "Attachment", interfaces: "Sequence[IPInterface]", backend: str = ""
) -> None:
    """Compare with what ADD made.

    Raises:
        CheckFailed: something is missing.
    """
    from cnilib.errors import CheckFailed

    if not _uses_iptables(backend, interfaces):
        ruleset.check(Owner(attachment, _PLUGIN), Wanted(tuple(_elements(interfaces))))
        return
    for family in _families(interfaces):
        mine = [i for i in interfaces if _family(i) == family]
        lines = [x for x in _iptables_lines(attachment, family, mine) if x.startswith("-A")]
        missing = iptables.missing_rule(family, "nat", lines)
        if missing:
            raise CheckFailed(f"masquerade rule is missing: {missing}")


def collect_masquerade(network: str, valid: "ValidAttachments") -> None:
    """Stop masquerading attachments of a network that are not valid."""
    ruleset.collect(_PLUGIN, network, valid)
    reference.collect_masquerade(network, valid)


def _uses_iptables(backend: str, interfaces: "Iterable[IPInterface]") -> bool:
    if backend == "iptables":
        return all(iptables.available(family) for family in _families(interfaces))
    return not backend and iptables.uses_legacy()


def _elements(interfaces: "Iterable[IPInterface]") -> "Iterable[Element]":
    for interface in interfaces:
        family, address, network = _family(interface), str(interface.ip), interface.network
        yield Element(family, "masq_src", (address,))
        own = (address, str(network.network_address))
        yield Element(family, f"out_own{network.prefixlen}", own)


def _iptables_lines(
    attachment: "Attachment", family: str, interfaces: "Iterable[IPInterface]"
) -> "Iterable[str]":
    """The reference's chain, and the rules that lead to it."""
    chain = iptables.reference_chain("CNI-", attachment)
    text = f'name: "{attachment.network}" id: "{attachment.container_id}"'
    note = ("-m", "comment", "--comment", iptables.comment(text, attachment.ifname))
    yield f":{chain} - [0:0]"
    for interface in interfaces:
        network = str(interface.network)
        yield iptables.words("-A", chain, "-d", network, *note, "-j", "ACCEPT")
    multicast = ("!", "-d", _MULTICAST[family])
    yield iptables.words("-A", chain, *multicast, *note, "-j", "MASQUERADE")
    for interface in interfaces:
        yield iptables.words("-A", "POSTROUTING", "-s", str(interface.ip), *note, "-j", chain)


def _family(interface: "IPInterface") -> str:
    return "ip" if interface.version == 4 else "ip6"


def _families(interfaces: "Iterable[IPInterface]") -> list[str]:
    return sorted({_family(interface) for interface in interfaces})
