"""The limits of one attachment in the kernel: putting them there, taking them away, CHECK."""

from cnilib.errors import CheckFailed
from cnilib.kernel import tc
from cnilib.kernel.links import find_link
from cnilib.kernel.netns import Namespace
from cnilib.kernel.shaping import expected_limit, wrapped_limit
from cnilib.log import warn
from cnilib.types.result import Interface
from plugins.meta.bandwidth.queues import ensure_queue, find_queue, names, remove_queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.attachment import Attachment
    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.shaping import Limit as KernelLimit
    from cnilib.types.result import Result
    from cnilib.undo import Undo
    from plugins.meta.bandwidth.config import Limit, Limits

_VANISHED = 0
_MICROSECOND = 20  # ticks, and a little for the kernel's rounding
_FRAME = 14  # bytes of an Ethernet header, which count


def limit_ingress(host: Namespace, link: "Link", limit: "Limit | None") -> None:
    """What the container gets leaves the host by its end of the pair."""
    if limit is None:
        tc.remove_limit(host, link)
    else:
        _set(host, link, limit)


def limit_egress(
    host: Namespace, link: "Link", limit: "Limit | None", attachment: "Attachment", undo: "Undo"
) -> "Link | None":
    """What the container sends comes in on the host's end: it takes the way through an ifb."""
    if limit is None:
        _free_egress(host, link, attachment)
        return None
    queue = ensure_queue(host, attachment, link.mtu, undo)
    undo.add(f"free {link.name}", free_again, attachment, link.name)  # before its queue goes
    _set(host, queue, limit)
    tc.redirect_incoming(host, link, queue)
    return queue


def _set(host: Namespace, link: "Link", limit: "Limit") -> None:
    if limit.bucket.burst < link.mtu + _FRAME:
        warn(
            f"bandwidth: the burst of {link.name}, {limit.bucket.burst} bytes, is less than its "
            f"MTU of {link.mtu} and a header: longer packets will be dropped"
        )
    tc.set_limit(host, link, limit.bucket, limit.split)


def with_queue(result: "Result", queue: "Link") -> "Result":
    """The ifb stands last, so that no index of the result changes."""
    others = [i for i in result.interfaces if (i.name, i.sandbox) != (queue.name, "")]
    if len(others) < len(result.interfaces):
        return result
    told = Interface(name=queue.name, mac=queue.mac)
    return result.model_copy(update={"interfaces": (*result.interfaces, told)})


def free(host: Namespace, link: "Link", attachment: "Attachment") -> None:
    """Take our limits off the host's end, and the ifb away."""
    tc.remove_limit(host, link)
    _free_egress(host, link, attachment)


def _free_egress(host: Namespace, link: "Link", attachment: "Attachment") -> None:
    """The redirection goes first: the container's packets must not go to a link that is gone."""
    queue = find_queue(host, attachment)
    if _is_redirected(host, link, queue):
        tc.remove_redirect(host, link)
    remove_queue(host, attachment)


def _is_redirected(host: Namespace, link: "Link", queue: "Link | None") -> bool:
    """To our ifb, or where one has been; with one, half the way there counts as well."""
    target = tc.find_redirect(host, link)
    if target is None:
        return queue is not None and not tc.has_incoming_filters(host, link)
    return target in {_VANISHED, queue.index if queue else _VANISHED}


def free_again(attachment: "Attachment", name: str) -> None:
    """Undo of ADD, in namespaces of its own."""
    with Namespace.current() as host:
        link = find_link(host, name)
        if link is not None:
            free(host, link, attachment)


def check(host: Namespace, link: "Link", limits: "Limits", attachment: "Attachment") -> None:
    """Hold both directions against what ADD makes.

    Raises:
        CheckFailed: something is missing or has other figures.
    """
    if limits.ingress is not None:
        _check_limit(host, link, limits.ingress)
    if limits.egress is None:
        return
    queue = find_queue(host, attachment)
    if queue is None:
        raise CheckFailed(f"get ifb device: expected {names(attachment)[0]}, found none")
    target = tc.find_redirect(host, link)
    if target != queue.index:
        found = "none" if target is None else f"one to link {target}"
        raise CheckFailed(
            f"redirection of {link.name}: expected one to {queue.name} (link {queue.index}), "
            f"found {found}"
        )
    _check_limit(host, queue, limits.egress)


def _check_limit(host: Namespace, link: "Link", limit: "Limit") -> None:
    """The reference's figures are right, too: a node may change to us with containers running."""
    found = tc.find_limit(host, link)
    if found is None:
        raise CheckFailed(f"rate limit of {link.name}: expected {limit.bucket.rate} bytes/s, none")
    differences = _differences(expected_limit(limit.bucket, limit.split), found)
    if limit.split is None and not _differences(wrapped_limit(limit.bucket), found):
        return
    if differences:
        raise CheckFailed(f"limit of {link.name}: {'; '.join(differences)}")


def _differences(expected: "KernelLimit", found: "KernelLimit") -> list[str]:
    """Each in words."""
    figures = (
        ("Rate", "bytes/s", expected.rate, found.rate, 0),
        ("Limit", "bytes", expected.queue, found.queue, 0),
        ("Buffer", "ticks", expected.buffer, found.buffer, _MICROSECOND),
    )
    told = [
        f"{what} doesn't match: expected {wanted} {unit}, found {actual}"
        for what, unit, wanted, actual, tolerance in figures
        if abs(wanted - actual) > tolerance
    ]
    if (expected.default, expected.filters) != (found.default, found.filters):
        told.append(
            f"subnets don't match: expected {len(expected.filters)} filters to their class, "
            f"found {len(found.filters)}, or others"
        )
    return told
