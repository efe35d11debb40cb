"""Intermediate functional blocks: links that give what comes in a queue to wait in."""

from cnilib.kernel.links import add_link, set_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.links import Attributes
    from cnilib.kernel.netns import Namespace


def add_ifb(namespace: "Namespace", name: str, *, mtu: int) -> None:
    """Make an ifb that is up; its only queue is the qdisc it is given.

    Raises:
        KernelError: EEXIST, the name is taken.
        CniError: the kernel has no ifb.
    """
    settings: Attributes = [("IFLA_MTU", mtu), ("IFLA_TXQLEN", 0)]
    add_link(namespace, name, [("IFLA_INFO_KIND", "ifb")], settings)
    set_up(namespace, name)
