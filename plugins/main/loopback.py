"""loopback: brings ``lo`` of the container up, and down again on DEL.

Leaves nothing on the host. Runtimes call it for every pod, alone or anywhere in a chain::

    {"cniVersion": "1.0.0", "name": "loopback", "type": "loopback"}
"""

from pydantic import Field

from cnilib.errors import CheckFailed, CniError
from cnilib.kernel.addresses import list_addresses
from cnilib.kernel.links import get_link, set_down, set_up
from cnilib.kernel.netns import Namespace
from cnilib.plugin import plugin
from cnilib.types.config import NetConf
from cnilib.types.result import Interface, IPConfig, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnilib.request import Request
    from cnilib.types.addresses import IPInterface
    from cnilib.undo import ErrorList, Undo

_LO = "lo"


class Conf(NetConf):
    """The only key of its own is beyond the reference plugin."""

    allow_extra_addresses: bool = Field(
        default=False, description="accept addresses on lo other than 127.0.0.0/8 and ::1"
    )


def add(req: "Request", conf: Conf, _undo: "Undo") -> Result:
    """Bring ``lo`` up; it stays up when ADD fails, as other networks of the container share it."""
    previous = req.prev_result
    with Namespace.open(req.netns) as container:
        lo = get_link(container, _LO)
        if not lo.up:
            set_up(container, _LO)
        addresses = [address.interface for address in list_addresses(container, lo.index)]
    own = [address for address in addresses if address.ip.is_loopback]
    if len(own) < len(addresses) and not conf.allow_extra_addresses:
        foreign = next(address for address in addresses if address not in own)
        raise CniError(
            f"non-loopback address {foreign} found on lo in {req.netns}: remove it, or set "
            "allowExtraAddresses"
        )
    return _result(lo.mac, req.netns, own) if previous is None else previous


def delete(req: "Request", _conf: NetConf, errors: "ErrorList") -> None:
    """Take ``lo`` down; the kernel removes its addresses."""
    with errors:
        container = Namespace.find(req.netns)
        if container is not None:
            with container:
                set_down(container, _LO)


def check(req: "Request", _conf: Conf) -> None:
    """``lo`` is up."""
    with Namespace.open(req.netns) as container:
        if not get_link(container, _LO).up:
            raise CheckFailed(f"loopback interface is down in {req.netns}: expected it up")


def _result(mac: str, netns: str, addresses: "Sequence[IPInterface]") -> Result:
    """The first address of each family."""
    first = [
        next((address for address in addresses if address.version == version), None)
        for version in (4, 6)
    ]
    return Result(
        interfaces=(Interface(name=_LO, mac=mac, sandbox=netns),),
        ips=tuple(IPConfig(address=address, interface=0) for address in first if address),
    )


main = plugin("loopback", Conf, add=add, delete=delete, check=check, delete_conf=NetConf)
