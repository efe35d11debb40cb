"""Policy routing rules (rtnetlink FRA; linux/fib_rules.h)."""

import errno
import socket
from ipaddress import ip_network
from typing import NamedTuple

from pyroute2.netlink.rtnl.fibmsg import fibmsg

from cnilib.errors import CniError, KernelError
from cnilib.kernel.netlink import NLM_F_CREATE, NLM_F_EXCL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cnilib.kernel.netns import Namespace
    from cnilib.types.addresses import IPNetwork

_RTM_NEWRULE, _RTM_DELRULE, _RTM_GETRULE = 32, 33, 34
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_OPTIONS = {4: "CONFIG_IP_MULTIPLE_TABLES", 6: "CONFIG_IPV6_MULTIPLE_TABLES"}
_TO_TABLE = 1  # FR_ACT_TO_TBL
_LONGEST_HEADER_TABLE = 255
_SUPPRESS_NOTHING = 0xFFFFFFFF
_ATTRIBUTES_OF_PLAIN = frozenset(
    {"FRA_SRC", "FRA_TABLE", "FRA_PRIORITY", "FRA_PROTOCOL", "FRA_SUPPRESS_PREFIXLEN"}
)
_ABSENT = {errno.ENOENT, errno.ESRCH, errno.EAFNOSUPPORT, errno.EOPNOTSUPP}


class Rule(NamedTuple):
    """A rule; ``source`` is None where any will do.

    ``plain``: it sends every packet from ``source`` to ``table`` and looks at nothing else.
    """

    version: int
    priority: int
    source: "IPNetwork | None"
    table: int
    plain: bool


def list_rules(namespace: "Namespace", family: int) -> list[Rule]:
    """The rules of a family (4 or 6), in the order in which the kernel asks them."""
    request = fibmsg()
    request["family"] = _FAMILIES[family]
    thing = f"for IPv{family} in {namespace.path}"
    try:
        messages = namespace.netlink.dump(request, _RTM_GETRULE, "list rules", thing)
    except KernelError as error:
        if error.errno in {errno.EAFNOSUPPORT, errno.EOPNOTSUPP}:  # not built in, or switched off
            return []
        raise
    return [_rule(message) for message in messages if message["family"] == _FAMILIES[family]]


def add_rule(namespace: "Namespace", source: "IPNetwork", table: int) -> None:
    """Look packets from ``source`` up in ``table`` before all rules but the first (priority 0).

    Raises:
        CniError: the kernel has no policy routing.
        KernelError: the kernel refuses the rule.
    """
    thing = f"from {source} lookup {table} in {namespace.path}"
    request = _request(source, table)
    try:
        namespace.netlink.act(request, _RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, "add rule", thing)
    except KernelError as error:
        if error.errno not in {errno.EAFNOSUPPORT, errno.EOPNOTSUPP}:
            raise
        raise CniError(
            f"failed to add rule {thing}: the kernel lacks policy routing "
            f"({_OPTIONS[source.version]})",
            error.details,
        ) from error


def remove_rule(
    namespace: "Namespace", source: "IPNetwork", table: int, priority: int | None = None
) -> bool:
    """Remove one rule, the first if there are several; False when there is none."""
    request = _request(source, table)
    if priority is not None:
        request["attrs"].append(("FRA_PRIORITY", priority))
    thing = f"from {source} lookup {table} in {namespace.path}"
    try:
        namespace.netlink.act(request, _RTM_DELRULE, 0, "remove rule", thing)
    except KernelError as error:
        if error.errno in _ABSENT:
            return False
        raise
    return True


def _request(source: "IPNetwork", table: int) -> "Any":
    message = fibmsg()
    message["family"] = _FAMILIES[source.version]
    message["src_len"] = source.prefixlen
    message["action"] = _TO_TABLE
    message["table"] = table if table <= _LONGEST_HEADER_TABLE else 0
    message["attrs"] = [("FRA_SRC", str(source.network_address)), ("FRA_TABLE", table)]
    return message


def _rule(message: "Any") -> Rule:
    attrs = dict(message["attrs"])
    source = attrs.get("FRA_SRC")
    plain = (
        message["action"] == _TO_TABLE
        and not message["flags"]
        and not message["tos"]
        and attrs.get("FRA_SUPPRESS_PREFIXLEN", _SUPPRESS_NOTHING) == _SUPPRESS_NOTHING
        and attrs.keys() <= _ATTRIBUTES_OF_PLAIN
    )
    return Rule(
        version=4 if message["family"] == socket.AF_INET else 6,
        priority=attrs.get("FRA_PRIORITY", 0),
        source=ip_network(f"{source}/{message['src_len']}") if source else None,
        table=attrs.get("FRA_TABLE", message["table"]),
        plain=plain,
    )
