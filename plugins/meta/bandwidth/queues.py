"""The ifb in which what a container sends waits: its name, its owner, its life.

Its name follows from network and container id as the reference's does; a second interface of the
container in the same network gets a name of its own. Whose it is stands in its alias, so that DEL
and GC take away no other's.
"""

import hashlib

from cnilib.kernel.ifb import add_ifb, name_ifb
from cnilib.kernel.links import find_link, list_links, remove_link, set_alias, set_mtu, set_up
from cnilib.kernel.netns import Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.attachment import Attachment, ValidAttachments
    from cnilib.kernel.link_messages import Link
    from cnilib.undo import ErrorList, Undo

_PREFIX, _NAME_LENGTH = "bwp", 15
_MARK = "cni"
_LONGEST_WORD, _KEPT, _DIGITS = 100, 80, 16  # an alias has 255 bytes


def ensure_queue(host: Namespace, attachment: "Attachment", mtu: int, undo: "Undo") -> "Link":
    """The ifb of the attachment, up, with that MTU.

    Raises:
        KernelError: EEXIST, a link of somebody else has its name.
        CniError: the kernel has no ifb.
    """
    link = find_queue(host, attachment)
    if link is None:
        undo.add(f"remove the ifb of {attachment}", _remove_again, attachment)
        return _make(host, attachment, mtu)
    _adopt(host, link, attachment, mtu)
    return link


def find_queue(host: Namespace, attachment: "Attachment") -> "Link | None":
    """The ifb of the attachment."""
    links = (find_link(host, name) for name in names(attachment))
    return next((link for link in links if link and is_owned(link, attachment)), None)


def remove_queue(host: Namespace, attachment: "Attachment") -> None:
    """Delete what ``find_queue`` finds."""
    link = find_queue(host, attachment)
    if link is not None:
        remove_link(host, link.name)


def collect_queues(
    host: Namespace, network: str, valid: "ValidAttachments", errors: "ErrorList"
) -> None:
    """Delete the ifbs of attachments of the network that are not valid."""
    from cnilib.attachment import Attachment

    kept = {alias(Attachment(network, *pair)) for pair in valid}
    start = f"{_MARK} {_word(network)} "
    for link in list_links(host, kind="ifb"):
        if link.alias.startswith(start) and link.alias not in kept:
            with errors:
                remove_link(host, link.name)


def names(attachment: "Attachment") -> tuple[str, str]:
    """The reference's name and the one that is only this interface's."""
    network, container_id, ifname = attachment
    return _name(network + container_id), _name(network + container_id + ifname)


def alias(attachment: "Attachment") -> str:
    """Who an ifb belongs to, for programs and administrators."""
    network, container_id, ifname = attachment
    return f"{_MARK} {_word(network)} {_word(container_id)} {ifname}"


def is_owned(link: "Link", attachment: "Attachment") -> bool:
    """The reference gives its ifbs no alias; the name must do there."""
    return link.kind == "ifb" and link.alias in {"", alias(attachment)}


def _name(text: str) -> str:
    digest = hashlib.sha512(text.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{_PREFIX}{digest}"[:_NAME_LENGTH]


def _word(text: str) -> str:
    """``text``, or where that is too long its beginning and a digest; ids have no ``~``."""
    if len(text) <= _LONGEST_WORD:
        return text
    return f"{text[:_KEPT]}~{hashlib.sha512(text.encode()).hexdigest()[:_DIGITS]}"


def _make(host: Namespace, attachment: "Attachment", mtu: int) -> "Link":
    """It is born with the name that only this interface may use, and gets the other if it is free.

    Owner and name are set at once, so that an ADD at the same time sees no ifb without owner.
    """
    shared, own = names(attachment)
    link = add_ifb(host, own, mtu=mtu)
    named = name_ifb(host, link, shared, alias(attachment))
    if named is None:
        _adopt(host, link, attachment, mtu)
    return named or link


def _adopt(host: Namespace, link: "Link", attachment: "Attachment", mtu: int) -> None:
    """Give an ifb what it may lack: MTU, owner, being up."""
    if link.mtu != mtu:
        set_mtu(host, link.name, mtu)
    if not link.alias:
        set_alias(host, link.name, alias(attachment))
    set_up(host, link.name)


def _remove_again(attachment: "Attachment") -> None:
    with Namespace.current() as host:
        remove_queue(host, attachment)
