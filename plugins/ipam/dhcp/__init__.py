"""dhcp: addresses from a DHCP server on the container's own link, kept alive by a daemon.

The plugin only forwards to ``dhcp daemon`` (``plugins.ipam.dhcp.daemon``), which owns the leases
and speaks DHCPv4 and DHCPv6. The link must be in the container already; the daemon sets it up and
nothing else, the interface plugin configures it from the result::

    {"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "eth0",
     "ipam": {"type": "dhcp"}}

What it leaves is the lease, in the daemon and in its files beside the socket; DEL and GC release
it. When no daemon runs, DEL leaves a mark, and the daemon releases once it runs. Written after
dhcp.md.
"""

import os
import time

from cnilib.errors import NotAvailable, TryAgain
from cnilib.log import warn
from cnilib.plugin import plugin
from cnilib.types.base import decode
from cnilib.types.result import Result
from plugins.ipam.dhcp.conf import Conf, SocketConf, TeardownConf
from plugins.ipam.dhcp.marks import leave_mark
from plugins.ipam.dhcp.rpc import DaemonUnreachable, ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cnilib.attachment import ValidAttachments
    from cnilib.request import Request
    from cnilib.undo import ErrorList, Undo

_STATUS_PATIENCE, _UNDO_PATIENCE = 2.0, 5.0  # seconds


def add(req: "Request", conf: Conf, undo: "Undo") -> Result:
    """Have the daemon get the leases; one that it holds already is answered again."""
    order = _order(req, families=conf.families(), request=conf.requested())
    order["provide"] = [
        {"code": code, "value": value.hex()} for code, value in conf.provided(req).items()
    ]
    order["suggest"] = conf.suggestions(req)
    undo.add(f"release the leases of {req.attachment}", _take_back, req, conf)
    answer = ask(conf.socket_path, order, req.deadline)
    return _with_priority(decode(Result, answer.get("result")), conf.ipam.priority)


def delete(req: "Request", conf: TeardownConf, errors: "ErrorList") -> None:
    """Have the daemon release; without a daemon that is left to the next one."""
    with errors:
        try:
            ask(conf.socket_path, _order(req), req.deadline)
        except DaemonUnreachable as error:
            kept = leave_mark(conf.socket_path, req.attachment)
            then = "it releases the lease when it starts" if kept else "it has no lease"
            warn(f"dhcp: {error}; {then}")


def check(req: "Request", conf: Conf) -> None:
    """The daemon holds valid leases for this very namespace and link."""
    ask(conf.socket_path, _order(req, families=conf.families()), req.deadline)


def status(req: "Request", conf: SocketConf) -> None:
    """A daemon answers."""
    deadline = min(req.deadline, time.monotonic() + _STATUS_PATIENCE)
    try:
        ask(conf.socket_path, _order(req), deadline)
    except TryAgain as error:
        raise NotAvailable(error.msg, error.details) from error


def gc(req: "Request", conf: TeardownConf, valid: "ValidAttachments", errors: "ErrorList") -> None:
    """Have the daemon release the leases of attachments that no longer exist."""
    kept = [{"containerID": container_id, "ifname": ifname} for container_id, ifname in valid]
    with errors:
        ask(conf.socket_path, _order(req, valid=kept), req.deadline)


def _order(req: "Request", **more: object) -> "dict[str, Any]":
    """An order of the request's command (``plugins.ipam.dhcp.rpc.Order``)."""
    return {
        "command": req.command,
        "network": req.network,
        "containerId": req.container_id,
        "ifname": req.ifname,
        "netns": os.path.abspath(req.netns) if req.netns else "",
        **more,
    }


def _take_back(req: "Request", conf: Conf) -> None:
    """Undo; the deadline of the call may be what made it fail."""
    try:
        deadline = time.monotonic() + _UNDO_PATIENCE
        ask(conf.socket_path, _order(req) | {"command": "DEL"}, deadline)
    except DaemonUnreachable:
        return


def _with_priority(result: Result, priority: int) -> Result:
    if not priority:
        return result
    routes = tuple(route.model_copy(update={"priority": priority}) for route in result.routes)
    return result.model_copy(update={"routes": routes})


main = plugin(
    "dhcp",
    Conf,
    add=add,
    delete=delete,
    check=check,
    status=status,
    gc=gc,
    delete_conf=TeardownConf,
)
