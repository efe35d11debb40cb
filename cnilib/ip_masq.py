"""``ipMasq`` of bridge and ptp: masquerading what a container sends beyond its own subnet.

libnftables is loaded only where masquerading is asked for.
"""

from cnilib.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.attachment import Attachment, ValidAttachments
    from cnilib.types.addresses import IPInterface
    from cnilib.undo import ErrorList, Undo

_BACKENDS = {"", "iptables", "nftables"}


def require_backend(backend: str) -> None:
    """Refuse a backend nobody knows, before anything is made.

    Raises:
        ConfigError: the value of ipMasqBackend.
    """
    if backend not in _BACKENDS:
        raise ConfigError(
            f"unknown ipmasq backend {backend!r}: ipMasqBackend is iptables or nftables, or absent"
        )


def masquerade(
    attachment: "Attachment", addresses: "list[IPInterface]", backend: str, undo: "Undo"
) -> None:
    """Start masquerading these addresses of an attachment."""
    from cnilib.netfilter.masquerade import ensure_masquerade, remove_masquerade

    undo.add(f"stop masquerading {attachment}", remove_masquerade, attachment)
    ensure_masquerade(attachment, addresses, backend)


def stop_masquerade(attachment: "Attachment", errors: "ErrorList") -> None:
    """DEL: whatever an ADD of ours or of the reference plugins made; needs no namespace."""
    with errors:
        from cnilib.netfilter.masquerade import remove_masquerade

        remove_masquerade(attachment)


def collect_masquerade(network: str, valid: "ValidAttachments", errors: "ErrorList") -> None:
    """GC: stop masquerading the attachments of this network that are not valid."""
    with errors:
        from cnilib.netfilter import masquerade as rules

        rules.collect_masquerade(network, valid)
