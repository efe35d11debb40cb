"""host-local: hands out addresses from configured ranges, remembered as files on the local disk.

Never opens the container's namespace. One address is allocated from each range set; the ranges
within a set are one pool::

    {"cniVersion": "1.0.0", "name": "n1", "ipam": {"type": "host-local",
     "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]}}

On the host it keeps ``<dataDir>/<network>/<address>`` for each lease; DEL removes those of the
attachment. The reference plugin may work on the same directory at the same time, so the format and
the locking are exactly its own (host-local.md section 3).
"""

from cnilib.errors import CheckFailed, ConfigError, EnvError, NotAvailable
from cnilib.plugin import plugin
from cnilib.types.addresses import parse_ip_or_cidr
from cnilib.types.result import IPConfig, Result
from plugins.ipam.host_local.conf import Conf, LeaseConf
from plugins.ipam.host_local.leases import Leases
from plugins.ipam.host_local.resolver import read_resolv_conf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.attachment import ValidAttachments
    from cnilib.request import Request
    from cnilib.types.addresses import IPAddress
    from cnilib.undo import ErrorList, Undo
    from plugins.ipam.host_local.ranges import RangeSet


def add(req: "Request", conf: Conf, undo: "Undo") -> Result:
    """One address from each range set, all under one lock."""
    requested = _requested(req, conf)
    range_sets = _range_sets(req, conf)
    dns = read_resolv_conf(conf.ipam.resolv_conf)
    leases = _leases(req, conf)
    ips = []
    with leases.locked(req.deadline):
        undo.add(f"give back the addresses of {req.attachment}", leases.give_back)
        for range_set in range_sets:
            wanted = [address for address in requested if address in range_set]
            address = (
                leases.take_requested(req.attachment, range_set, wanted[0])
                if wanted
                else leases.take_next(req.attachment, range_set)
            )
            requested = [other for other in requested if other != address]
            found = range_set.range_of(address)
            ips.append(IPConfig(address=found.with_prefix(address), gateway=found.gateway))
        _refuse_leftover(requested)
    return Result(ips=tuple(ips), routes=conf.ipam.routes, dns=dns)


def delete(req: "Request", conf: LeaseConf, errors: "ErrorList") -> None:
    """Release every address of the attachment, whatever the ranges say by now."""
    leases = _leases(req, conf)
    if leases.exist():
        with errors, leases.locked(req.deadline):
            leases.release(req.attachment, errors)
    with errors:
        req.cni_args({"IP"})  # the reference refuses malformed ones here, too


def check(req: "Request", conf: Conf) -> None:
    """The attachment has a lease; where prevResult is given, its addresses are the leased ones."""
    _requested(req, conf)
    range_sets = _range_sets(req, conf)
    held = _leases(req, conf).held_by(req.attachment)
    if not held:
        raise CheckFailed(f"host-local: failed to find an address of {req.attachment}")
    for ip in req.prev_result.ips if req.prev_result else ():
        address = ip.address.ip
        if any(address in range_set for range_set in range_sets) and address not in held:
            raise CheckFailed(f"host-local: {address} is not reserved for {req.attachment}")


def status(req: "Request", conf: Conf) -> None:
    """The directory can be written and every range set has a free address."""
    leases = _leases(req, conf)
    range_sets = _range_sets(req, conf)
    leases.require_writable()
    taken = leases.taken()
    for range_set in range_sets:
        if range_set.next_free(taken, after=None) is None:
            raise NotAvailable(f"pool exhausted: no free address in range set {range_set}")


def gc(req: "Request", conf: LeaseConf, valid: "ValidAttachments", errors: "ErrorList") -> None:
    """Release the addresses of attachments that no longer exist."""
    leases = _leases(req, conf)
    if leases.exist():
        with errors, leases.locked(req.deadline):
            leases.collect(valid, errors)


def _leases(req: "Request", conf: LeaseConf) -> Leases:
    return Leases(f"{conf.data_dir}/{req.network}")


def _requested(req: "Request", conf: Conf) -> "list[IPAddress]":
    """The addresses asked for by CNI_ARGS, ``args`` and the capability ``ips``, each once."""
    requested = [*conf.args.cni.ips, *conf.runtime_config.ips]
    if text := req.cni_args({"IP"}).get("IP"):
        try:
            requested.insert(0, parse_ip_or_cidr(text))
        except ValueError as error:
            raise EnvError(f"invalid IP in CNI_ARGS: {error}") from None
    return list(dict.fromkeys(address.ip for address in requested))


def _range_sets(req: "Request", conf: Conf) -> "list[RangeSet]":
    range_sets = conf.range_sets()
    if req.cni_version in {"0.1.0", "0.2.0"}:  # they can tell one address of each family
        for version in (4, 6):
            if sum(range_set.version == version for range_set in range_sets) > 1:
                raise ConfigError(
                    f"CNI version {req.cni_version} does not support more than one range set of "
                    f"IPv{version}: use cniVersion 0.3.0 or later"
                )
    return range_sets


def _refuse_leftover(requested: "list[IPAddress]") -> None:
    if requested:
        listed = ", ".join(str(address) for address in requested)
        raise ConfigError(f"failed to allocate all requested IPs: {listed}: not in any range")


main = plugin(
    "host-local",
    Conf,
    add=add,
    delete=delete,
    check=check,
    status=status,
    gc=gc,
    delete_conf=LeaseConf,
)
