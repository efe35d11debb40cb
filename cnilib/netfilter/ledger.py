"""Where nerdctl reads which host ports are taken (netfilter.md 6).

``nerdctl run -p 80`` picks a free host port by listing the chain CNI-HOSTPORT-DNAT of iptables'
table nat. Ours is another table, so on hosts that have nerdctl each forward is told there, too, by
a rule that changes nothing::

    ip nat CNI-HOSTPORT-DNAT   [ip daddr H] tcp dport N counter return comment "<key>"

Nobody jumps to the chain unless the reference plugin has hooked it. SCTP is left out: iptables
refuses to list a table that holds such a rule (measured, 1.8.9).
"""

from typing import NamedTuple

from cnilib.errors import CniError
from cnilib.log import warn
from cnilib.netfilter import iptables, nfprobe
from cnilib.netfilter.names import attachment_key, network_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ipaddress import IPv4Address, IPv6Address

    from cnilib.attachment import Attachment, ValidAttachments

_FAMILY, _TABLE, _CHAIN = "ip", "nat", "CNI-HOSTPORT-DNAT"
_WHERE = f"{_FAMILY} {_TABLE} {_CHAIN}"
_TOLD = frozenset({"tcp", "udp"})


class Entry(NamedTuple):
    """A forwarded port, or a range ``8000-8010``; without an address, one on all of the host's."""

    protocol: str
    ports: str
    address: "IPv4Address | IPv6Address | None"


def note(attachment: "Attachment", entries: "Iterable[Entry]", *, again: bool) -> None:
    """Tell the ports of an attachment, if ``again`` in place of what was told of it before.

    Only where nerdctl is installed: finding a rule again takes longer the more there are. The
    forwards work without, so a failure is told on stderr.
    """
    told = [entry for entry in entries if entry.protocol in _TOLD]
    if not told or iptables.find_program("nerdctl") is None:
        return
    ending = f'counter return comment "{attachment_key(attachment)}"'
    lines = [f"add table {_FAMILY} {_TABLE}", f"add chain {_WHERE}"]
    lines += _removals(_of(attachment)) if again else []
    for protocol, ports, address in told:
        local = f"ip daddr {address} " if address else ""
        lines.append(f"add rule {_WHERE} {local}{protocol} dport {ports} {ending}")
    _send(lines)


def forget(attachment: "Attachment") -> None:
    """Take back what was told of an attachment."""
    if nfprobe.has_chain(_FAMILY, _TABLE, _CHAIN):
        _send(_removals(_of(attachment)))


def collect(network: str, valid: "ValidAttachments") -> None:
    """Take back what was told of attachments of a network that are not valid."""
    from cnilib.attachment import Attachment

    ours = f"{network_key(network)}-".encode()
    keep = [attachment_key(Attachment(network, *pair)).encode() for pair in valid]
    _send(_removals(lambda data: ours in data and not any(key in data for key in keep)))


def _of(attachment: "Attachment") -> "Callable[[bytes], bool]":
    key = attachment_key(attachment).encode()
    return lambda data: key in data


def _removals(is_gone: "Callable[[bytes], bool]") -> list[str]:
    return [
        f"delete rule {_WHERE} handle {rule.handle}"
        for rule in nfprobe.rules(_FAMILY, _TABLE, _CHAIN)
        if is_gone(rule.data)
    ]


def _send(lines: list[str]) -> None:
    from cnilib.netfilter import nft

    if not lines:
        return
    try:
        nft.run("".join(f"{line}\n" for line in lines))
    except CniError as error:
        warn(f"nerdctl may take a published host port for free, or a free one for taken: {error}")
