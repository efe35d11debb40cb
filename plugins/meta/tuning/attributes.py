"""The attributes of the container's interface that tuning changes: reading, setting, comparing."""

from cnilib.errors import CheckFailed, CniError
from cnilib.kernel import links
from cnilib.kernel.netns import Namespace
from plugins.meta.tuning.config import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cnilib.kernel.link_messages import Link
    from cnilib.undo import Undo

_SETTERS: "dict[str, Callable[[Namespace, str, Value], None]]" = {
    "mac": lambda container, name, value: links.set_mac(container, name, str(value)),
    "promisc": lambda container, name, on: links.set_promisc(container, name, on=bool(on)),
    "mtu": lambda container, name, value: links.set_mtu(container, name, int(value)),
    "allmulti": lambda container, name, on: links.set_allmulti(container, name, on=bool(on)),
    "txQLen": lambda container, name, value: links.set_txqlen(container, name, int(value)),
}
_RESTORE_ORDER = ("mtu", "mac", "promisc", "allmulti", "txQLen")


def current(container: Namespace, ifname: str, members: "Iterable[str]") -> dict[str, Value]:
    """The present values of these attributes.

    Raises:
        KernelError: ENODEV, there is no such link.
    """
    values = _values(links.get_link(container, ifname))
    return {member: values[member] for member in members}


def change(
    container: Namespace,
    ifname: str,
    wanted: dict[str, Value],
    before: dict[str, Value],
    undo: "Undo",
) -> None:
    """Set the attributes. The link stays up meanwhile, so routes survive.

    Raises:
        KernelError: the kernel refuses a value, for example a multicast MAC.
    """
    for member, value in wanted.items():
        old = before[member]
        undo.add(f"restore {member} of {ifname}", _put_back, container.path, ifname, member, old)
        _SETTERS[member](container, ifname, value)


def restore(container: Namespace, ifname: str, values: dict[str, Value]) -> list[CniError]:
    """Put values back, each even if another failed; what went wrong. A link gone is fine."""
    failures: list[CniError] = []
    link = links.find_link(container, ifname)
    if link is None:
        return failures
    present = _values(link)
    for member in _RESTORE_ORDER:
        if member in values and values[member] not in ("", present[member]):
            try:
                _SETTERS[member](container, ifname, values[member])
            except CniError as error:
                failures.append(error)
    return failures


def check(container: Namespace, ifname: str, wanted: dict[str, Value]) -> None:
    """Compare the link with what is configured.

    Raises:
        KernelError: ENODEV, there is no such link.
        CheckFailed: an attribute differs.
    """
    found = _values(links.get_link(container, ifname))
    for member, value in wanted.items():
        if found[member] != value:
            raise CheckFailed(
                f"{member} of {ifname} in {container.path} is {found[member]}, "
                f"configured is {value}"
            )


def _values(link: "Link") -> dict[str, Value]:
    return {
        "mac": link.mac.lower(),
        "promisc": link.promisc,
        "mtu": link.mtu,
        "allmulti": link.allmulti,
        "txQLen": link.txqlen,
    }


def _put_back(netns: str, ifname: str, member: str, value: Value) -> None:
    with Namespace.open(netns) as container:
        _SETTERS[member](container, ifname, value)
