"""portmap: forwards ports of the host to the container of prevResult, and returns that unchanged.

A published port answers from outside, from the host (on 127.0.0.1, too), from the container
itself and from its siblings, over IPv4 and IPv6, TCP, UDP and SCTP::

    {"type": "portmap", "capabilities": {"portMappings": true}}

The ports come from the runtime as ``runtimeConfig.portMappings``. On the host this leaves elements
of our nftables tables (or, where the configuration or the host asks for it, the reference plugin's
iptables chains), a record of them below /run/cni, and ``route_localnet`` on the device that leads
to the container. DEL removes all but the sysctl, which stays with the device and is guarded; it
needs neither the namespace nor prevResult nor the mappings, and takes away what the reference
plugin left as well. Written after portmap.md.
"""

from cnilib.kernel.netns import Namespace
from cnilib.plugin import plugin
from plugins.meta.portmap.config import Conf, TeardownConf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.attachment import ValidAttachments
    from cnilib.request import Request
    from cnilib.types.result import Result
    from cnilib.undo import ErrorList, Undo


def add(req: "Request", conf: Conf, undo: "Undo") -> "Result":
    """Publish the ports; without any, touch nothing."""
    from plugins.meta.portmap import forwarding
    from plugins.meta.portmap.targets import targets

    result = _prev_result(req)
    wanted = targets(conf, result, req.ifname)
    if not wanted:
        return result
    with Namespace.current() as host:
        undo.add("remove the port forwards", forwarding.remove, req.attachment)
        forwarding.install(host, conf, wanted, req.attachment)
    return result


def delete(req: "Request", conf: TeardownConf, errors: "ErrorList") -> None:
    """Remove whatever this attachment has published, by its key."""
    from plugins.meta.portmap import forwarding

    with Namespace.current() as host:
        forwarding.withdraw(host, req.attachment, conf.mappings, req.prev_result, errors)


def check(req: "Request", conf: Conf) -> None:
    """Hold what ADD made against the kernel."""
    from plugins.meta.portmap import forwarding
    from plugins.meta.portmap.targets import targets

    wanted = targets(conf, _prev_result(req), req.ifname)
    if wanted:
        with Namespace.current() as host:
            forwarding.check(host, conf, wanted, req.attachment)


def gc(req: "Request", _conf: TeardownConf, valid: "ValidAttachments", errors: "ErrorList") -> None:
    """Remove the port forwards of attachments of this network that are gone."""
    from plugins.meta.portmap import forwarding

    with Namespace.current() as host:
        forwarding.collect(host, req.network, valid, errors)


def status(_req: "Request", _conf: Conf) -> None:
    """Say whether this host can forward ports at all."""
    from plugins.meta.portmap.backend import check_available

    check_available()


def _prev_result(req: "Request") -> "Result":
    """Never missing on ADD and CHECK: ``chained`` has it refused before."""
    assert req.prev_result is not None  # noqa: S101 - tells the type checker
    return req.prev_result


main = plugin(
    "portmap",
    Conf,
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    status=status,
    delete_conf=TeardownConf,
    chained=True,
)
