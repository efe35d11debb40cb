"""What attachments have in our tables: put in, taken out, compared, collected, restored.

Plugins say what they want for one attachment; each call here is one transaction under one lock,
and costs the same whether the tables hold ten elements or ten thousand (netfilter.md 2 and 3).
Records (``records``) say who owns what, so nothing is listed on a plain ADD or DEL.
"""

from cnilib.attachment import Attachment
from cnilib.netfilter import nft, records, tables
from cnilib.netfilter.installing import Application, Conflict, Wanted, sentence
from cnilib.netfilter.layout import TABLE
from cnilib.netfilter.names import KEY_LENGTH, attachment_key, network_key
from cnilib.netfilter.records import BridgeUse, Element, Owner, Record, Records, Rule
from cnilib.netfilter.withdrawing import withdraw as _withdraw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.attachment import ValidAttachments

__all__ = [
    "BridgeUse",
    "Conflict",
    "Element",
    "Owner",
    "Record",
    "Rule",
    "Wanted",
    "apply",
    "check",
    "collect",
    "restore",
    "sentence",
    "withdraw",
]


def apply(owner: Owner, wanted: Wanted, *, fail_on_conflict: bool = False) -> list[Conflict]:
    """Make the tables hold exactly what ``owner`` wants, in one transaction.

    What another attachment has with other data stays with it: the claim is remembered and
    granted when that one goes, and the conflict is returned.

    Raises:
        ConfigError: ``fail_on_conflict``, and there is one; nothing was changed.
        NftNotSupportedError: the kernel lacks nf_tables.
    """
    with records.lock():
        return Application(Records(), owner, wanted).run(fail=fail_on_conflict)


def withdraw(owner: Owner) -> Record | None:
    """Take out everything of ``owner``; what it was, or None when there was nothing.

    Claims that wait for what becomes free are granted in the same transaction.
    """
    with records.lock():
        return _withdraw(Records(), owner)


def check(owner: Owner, wanted: Wanted) -> None:
    """Compare the tables with what ADD put in.

    Raises:
        CheckFailed: an element, a rule or a part of the constant layout is missing or differs.
    """
    from cnilib.netfilter import checking

    with records.lock():
        record = Records().read(owner)
        waiting = set(record.waiting) if record else set()
        mine = tuple(element for element in wanted.elements if element not in waiting)
        checking.check(owner, mine, wanted.rules, wanted.bridge)


def is_recorded(owner: Owner) -> bool:
    """Whether ``owner`` has something in the tables, as far as records tell."""
    return Records().read(owner) is not None


def collect(plugin: str, network: str, valid: "ValidAttachments") -> list[Record]:
    """Withdraw what ``plugin`` has for attachments of ``network`` that are not valid."""
    ours = network_key(network)
    keep = {attachment_key(Attachment(network, *pair)) for pair in valid}

    def is_stray(comment: str) -> bool:
        return comment.startswith(ours) and comment[:KEY_LENGTH] not in keep

    with records.lock():
        store = Records()
        stale = []
        for record in store.all():
            attachment = record.owner.attachment
            if (record.owner.plugin, attachment.network) != (plugin, network):
                continue
            if (attachment.container_id, attachment.ifname) in valid:
                continue
            if store.written(record.owner) < valid.before:
                stale.append(record)
            else:
                keep.add(attachment_key(attachment))
        for record in stale:  # only now: a port that is granted on rewrites its new owner's record
            _withdraw(store, record.owner)
        tables.remove_strays(plugin, is_stray)
    return stale


def restore() -> int:
    """Make the tables anew from the records, after somebody flushed them; how many records."""
    with records.lock():
        store = Records()
        every = list(store.all())
        families = {element.family for record in every for element in record.elements}
        gone = "".join(f"add table {f} {TABLE}\ndelete table {f} {TABLE}\n" for f in families)
        nft.run(gone + tables.make(store, families, every))
        return len(every)
