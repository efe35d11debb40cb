"""Traffic control: token buckets on links, and what comes in sent through another link.

The root qdisc ``1:`` limits what leaves a link, either all of it (tbf) or by subnet (htb with a
limited class 1:30 and an unlimited one 1:1). Ours on the way in are the filters of priority 1 of
the qdisc ``ffff:``. Numbers: linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h.
"""

import errno
import socket

from cnilib.errors import CniError, KernelError
from cnilib.kernel.modules import MODULES, lacking
from cnilib.kernel.netlink import NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REPLACE
from cnilib.kernel.shaping import LIMITED, MAX_U32, UNLIMITED, Limit
from cnilib.kernel.tc_messages import selector, selector_keys, tcmsg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.netns import Namespace
    from cnilib.kernel.shaping import Split, TokenBucket

_NEWQDISC, _DELQDISC, _GETQDISC = 36, 37, 38
_NEWTCLASS, _GETTCLASS = 40, 42
_NEWTFILTER, _DELTFILTER, _GETTFILTER = 44, 45, 46
_ROOT, _INGRESS = 0xFFFFFFFF, 0xFFFFFFF1  # parents
_ROOT_HANDLE, _INGRESS_HANDLE = 0x10000, 0xFFFF0000  # 1: and ffff:
_FIRST_FILTER = 0x80000800  # 800::800, the handle u32 gives its first filter
_ETH_P_ALL = 0x0003  # linux/if_ether.h
# IP version -> the protocol of its filters and their priority
_FAMILIES = {4: (0x0800, 1), 6: (0x86DD, 2)}
_ETHERNET = 1  # TC_LINKLAYER_ETHERNET: the kernel computes times itself, without a rate table
_STOLEN, _EGRESS_REDIRECT = 4, 1  # TC_ACT_STOLEN, TCA_EGRESS_REDIR
_HTB_VERSION, _R2Q = 3, 10

_ANY_RATE = 125_000_000_000  # bytes a second, a terabit: what 1:1 calls unlimited
_ANY_BUFFER = 15_625  # ticks of 64 ns: a millisecond
_QUANTUM = 15_140  # bytes a class sends in its turn: ten frames
_FREE_QUEUE, _SHORTEST_QUEUE = 1000, 10  # packets
_GONE = {errno.ENOENT, errno.EINVAL, errno.ENODEV}


def set_limit(
    namespace: "Namespace", link: "Link", bucket: "TokenBucket", split: "Split | None"
) -> None:
    """Limit what leaves the link, in place of whatever its root qdisc was.

    Raises:
        CniError: the kernel lacks a scheduler.
        KernelError: it refuses.
    """
    kind = "htb" if split else "tbf"
    root = _find_root(namespace, link)
    ours = root is not None and root["handle"] == _ROOT_HANDLE
    if ours and (split or root.get_attr("TCA_KIND") != kind):
        _remove_root(namespace, link)
    if split is None:
        options = _tbf_options(bucket)
    else:
        glob = {"version": _HTB_VERSION, "rate2quantum": _R2Q, "defcls": split.default & 0xFFFF}
        options = [("TCA_HTB_INIT", glob)]
    request = _request(link, _ROOT, _ROOT_HANDLE, kind, {"attrs": options})
    _make(namespace, link, request, _NEWQDISC, NLM_F_REPLACE)
    if split is not None:
        _add_classes(namespace, link, bucket, split)


def find_limit(namespace: "Namespace", link: "Link") -> Limit | None:
    """What limits the link; None when its root qdisc is none of ours."""
    root = _find_root(namespace, link)
    kind = root.get_attr("TCA_KIND") if root is not None else ""
    if kind == "tbf":
        options = dict(root.get_attr("TCA_OPTIONS")["attrs"])
        parms = options["TCA_TBF_PARMS"]
        rate = options.get("TCA_TBF_RATE64") or parms["rate"]
        return Limit(rate, parms["buffer"], parms["limit"], 0, frozenset())
    if kind != "htb" or root["handle"] != _ROOT_HANDLE:
        return None
    glob = dict(root.get_attr("TCA_OPTIONS")["attrs"])["TCA_HTB_INIT"]
    rate, buffer = _find_class(namespace, link)
    default = _ROOT_HANDLE | glob["defcls"]
    filters = _u32_filters(namespace, link, _ROOT_HANDLE)
    compared = frozenset(
        (selector_keys(options["TCA_U32_SEL"]), options["TCA_U32_CLASSID"]) for options in filters
    )
    return Limit(rate, buffer, 0, default, compared)


