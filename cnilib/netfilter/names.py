"""The key by which everything an attachment has in nftables is known (netfilter.md 3)."""

import hashlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.attachment import Attachment

_DIGITS = 16
_LONGEST_COMMENT = 127  # libnftnl keeps 128 bytes with the NUL
KEY_LENGTH = 2 * _DIGITS + 1


def digest(text: str) -> str:
    """The first 16 hex digits of SHA-512."""
    return hashlib.sha512(text.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]


def network_key(network: str) -> str:
    """What the key of every attachment of a network starts with."""
    return digest(network)


def attachment_key(attachment: "Attachment") -> str:
    """``H(network)-H(ifname:containerID)``, the reference's masquerade key."""
    own = digest(f"{attachment.ifname}:{attachment.container_id}")
    return f"{digest(attachment.network)}-{own}"


def comment(attachment: "Attachment") -> str:
    """The key and, as far as 127 bytes reach, who it is in words."""
    words = f"net: {attachment.network}, if: {attachment.ifname}, id: {attachment.container_id}"
    text = f"{attachment_key(attachment)}, {words}".replace('"', "")
    return text.encode("utf-8", "replace")[:_LONGEST_COMMENT].decode("utf-8", "ignore")
