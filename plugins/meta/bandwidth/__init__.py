"""bandwidth: limits the rate of a container's veth pair, on its host side, in each direction.

Ingress is what the container gets, egress what it sends; rates are bits a second, bursts bits::

    {"type": "bandwidth", "ingressRate": 8000000, "ingressBurst": 800000,
     "egressRate": 8000000, "egressBurst": 800000}

or the same as ``runtimeConfig.bandwidth`` from the runtime. For ingress the host's end of the pair
gets the qdisc ``tbf 1:``; for egress an ``ingress`` qdisc that sends everything through an ifb
named ``bwp...``, which has the tbf and is added to the result. With ``unshapedSubnets`` or
``shapedSubnets`` an htb with two classes takes the place of the tbf. ADD may be repeated with other
rates. DEL removes all of it; it needs neither namespace nor prevResult nor a valid configuration
to remove the ifb. Written after bandwidth.md.
"""

from cnilib.kernel.netns import Namespace
from cnilib.plugin import plugin
from cnilib.types.config import NetConf
from plugins.meta.bandwidth.config import Conf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.attachment import ValidAttachments
    from cnilib.request import Request
    from cnilib.types.result import Result
    from cnilib.undo import ErrorList, Undo


def add(req: "Request", conf: Conf, undo: "Undo") -> "Result":
    """Limit what is to be limited, free what is not; without any limit touch nothing."""
    limits, result = conf.limits(), req.get_prev_result()
    if not any(limits):
        return result
    from plugins.meta.bandwidth import shaping
    from plugins.meta.bandwidth.hostside import get_host_link

    with Namespace.current() as host, Namespace.open(req.netns) as container:
        link = get_host_link(host, container, req.ifname, result)
        undo.add(f"free {link.name}", shaping.free_again, req.attachment, link.name)
        shaping.limit_ingress(host, link, limits.ingress)
        queue = shaping.limit_egress(host, link, limits.egress, req.attachment, undo)
    return shaping.with_queue(result, queue) if queue else result


def delete(req: "Request", _conf: NetConf, errors: "ErrorList") -> None:
    """Free the host's end, where it can still be told, and remove the ifb in any case."""
    from plugins.meta.bandwidth import shaping
    from plugins.meta.bandwidth.hostside import find_host_links
    from plugins.meta.bandwidth.queues import remove_queue

    with Namespace.current() as host:
        with errors:
            for link in find_host_links(host, req, errors):
                shaping.free(host, link, req.attachment)
        with errors:
            remove_queue(host, req.attachment)


def check(req: "Request", conf: Conf) -> None:
    """Every limit is there with its figures, and what leaves goes through our ifb."""
    limits, result = conf.limits(), req.get_prev_result()
    from plugins.meta.bandwidth import shaping
    from plugins.meta.bandwidth.hostside import get_host_link

    with Namespace.current() as host, Namespace.open(req.netns) as container:
        if any(limits):
            link = get_host_link(host, container, req.ifname, result)
            shaping.check(host, link, limits, req.attachment)


def gc(req: "Request", _conf: NetConf, valid: "ValidAttachments", errors: "ErrorList") -> None:
    """Remove the ifbs of attachments of this network that are gone."""
    from plugins.meta.bandwidth.queues import collect_queues

    with Namespace.current() as host:
        collect_queues(host, req.network, valid, errors)


main = plugin(
    "bandwidth",
    Conf,
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    delete_conf=NetConf,
    chained=True,
)