def remove_limit(namespace: "Namespace", link: "Link") -> None:
    """Take a root qdisc of ours away; any other stays."""
    root = _find_root(namespace, link)
    kind = root.get_attr("TCA_KIND") if root is not None else ""
    if kind in {"tbf", "htb"} and root["handle"] == _ROOT_HANDLE:
        _remove_root(namespace, link)


def redirect_incoming(namespace: "Namespace", link: "Link", target: "Link") -> None:
    """Send what comes in on the link out of ``target``, instead of where it was sent before.

    Raises:
        CniError: the kernel lacks the classifier or the action.
        KernelError: it refuses, for example because another program has the link's ingress.
    """
    ingress = _request(link, _INGRESS, _INGRESS_HANDLE, "ingress")
    try:
        _make(namespace, link, ingress, _NEWQDISC, NLM_F_EXCL)
    except KernelError as error:
        if error.errno != errno.EEXIST:
            raise
    redirect = {"action": _STOLEN, "eaction": _EGRESS_REDIRECT, "ifindex": target.index}
    mirred = {"attrs": [("TCA_MIRRED_PARMS", redirect)]}
    action = {"attrs": [("TCA_ACT_KIND", "mirred"), ("TCA_ACT_OPTIONS", mirred)]}
    options = [
        ("TCA_U32_CLASSID", _ROOT_HANDLE | 1),
        ("TCA_U32_SEL", selector(((0, 0, 0),))),
        ("TCA_U32_ACT", {"attrs": [("TCA_ACT_FIRST", action)]}),
    ]
    request = _request(link, _INGRESS_HANDLE, _FIRST_FILTER, "u32", {"attrs": options})
    request["info"] = _info(_ETH_P_ALL, 1)
    _make(namespace, link, request, _NEWTFILTER, NLM_F_REPLACE)


def find_redirect(namespace: "Namespace", link: "Link") -> int | None:
    """The index of the link that gets what comes in; 0 when it has vanished, None without one."""
    for options in _u32_filters(namespace, link, _INGRESS_HANDLE, _info(_ETH_P_ALL, 1)):
        if "TCA_U32_ACT" in options:
            action = dict(dict(options["TCA_U32_ACT"]["attrs"])["TCA_ACT_FIRST"]["attrs"])
            if action["TCA_ACT_KIND"] == "mirred":
                parms = dict(action["TCA_ACT_OPTIONS"]["attrs"])["TCA_MIRRED_PARMS"]
                return int(parms["ifindex"])
    return None


def remove_redirect(namespace: "Namespace", link: "Link") -> None:
    """Let what comes in pass as usual; filters of other programs stay.

    The qdisc ``ingress`` goes with its last filter, and where it has none.
    """
    ours = _info(_ETH_P_ALL, 1)
    filters = _list_filters(namespace, link, _INGRESS_HANDLE)
    if all(message["info"] == ours for message in filters):
        request = _request(link, _INGRESS, _INGRESS_HANDLE, "ingress")
        _remove(namespace, link, request, _DELQDISC)
    else:
        request = _request(link, _INGRESS_HANDLE, 0, "u32")
        request["info"] = ours
        _remove(namespace, link, request, _DELTFILTER)


def has_incoming_filters(namespace: "Namespace", link: "Link") -> bool:
    """Whether anybody looks at what comes in."""
    return bool(_list_filters(namespace, link, _INGRESS_HANDLE))


def _tbf_options(bucket: "TokenBucket") -> "list[tuple[str, Any]]":
    """The burst goes in bytes: only then may a packet be longer than 4.3 s of the rate."""
    parms = {
        "rate_linklayer": _ETHERNET,
        "rate": min(bucket.rate, MAX_U32),
        "limit": bucket.limit,
        "buffer": bucket.buffer,
    }
    options: list[tuple[str, Any]] = [("TCA_TBF_PARMS", parms), ("TCA_TBF_BURST", bucket.burst)]
    return [*options, ("TCA_TBF_RATE64", bucket.rate)] if bucket.rate > MAX_U32 else options


