"""Connection tracking: forgetting UDP flows that would hold on to a container that is gone.

Numbers: linux/netfilter/nfnetlink_conntrack.h.
"""

import errno
import socket
from ipaddress import ip_address
from typing import NamedTuple

from pyroute2.netlink import NLA_F_NESTED, nla
from pyroute2.netlink.nfnetlink import nfgen_msg

from cnilib.errors import KernelError
from cnilib.kernel.nfnetlink import conversation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

    from cnilib.kernel.netlink import NetlinkSocket
    from cnilib.kernel.netns import Namespace
    from cnilib.types.addresses import IPAddress

_CT_GET, _CT_DELETE = 1 << 8 | 1, 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK and the message
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_NO_CONNTRACK = {errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT}
UDP = 17


class Flow(NamedTuple):
    """A tracked connection: where its first packet was sent to, and who answers it."""

    protocol: int
    destination: "IPAddress"
    port: int
    reply_source: "IPAddress"


def flush_flows(
    namespace: "Namespace",
    *,
    family: int,
    ports: "Collection[int]",
    protocols: "Collection[int]" = (UDP,),
    match: "Callable[[Flow], bool]" = lambda _flow: True,
) -> int:
    """Forget the flows to any of ``ports`` that ``match`` picks; how many there were.

    ``family`` is 4 or 6; ``ports`` are original destination ports. A kernel that tracks no
    connections has none to forget.

    Raises:
        KernelError: an entry cannot be deleted.
    """
    with namespace.entered():
        netlink = _open()
    if netlink is None:
        return 0
    flushed = 0
    for message in _list_flows(netlink, namespace, family):
        flow = _flow(message)
        if flow is None or flow.protocol not in protocols or flow.port not in ports:
            continue
        if match(flow):
            flushed += _delete(netlink, namespace, message)
    return flushed


def local_addresses(namespace: "Namespace", family: int) -> "set[IPAddress]":
    """Every address of the namespace's own links."""
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

    request = ifaddrmsg()
    request["family"] = _FAMILIES[family]
    thing = f"of {namespace.path}"
    messages = namespace.netlink.dump(request, 22, "list addresses", thing)  # RTM_GETADDR
    attrs = (dict(message["attrs"]) for message in messages)
    return {ip_address(a.get("IFA_LOCAL") or a["IFA_ADDRESS"]) for a in attrs}


class _ConntrackMessage(nfgen_msg):  # type: ignore[misc] # pyroute2 is untyped
    """The attributes that identify a flow; the others are skipped."""

    nla_map = (
        (1, "CTA_TUPLE_ORIG", "flow_tuple"),
        (2, "CTA_TUPLE_REPLY", "flow_tuple"),
        (12, "CTA_ID", "be32"),
        (18, "CTA_ZONE", "be16"),
    )

    class flow_tuple(nla):  # type: ignore[misc] # noqa: N801 - pyroute2 looks classes up by name
        """Addresses and protocol of one direction."""

        nla_flags = NLA_F_NESTED
        nla_map = ((1, "CTA_TUPLE_IP", "addresses"), (2, "CTA_TUPLE_PROTO", "protocol"))

        class addresses(nla):  # type: ignore[misc] # noqa: N801
            """Source and destination."""

            nla_flags = NLA_F_NESTED
            nla_map = (
                (1, "CTA_IP_V4_SRC", "ip4addr"),
                (2, "CTA_IP_V4_DST", "ip4addr"),
                (3, "CTA_IP_V6_SRC", "ip6addr"),
                (4, "CTA_IP_V6_DST", "ip6addr"),
            )

        class protocol(nla):  # type: ignore[misc] # noqa: N801
            """Protocol number and ports."""

            nla_flags = NLA_F_NESTED
            nla_map = (
                (1, "CTA_PROTO_NUM", "uint8"),
                (2, "CTA_PROTO_SRC_PORT", "be16"),
                (3, "CTA_PROTO_DST_PORT", "be16"),
            )


def _open() -> "NetlinkSocket | None":
    try:
        return conversation()
    except KernelError as error:
        if error.errno in _NO_CONNTRACK:
            return None
        raise


def _list_flows(netlink: "NetlinkSocket", namespace: "Namespace", family: int) -> "list[Any]":
    request = _ConntrackMessage()
    request["nfgen_family"] = _FAMILIES[family]
    thing = f"of {namespace.path}"
    try:
        return netlink.dump(request, _CT_GET, "list conntrack entries", thing)
    except KernelError as error:
        if error.errno in _NO_CONNTRACK:
            return []
        raise


def _flow(message: "Any") -> Flow | None:
    """None for protocols without ports."""
    attrs = dict(message["attrs"])
    original, reply = _tuple(attrs, "CTA_TUPLE_ORIG"), _tuple(attrs, "CTA_TUPLE_REPLY")
    port = original.get("CTA_PROTO_DST_PORT")
    destination = original.get("CTA_IP_V4_DST") or original.get("CTA_IP_V6_DST")
    source = reply.get("CTA_IP_V4_SRC") or reply.get("CTA_IP_V6_SRC")
    if port is None or destination is None or source is None:
        return None
    return Flow(original["CTA_PROTO_NUM"], ip_address(destination), port, ip_address(source))


def _tuple(attrs: "dict[str, Any]", name: str) -> "dict[str, Any]":
    parts = dict(attrs[name]["attrs"]) if name in attrs else {}
    merged: dict[str, Any] = {}
    for part in ("CTA_TUPLE_IP", "CTA_TUPLE_PROTO"):
        merged |= dict(parts[part]["attrs"]) if part in parts else {}
    return merged


def _delete(netlink: "NetlinkSocket", namespace: "Namespace", entry: "Any") -> bool:
    """False when the entry has expired meanwhile."""
    attrs = dict(entry["attrs"])
    request = _ConntrackMessage()
    request["nfgen_family"] = entry["nfgen_family"]
    request["attrs"] = [
        (name, _plain(attrs[name]))
        for name in ("CTA_TUPLE_ORIG", "CTA_ZONE", "CTA_ID")
        if name in attrs
    ]
    thing = f"of {namespace.path}"
    try:
        netlink.act(request, _CT_DELETE, 0, "delete conntrack entry", thing)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def _plain(value: "Any") -> "Any":
    """A decoded attribute as plain lists, to be encoded again."""
    if isinstance(value, dict) or hasattr(value, "keys"):
        return {"attrs": [(name, _plain(inner)) for name, inner in value["attrs"]]}
    return value
