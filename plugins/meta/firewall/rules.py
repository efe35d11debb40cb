"""The steps of firewall's commands, in each backend.

Whatever the backend, addresses and bridges are in our own tables as well: isolation is enforced
there, and the record kept with them is how DEL and GC know what an attachment had.
"""

from ipaddress import ip_address

from cnilib.errors import CniError
from cnilib.netfilter import forward_chain, nfprobe, reference, ruleset
from cnilib.netfilter.records import Records
from cnilib.netfilter.ruleset import Owner
from plugins.meta.firewall import firewalld
from plugins.meta.firewall.backend import FIREWALLD, IPTABLES, choose
from plugins.meta.firewall.config import ISOLATED, OPEN
from plugins.meta.firewall.targets import element_of, host_links, wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnilib.attachment import Attachment, ValidAttachments
    from cnilib.netfilter.ruleset import Record
    from cnilib.request import Request
    from cnilib.types.addresses import IPAddress
    from cnilib.undo import ErrorList, Undo
    from plugins.meta.firewall.config import Conf, TeardownConf
    from plugins.meta.firewall.targets import Targets

PLUGIN = "firewall"


def install(conf: "Conf", req: "Request", target: "Targets", undo: "Undo") -> None:
    """Open the addresses, then see to it that the host's own chains let them pass.

    Raises:
        CniError, KernelError, TryAgain: see the backends.
    """
    backend = choose(conf.backend, target.families, req.environ)
    if nfprobe.supported():
        undo.add("close the firewall", ruleset.withdraw, _owner(req.attachment))
        ruleset.apply(_owner(req.attachment), wanted(target))
    elif conf.ingress_policy != OPEN:
        raise CniError(
            f"ingressPolicy {conf.ingress_policy} needs nf_tables, which the running kernel lacks "
            "(modprobe nf_tables; CONFIG_NF_TABLES)"
        )
    if _isolates_ports(target):
        from plugins.meta.firewall import ports

        undo.add("let bridge ports talk", ports.set_isolated, target.links, on=False)
        ports.set_isolated(target.links, on=True)
    if backend == FIREWALLD:
        firewalld.add_sources(req.environ, conf.zone, target.addresses, undo)
    elif backend == IPTABLES:
        from plugins.meta.firewall import iptables_backend

        undo.add("remove iptables rules", reference.remove_firewall, target.addresses)
        iptables_backend.add_rules(conf.admin_chain, target.addresses)
    else:
        for family in target.families:
            forward_chain.ensure_jumps(family, conf.admin_chain)


def withdraw(conf: "TeardownConf", req: "Request", errors: "ErrorList") -> None:
    """DEL: our record says what there is; prevResult, what the reference plugin made."""
    record: Record | None = None
    with errors:
        record = ruleset.withdraw(_owner(req.attachment))
    addresses = {ip.address.ip for ip in req.prev_result.ips} if req.prev_result else set()
    _close(addresses | _recorded(record), conf, req, errors)
    if req.prev_result and _was_isolated(conf, record):
        from plugins.meta.firewall import ports

        with errors:
            ports.set_isolated(host_links(req.prev_result), on=False)


def check(conf: "Conf", req: "Request", target: "Targets") -> None:
    """Hold everything that ``install`` made against what is there.

    Raises:
        CheckFailed: something is missing or different.
    """
    backend = choose(conf.backend, target.families, req.environ)
    if not ruleset.is_recorded(_owner(req.attachment)) and _is_reference_s(target):
        return  # added by the reference plugin, before this node switched
    if nfprobe.supported():
        ruleset.check(_owner(req.attachment), wanted(target))
    if _isolates_ports(target):
        from plugins.meta.firewall import ports

        ports.check_isolated(target.links)
    if backend == FIREWALLD:
        firewalld.check_sources(req.environ, conf.zone, target.addresses)
    elif backend == IPTABLES:
        from plugins.meta.firewall import iptables_backend

        iptables_backend.check_rules(conf.admin_chain, target.addresses)
    else:
        for family in target.families:
            forward_chain.check_jumps(family, conf.admin_chain)


def collect(
    conf: "TeardownConf", req: "Request", valid: "ValidAttachments", errors: "ErrorList"
) -> None:
    """GC: what our records and the tables' comments give to attachments that are gone.

    Rules of the reference plugin carry an address only, so nobody can tell whose they are.
    """
    with errors:
        for record in ruleset.collect(PLUGIN, req.network, valid):
            _close(_recorded(record), conf, req, errors)


def _owner(attachment: "Attachment") -> Owner:
    return Owner(attachment, PLUGIN)


def _close(
    addresses: "Iterable[IPAddress]",
    conf: "TeardownConf",
    req: "Request",
    errors: "ErrorList",
) -> None:
    """Remove what is keyed by address alone, unless another attachment has the address now."""
    records = Records()
    free = [address for address in addresses if not records.owner_of(element_of(address))]
    if not free:
        return
    with errors:
        reference.remove_firewall(free)
    firewalld.remove_sources(req.environ, conf.zone, free, asked=conf.backend == FIREWALLD)


def _recorded(record: "Record | None") -> "set[IPAddress]":
    elements = record.elements if record else ()
    return {ip_address(str(element.key[0])) for element in elements}


def _is_reference_s(target: "Targets") -> bool:
    return bool(target.addresses) and all(map(reference.accepts, target.addresses))


def _isolates_ports(target: "Targets") -> bool:
    return target.bridge is not None and target.bridge.policy == ISOLATED


def _was_isolated(conf: "TeardownConf", record: "Record | None") -> bool:
    if record is not None and record.bridge is not None:
        return record.bridge.policy == ISOLATED
    return conf.ingress_policy == ISOLATED
