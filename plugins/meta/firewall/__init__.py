"""firewall: lets the container's traffic pass the host's forwarding firewall, and isolates bridges.

What the container sends, replies to it and what is forwarded to its published ports is accepted,
after the administrator's own chain CNI-ADMIN; other new connections to it are left to the rest of
the firewall. ``same-bridge`` keeps a bridge apart from other restricted bridges, ``isolated`` its
containers from one another, too. Returns prevResult::

    {"cniVersion": "1.0.0", "name": "web", "type": "firewall", "ingressPolicy": "same-bridge"}

On the host this leaves elements of our nftables tables and a record of them, the constant chains
CNI-FORWARD and CNI-ADMIN of the table filter, or with other backends the reference plugin's rules
or sources of a firewalld zone, and the isolated flag of the container's bridge port. DEL takes
everything away but the constant chains; it goes by the attachment's key and needs no prevResult.
Written after firewall.md.
"""

from cnilib.plugin import plugin
from plugins.meta.firewall import backend, rules
from plugins.meta.firewall.config import Conf, TeardownConf
from plugins.meta.firewall.targets import targets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.attachment import ValidAttachments
    from cnilib.request import Request
    from cnilib.types.result import Result
    from cnilib.undo import ErrorList, Undo


def add(req: "Request", conf: Conf, undo: "Undo") -> "Result":
    """Open the firewall for all addresses of prevResult and isolate their bridge."""
    result = req.get_prev_result()
    wanted = targets(conf, result)
    rules.install(conf, req, wanted, undo)
    return result


def delete(req: "Request", conf: TeardownConf, errors: "ErrorList") -> None:
    """Remove whatever this attachment has, by its key, and what the reference plugin left."""
    rules.withdraw(conf, req, errors)


def check(req: "Request", conf: Conf) -> None:
    """Hold what ADD made against the kernel and firewalld, without changing anything."""
    rules.check(conf, req, targets(conf, req.get_prev_result()))


def gc(req: "Request", conf: TeardownConf, valid: "ValidAttachments", errors: "ErrorList") -> None:
    """Remove what attachments of this network left that are gone."""
    rules.collect(conf, req, valid, errors)


def status(_req: "Request", _conf: Conf) -> None:
    """Say whether this host can filter packets at all."""
    backend.check_available()


main = plugin(
    "firewall",
    Conf,
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
    delete_conf=TeardownConf,
    chained=True,
)