def _add_classes(
    namespace: "Namespace", link: "Link", bucket: "TokenBucket", split: "Split"
) -> None:
    """The limited class and the other one, a queue for each, and who goes where."""
    packets = max(bucket.limit // (link.mtu or 1), _SHORTEST_QUEUE)
    for handle, rate, buffer, length in (
        (LIMITED, bucket.rate, bucket.buffer, packets),
        (UNLIMITED, _ANY_RATE, _ANY_BUFFER, _FREE_QUEUE),
    ):
        parms = {"rate_linklayer": _ETHERNET, "ceil_linklayer": _ETHERNET, "quantum": _QUANTUM}
        parms |= {"rate": min(rate, MAX_U32), "ceil": min(rate, MAX_U32)}
        parms |= {"buffer": buffer, "cbuffer": buffer}
        wide = ("TCA_HTB_RATE64", rate), ("TCA_HTB_CEIL64", rate)
        options = {"attrs": [("TCA_HTB_PARMS", parms), *(wide if rate > MAX_U32 else ())]}
        request = _request(link, _ROOT_HANDLE, handle, "htb", options)
        _make(namespace, link, request, _NEWTCLASS, NLM_F_EXCL)
        queue = _request(link, handle, 0, "pfifo", {"limit": length})
        _make(namespace, link, queue, _NEWQDISC, NLM_F_EXCL)
    for subnet in split.subnets:
        selected = ("TCA_U32_SEL", selector(split.keys(subnet)))
        options = {"attrs": [("TCA_U32_CLASSID", split.chosen), selected]}
        protocol, priority = _FAMILIES[subnet.version]
        request = _request(link, _ROOT_HANDLE, 0, "u32", options)
        request["info"] = _info(protocol, priority)
        _make(namespace, link, request, _NEWTFILTER, NLM_F_EXCL)


def _find_class(namespace: "Namespace", link: "Link") -> tuple[int, int]:
    """Rate and buffer of the limited class; 0, 0 when it is missing."""
    request = _request(link, 0, 0)
    thing = _thing(namespace, link)
    for message in namespace.netlink.dump(request, _GETTCLASS, "list classes of", thing):
        if message["handle"] == LIMITED:
            options = dict(message.get_attr("TCA_OPTIONS")["attrs"])
            parms = options["TCA_HTB_PARMS"]
            return options.get("TCA_HTB_RATE64") or parms["rate"], parms["buffer"]
    return 0, 0


def _u32_filters(
    namespace: "Namespace", link: "Link", parent: int, info: int | None = None
) -> "list[dict[str, Any]]":
    """The options of u32 filters, without those that only hold their hash tables."""
    found = []
    for message in _list_filters(namespace, link, parent):
        options = message.get_attr("TCA_OPTIONS")
        if message.get_attr("TCA_KIND") == "u32" and options and info in {None, message["info"]}:
            found.append(dict(options["attrs"]))
    return [options for options in found if "TCA_U32_SEL" in options]


def _list_filters(namespace: "Namespace", link: "Link", parent: int) -> "list[Any]":
    request, thing = _request(link, parent, 0), _thing(namespace, link)
    return namespace.netlink.dump(request, _GETTFILTER, "list filters of", thing)


def _find_root(namespace: "Namespace", link: "Link") -> "Any":
    """The root qdisc; None for the kernel's own, which has no handle."""
    request, thing = _request(link, _ROOT, 0), _thing(namespace, link)
    try:
        return namespace.netlink.get(request, _GETQDISC, "find qdisc of", thing, NLM_F_ECHO)
    except KernelError as error:
        if error.errno in _GONE:
            return None
        raise


def _remove_root(namespace: "Namespace", link: "Link") -> None:
    _remove(namespace, link, _request(link, _ROOT, _ROOT_HANDLE), _DELQDISC)


def _remove(namespace: "Namespace", link: "Link", request: "Any", kind: int) -> None:
    try:
        namespace.netlink.act(request, kind, 0, "remove limits of", _thing(namespace, link))
    except KernelError as error:
        if error.errno not in _GONE:
            raise


def _make(namespace: "Namespace", link: "Link", request: "Any", kind: int, flag: int) -> None:
    name = request.get_attr("TCA_KIND")
    thing = _thing(namespace, link)
    try:
        namespace.netlink.act(request, kind, NLM_F_CREATE | flag, f"set up {name} on", thing)
    except KernelError as error:
        if error.errno != errno.ENOENT or name not in MODULES:
            raise
        raise CniError(
            f"failed to set up {name} on {thing}: {lacking(name)}", error.details
        ) from error


def _request(
    link: "Link", parent: int, handle: int, kind: str = "", options: "dict[str, Any] | None" = None
) -> "Any":
    message = tcmsg()
    message["index"], message["parent"], message["handle"] = link.index, parent, handle
    message["attrs"] = [("TCA_KIND", kind)] if kind else []
    if options is not None:
        message["attrs"].append(("TCA_OPTIONS", options))
    return message


def _info(protocol: int, priority: int) -> int:
    """Which packets a filter sees, and when (tcm_info)."""
    return priority << 16 | socket.htons(protocol)


def _thing(namespace: "Namespace", link: "Link") -> str:
    return f"{link.name} in {namespace.path}"
