"""Persistent tap devices (linux/if_tun.h), and what the kernel says about them."""

import os
import struct

from cnilib.errors import CniError, KernelError
from cnilib.kernel.links import set_mac, set_mtu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.netns import Namespace

_DEVICE = "/dev/net/tun"
_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB  # _IOW('T', 202, int) and on
_TUNSETOWNER, _TUNSETGROUP = 0x400454CC, 0x400454CE
_IFF_TAP, _IFF_NO_PI, _IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x0100
_IFF_VNET_HDR, _IFF_TUN_EXCL = 0x4000, 0x8000
_REQUEST = struct.Struct("16sH22x")  # struct ifreq: name, flags
_TYPE_TAP = 2  # IFLA_TUN_TYPE
_SIGN_BIT = 1 << 31


def add_tap(
    container: "Namespace",
    name: str,
    *,
    mac: str = "",
    mtu: int = 0,
    owner: int | None = None,
    group: int | None = None,
    multi_queue: bool = False,
    vnet_hdr: bool = False,
) -> None:
    """Make a tap device that stays, without packet information header.

    ``owner`` and ``group`` are the uid and gid that may attach to it, None for nobody; until all
    is set, the device goes with our descriptor of it.

    Raises:
        KernelError: the name is taken, or a setting is refused.
        CniError: the kernel has no tap devices.
    """
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_TUN_EXCL
    flags |= _IFF_MULTI_QUEUE * multi_queue | _IFF_VNET_HDR * vnet_hdr
    thing = f"tap device in {container.path}"
    with container.entered():
        device = open_device()
    try:
        request = _REQUEST.pack(name.encode(), flags)
        _control(device, _TUNSETIFF, request, f"add {thing}")
        if mac:
            set_mac(container, name, mac)
        if mtu:
            set_mtu(container, name, mtu)
        if owner is not None:
            _control(device, _TUNSETOWNER, _signed(owner), f"set owner {owner} of {thing}")
        if group is not None:
            _control(device, _TUNSETGROUP, _signed(group), f"set group {group} of {thing}")
        _control(device, _TUNSETPERSIST, 1, f"keep {thing}")
    finally:
        os.close(device)


def _control(device: int, request: int, argument: bytes | int, what: str) -> None:
    import fcntl

    act, _, thing = what.partition(" ")
    try:
        fcntl.ioctl(device, request, argument)
    except OSError as error:
        raise KernelError(act, thing, error.errno or 0) from error


def open_device() -> int:
    """A descriptor of the device that makes tap devices in the namespace of the caller.

    Raises:
        CniError: there is none, or the kernel has no driver for it.
    """
    try:
        return os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CniError(f"failed to open {_DEVICE}: {reason} (modprobe tun; CONFIG_TUN)") from error


def _signed(number: int) -> int:
    """An unsigned 32-bit number as the ``int`` that ioctl(2) is declared with."""
    return number - 2 * (number & _SIGN_BIT)


def settings_of(link: "Link") -> dict[str, object]:
    """What a tap device has of ``add_tap``'s own arguments, under their names; {} for another."""
    if link.kind != "tun" or link.info.get("IFLA_TUN_TYPE") != _TYPE_TAP:
        return {}
    return {
        "owner": link.info.get("IFLA_TUN_OWNER"),
        "group": link.info.get("IFLA_TUN_GROUP"),
        "multi_queue": bool(link.info.get("IFLA_TUN_MULTI_QUEUE")),
        "vnet_hdr": bool(link.info.get("IFLA_TUN_VNET_HDR")),
    }
