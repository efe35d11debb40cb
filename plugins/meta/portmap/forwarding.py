"""The steps of portmap's commands: choosing the backend, and what goes with either of them."""

from cnilib.errors import CheckFailed, CniError, ConfigError
from cnilib.kernel.links import find_link_by_index
from cnilib.kernel.routes import find_route_to
from cnilib.kernel.sysctl import ensure_sysctl, read_sysctl
from cnilib.log import warn
from cnilib.netfilter import ledger, nfprobe, nft, reference, ruleset
from cnilib.netfilter.ruleset import Owner, Wanted
from plugins.meta.portmap import flows, native
from plugins.meta.portmap.backend import IPTABLES, choose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cnilib.attachment import Attachment, ValidAttachments
    from cnilib.kernel.netns import Namespace
    from cnilib.netfilter.ruleset import Conflict
    from cnilib.types.result import Result
    from cnilib.undo import ErrorList
    from plugins.meta.portmap.config import Conf, PortMapping
    from plugins.meta.portmap.targets import Target

PLUGIN = "portmap"


def install(
    host: "Namespace", conf: "Conf", wanted: "Sequence[Target]", attachment: "Attachment"
) -> None:
    """Write the forwards in place of whatever this attachment had.

    The guard of 127.0.0.0/8 stands before the device may receive for it, and flows are
    forgotten once new packets meet the rules.

    Raises:
        ConfigError, CniError, KernelError, TryAgain: see the steps.
    """
    backend, wanted = choose(conf, wanted)
    devices = _localnet_devices(host, conf, wanted)
    again = ruleset.is_recorded(Owner(attachment, PLUGIN))
    _apply_native(conf, wanted, attachment, devices, backend)
    if backend == IPTABLES:
        from plugins.meta.portmap.iptables_backend import add_rules

        for target in wanted:
            add_rules(conf, target, attachment)
    else:
        reference.remove_portmap(attachment)  # what an ADD with the other backend made
        ledger.note(attachment, native.ledger_entries(wanted), again=again)
    for device in devices.values():
        ensure_sysctl(host, _route_localnet(device), "1")
    flows.forget(host, flows.published(wanted), all_flows=True)


def remove(attachment: "Attachment") -> None:
    """Take everything back: the undo of ``install``."""
    ruleset.withdraw(Owner(attachment, PLUGIN))
    reference.remove_portmap(attachment)
    ledger.forget(attachment)


def withdraw(
    host: "Namespace",
    attachment: "Attachment",
    mappings: "Sequence[PortMapping]",
    prev_result: "Result | None",
    errors: "ErrorList",
) -> None:
    """DEL: remove the forwards of either backend, then the flows that still use them.

    The configuration serves the flows of rules that carried no record of their ports.
    """
    ports: list[flows.Published] = []
    with errors:
        record = ruleset.withdraw(Owner(attachment, PLUGIN))
        if record is not None:
            ports += flows.recorded(record.elements)
    with errors:
        if reference.remove_portmap(attachment) and prev_result is not None:
            ports += flows.configured(mappings, prev_result, attachment.ifname)
    with errors:
        ledger.forget(attachment)
    flows.forget(host, ports, all_flows=False)


def check(
    host: "Namespace", conf: "Conf", wanted: "Sequence[Target]", attachment: "Attachment"
) -> None:
    """Hold what ``install`` wrote against the kernel.

    Raises:
        CheckFailed: something is missing or different.
    """
    if not ruleset.is_recorded(Owner(attachment, PLUGIN)) and all(
        reference.forwards_ports(target.family, attachment) for target in wanted
    ):
        return  # added by the reference plugin, before this node switched
    backend, wanted = choose(conf, wanted)
    devices = _localnet_devices(host, conf, wanted)
    if backend == IPTABLES:
        from plugins.meta.portmap.iptables_backend import check_rules

        for target in wanted:
            check_rules(conf, target, attachment)
    else:
        ruleset.check(Owner(attachment, PLUGIN), _wanted(conf, wanted, devices))
    for device in devices.values():
        found = read_sysctl(host, _route_localnet(device))
        if found != "1":
            raise CheckFailed(f"expected {_route_localnet(device)} to be 1, found {found}")


def collect(
    host: "Namespace", network: str, valid: "ValidAttachments", errors: "ErrorList"
) -> None:
    """GC: remove the forwards of this network's attachments that are not valid."""
    with errors:
        for record in ruleset.collect(PLUGIN, network, valid):
            flows.forget(host, flows.recorded(record.elements), all_flows=False)
    with errors:
        reference.collect_portmap(network, valid)
    with errors:
        ledger.collect(network, valid)


def _apply_native(
    conf: "Conf",
    wanted: "Sequence[Target]",
    attachment: "Attachment",
    devices: "Mapping[str, str]",
    backend: str,
) -> None:
    """Our own tables; with the iptables backend they hold the guard of 127.0.0.0/8 alone."""
    owner = Owner(attachment, PLUGIN)
    if backend != IPTABLES:
        fail = conf.port_conflict == "fail"
        try:
            conflicts = ruleset.apply(owner, _wanted(conf, wanted, devices), fail_on_conflict=fail)
        except nft.NftRefusedError as error:
            raise _refusal(error, wanted) from error
        _tell(conflicts)
    elif not devices:
        ruleset.withdraw(owner)  # what an ADD with the other backend made
    elif nfprobe.supported():
        ruleset.apply(owner, Wanted(elements=tuple(native.guards(devices))))


def _refusal(error: nft.NftRefusedError, wanted: "Sequence[Target]") -> CniError:
    """Of everything that portmap sends, only conditions are somebody else's words."""
    for target in wanted:
        if target.conditions:
            words, version = " ".join(target.conditions), "V4" if target.family == "ip" else "V6"
            return ConfigError(
                f"nftables does not accept the conditions {words!r}: correct conditions{version}",
                error.details,
            )
    return error


def _wanted(conf: "Conf", wanted: "Sequence[Target]", devices: "Mapping[str, str]") -> Wanted:
    return Wanted(
        elements=tuple(native.elements(conf, wanted, devices)), rules=tuple(native.rules(wanted))
    )


def _tell(conflicts: "Sequence[Conflict]") -> None:
    """Whose port it is stays: the older one keeps working, as with the reference plugin."""
    for element, holder in conflicts:
        *local, protocol, port = element.key
        where = f" of {local[0]}" if local else ""
        owner = f"{holder.container_id} of network {holder.network}" if holder else "somebody else"
        warn(f"portmap: host port {port}/{protocol}{where} is published by {owner}")


def _localnet_devices(
    host: "Namespace", conf: "Conf", wanted: "Sequence[Target]"
) -> "dict[str, str]":
    """The device through which 127.0.0.1 is to reach the container, by family.

    IPv6 has no such thing. Without a route nothing is forwarded there anyway.
    """
    if not conf.snat:
        return {}
    for target in wanted:
        if target.family == "ip":
            index = find_route_to(host, target.address.ip)
            link = find_link_by_index(host, index) if index is not None else None
            if link is not None:
                return {"ip": link.name}
    return {}


def _route_localnet(device: str) -> str:
    return f"net/ipv4/conf/{device}/route_localnet"
