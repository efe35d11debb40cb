"""Which device of the host a configuration means (host-device.md 2).

Names in sysfs: Documentation/ABI/testing/sysfs-bus-pci and sysfs-class-net of the kernel.
"""

import os
from typing import NamedTuple

from cnilib.errors import CniError, ConfigError
from cnilib.kernel.links import find_link, list_links
from cnilib.log import warn
from cnilib.types.addresses import parse_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.netns import Namespace
    from plugins.main.host_device.conf import Conf

_DEVICES = "/sys/devices/"
_PCI = "/sys/bus/pci/devices"
_AUXILIARY = "/sys/bus/auxiliary/devices"
_USER_SPACE_DRIVERS = {"vfio-pci", "uio_pci_generic", "igb_uio"}


class Selectors(NamedTuple):
    """What names the device, in the order in which it is looked at; "" is not given."""

    device: str
    hwaddr: str
    kernelpath: str
    pci: str
    auxiliary: str


def selectors(conf: "Conf") -> Selectors:
    """The keys of the configuration, after the runtime's deviceID took effect.

    Raises:
        ConfigError: none is given, or deviceID is no device of this host.
    """
    pci, auxiliary = conf.pci_bus_id, ""
    device_id = conf.runtime_config.device_id
    if device_id and _exists(_PCI, device_id):
        pci = device_id
    elif device_id and _exists(_AUXILIARY, device_id):
        pci, auxiliary = "", device_id
    elif device_id:
        raise ConfigError(
            f"runtimeConfig.deviceID {device_id!r} not found or unsupported: neither {_PCI} nor "
            f"{_AUXILIARY} has it"
        )
    given = Selectors(conf.device, conf.hwaddr, conf.kernelpath, pci, auxiliary)
    if not any(given):
        raise ConfigError(
            "no device is given: host-device needs one of device, hwaddr, kernelpath, pciBusID or "
            "runtimeConfig.deviceID"
        )
    return given


def is_for_user_space(given: Selectors) -> bool:
    """Whether the PCI device belongs to a driver for programs (DPDK): then it has no link.

    Raises:
        ConfigError: there is no such PCI device, or it has no driver.
    """
    if not given.pci:
        return False
    if not _exists(_PCI, given.pci):
        raise ConfigError(f"error with host device: no PCI device {given.pci!r} in {_PCI}")
    try:
        driver = os.readlink(f"{_PCI}/{given.pci}/driver")
    except OSError as error:
        raise ConfigError(
            f"error with host device: PCI device {given.pci} has no driver: bind it to one first"
        ) from error
    return os.path.basename(driver) in _USER_SPACE_DRIVERS


def get_device(host: "Namespace", given: Selectors) -> "Link":
    """The link the first selector means. Others that mean something else are told on stderr.

    Raises:
        ConfigError: the selector is malformed.
        CniError: there is no such device.
    """
    finders: tuple[Callable[[Namespace, str], Link], ...] = (
        _by_name,
        _by_mac,
        _by_path,
        _by_pci,
        _by_auxiliary,
    )
    named = [
        (key, value, find)
        for key, value, find in zip(Selectors._fields, given, finders, strict=True)
        if value
    ]
    (_, first, find_first), *rest = named
    link = find_first(host, first)
    for key, value, find in rest:
        try:
            other = find(host, value).name
        except CniError as error:
            other = str(error)
        if other != link.name:
            warn(f"host-device: takes {link.name} and ignores {key} {value}, which is: {other}")
    return link


def _by_name(host: "Namespace", name: str) -> "Link":
    link = find_link(host, name)
    if link is None:
        raise CniError(f'failed to find device "{name}" on the host: Link not found')
    return link


def _by_mac(host: "Namespace", text: str) -> "Link":
    try:
        mac = parse_mac(text)
    except ValueError as error:
        raise ConfigError(f"invalid hwaddr: {error}") from None
    links = sorted(list_links(host), key=lambda link: link.index)
    for link in links:
        if link.mac == mac:
            return link
    raise CniError(f"failed to find a device with hwaddr {mac} on the host")


def _by_path(host: "Namespace", path: str) -> "Link":
    """Steps back are taken before the path is judged, so that it cannot lead elsewhere."""
    normal = os.path.normpath(path)
    if not normal.startswith(_DEVICES) or "\0" in path:
        raise ConfigError(f"invalid kernelpath {path!r}: it must be below {_DEVICES}")
    return _first_of(host, f"{normal}/net")


def _by_pci(host: "Namespace", address: str) -> "Link":
    """Its ``net`` directory, or that of the virtio device on it."""
    device = f"{_PCI}/{address}"
    virtio = [name for name in _entries(device) if name.startswith("virtio")]
    for directory in (f"{device}/net", *(f"{device}/{name}/net" for name in virtio)):
        if os.path.isdir(directory):
            return _first_of(host, directory)
    raise CniError(f"no net directory under PCI device {address}: it is no network device")


def _by_auxiliary(host: "Namespace", name: str) -> "Link":
    return _first_of(host, f"{_AUXILIARY}/{name}/net")


def _first_of(host: "Namespace", directory: str) -> "Link":
    """The link of the alphabetically first entry."""
    for name in _entries(directory):
        return _by_name(host, name)
    raise CniError(f"no network device in {directory}")


def _entries(directory: str) -> "Iterable[str]":
    try:
        return sorted(os.listdir(directory))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CniError(f"failed to list {directory}: {reason}") from error


def _exists(directory: str, name: str) -> bool:
    """Whether sysfs has an entry of that name, which must not be a path."""
    if "/" in name or "\0" in name or name in {".", ".."}:
        return False
    return os.path.exists(f"{directory}/{name}")
