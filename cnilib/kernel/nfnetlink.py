"""The process's conversation with netfilter, one for each network namespace it is in.

It stays open to the end of the process. Closing any nfnetlink socket waits until what the last
transaction deleted is freed (nft_rcv_nl_event in net/netfilter/nf_tables_api.c), and that waits
for an RCU grace period, 5 to 20 ms: a plugin with one socket a question would wait several times.
"""

import os

from cnilib.errors import KernelError
from cnilib.kernel.netlink import NETLINK_NETFILTER, NetlinkSocket

_OPEN: dict[int, NetlinkSocket] = {}


def conversation() -> NetlinkSocket:
    """The socket of the namespace that this thread is in.

    Raises:
        KernelError: the kernel has no nfnetlink.
    """
    namespace = os.stat("/proc/thread-self/ns/net").st_ino
    if namespace not in _OPEN:
        try:
            _OPEN[namespace] = NetlinkSocket(NETLINK_NETFILTER)
        except OSError as error:
            raise KernelError("open", "a netfilter socket", error.errno or 0) from error
    return _OPEN[namespace]


def close_all() -> None:
    """For a process that goes on after its namespaces: each socket keeps its own alive."""
    while _OPEN:
        _OPEN.popitem()[1].close()
