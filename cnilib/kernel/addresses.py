"""Addresses of links (rtnetlink IFA; linux/if_addr.h)."""

import errno
import socket
import time
from ipaddress import ip_address, ip_interface
from typing import NamedTuple

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from cnilib.errors import CniError, KernelError
from cnilib.kernel.netlink import NLM_F_CREATE, NLM_F_EXCL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.netns import Namespace
    from cnilib.types.addresses import IPAddress, IPInterface

_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_IFA_F_NODAD, _IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x02, 0x08, 0x40
_DAD_PATIENCE, _DAD_POLL = 5.0, 0.05
_FOREVER = 0xFFFFFFFF  # INFINITY_LIFE_TIME
_SETTABLE_FLAGS = 0x716  # those of an IPv6 address that RTM_NEWADDR takes: no states
_UP_STATES = {"UP", "UNKNOWN"}
_LONGEST_WITH_BROADCAST = 30


class Address(NamedTuple):
    """An address of a link; ``scope`` is 0 for global, 253 link, 254 host.

    ``lifetimes`` are the seconds it is preferred and valid (struct ifa_cacheinfo).
    """

    interface: "IPInterface"
    tentative: bool
    dadfailed: bool
    scope: int
    flags: int
    lifetimes: tuple[int, int]


def list_addresses(namespace: "Namespace", index: int, family: int | None = None) -> list[Address]:
    """The addresses of one link; ``family`` is 4, 6 or None for both."""
    request = ifaddrmsg()
    request["family"] = _FAMILIES[family] if family else socket.AF_UNSPEC
    request["index"] = index
    thing = f"of link {index} in {namespace.path}"
    messages = namespace.netlink.dump(request, _RTM_GETADDR, "list addresses", thing)
    return [_address(message) for message in messages if message["index"] == index]


def add_address(
    namespace: "Namespace",
    index: int,
    interface: "IPInterface",
    *,
    nodad: bool = False,
    broadcast: "IPAddress | None" = None,
) -> None:
    """Add an address with global scope; IPv4 gets its subnet's broadcast address.

    Raises:
        KernelError: EEXIST, it is there already.
    """
    request = _request(index, interface)
    if nodad and interface.version == 6:
        request["attrs"].append(("IFA_FLAGS", _IFA_F_NODAD))
    if interface.version == 4 and interface.network.prefixlen <= _LONGEST_WITH_BROADCAST:
        last = broadcast or interface.network.broadcast_address
        request["attrs"].append(("IFA_BROADCAST", str(last)))
    thing = f"{interface} to link {index} in {namespace.path}"
    namespace.netlink.act(request, _RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "add address", thing)


def restore_address(namespace: "Namespace", index: int, address: Address) -> None:
    """Add an address as it was when it was listed: with its flags and what is left of its life.

    Raises:
        KernelError: EEXIST, it is there already.
    """
    request = _request(index, address.interface)
    request["scope"] = address.scope
    preferred, valid = address.lifetimes
    lifetimes = {"ifa_preferred": preferred, "ifa_valid": valid}
    request["attrs"] += [
        ("IFA_FLAGS", address.flags & _SETTABLE_FLAGS),
        ("IFA_CACHEINFO", lifetimes | {"cstamp": 0, "tstamp": 0}),
    ]
    thing = f"{address.interface} to link {index} in {namespace.path}"
    namespace.netlink.act(request, _RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "add address", thing)


def remove_address(namespace: "Namespace", index: int, interface: "IPInterface") -> bool:
    """Remove an address; False when the link does not have it."""
    thing = f"{interface} from link {index} in {namespace.path}"
    try:
        namespace.netlink.act(_request(index, interface), _RTM_DELADDR, 0, "remove address", thing)
    except KernelError as error:
        if error.errno in {errno.EADDRNOTAVAIL, errno.ENODEV}:
            return False
        raise
    return True


def wait_for_addresses(namespace: "Namespace", link: "Link", deadline: float) -> None:
    """Wait until duplicate address detection of the link's IPv6 addresses has ended.

    Ends at once on a link without carrier: detection starts with it.

    Raises:
        CniError: an address is in use elsewhere, or detection took longer than 5 seconds on a link
            that is operationally up.
    """
    from cnilib.kernel.links import find_link_by_index

    give_up = min(deadline, time.monotonic() + _DAD_PATIENCE)
    while True:
        addresses = list_addresses(namespace, link.index, 6)
        for address in addresses:
            if address.dadfailed:
                raise CniError(
                    f"IPv6 address {address.interface} of {link.name} in {namespace.path} is "
                    "already in use on the network (duplicate address detection failed)"
                )
        waiting = [str(address.interface) for address in addresses if address.tentative]
        if not waiting:
            return
        now = find_link_by_index(namespace, link.index)
        if now is None or (now.operstate not in _UP_STATES and not now.carrier):
            return
        if time.monotonic() >= give_up:
            if now.operstate not in _UP_STATES:
                return
            raise CniError(
                f"IPv6 address {waiting[0]} of {link.name} in {namespace.path} is still "
                "tentative after 5 seconds"
            )
        time.sleep(_DAD_POLL)


def _request(index: int, interface: "IPInterface") -> "Any":
    message = ifaddrmsg()
    message["family"] = _FAMILIES[interface.version]
    message["index"] = index
    message["prefixlen"] = interface.network.prefixlen
    address = str(interface.ip)
    message["attrs"] = [("IFA_LOCAL", address), ("IFA_ADDRESS", address)]
    return message


def _address(message: "Any") -> Address:
    attrs = dict(message["attrs"])
    flags = attrs.get("IFA_FLAGS", message["flags"])
    cache = attrs.get("IFA_CACHEINFO") or {}
    local = ip_address(attrs.get("IFA_LOCAL") or attrs["IFA_ADDRESS"])
    return Address(
        interface=ip_interface((local, message["prefixlen"])),
        tentative=bool(flags & _IFA_F_TENTATIVE) and not flags & _IFA_F_DADFAILED,
        dadfailed=bool(flags & _IFA_F_DADFAILED),
        scope=message["scope"],
        flags=flags,
        lifetimes=(cache.get("ifa_preferred", _FOREVER), cache.get("ifa_valid", _FOREVER)),
    )
