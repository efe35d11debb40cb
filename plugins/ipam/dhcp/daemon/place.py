"""Where a lease lives: one link in one network namespace, found again for each exchange.

Nothing is kept open in between, so that a container's namespace ends with the container.
"""

import asyncio
import os
import time
from contextlib import contextmanager
from typing import NamedTuple

from cnilib.errors import CniError, KernelError
from cnilib.kernel.addresses import add_address, list_addresses, remove_address
from cnilib.kernel.links import find_link, set_down, set_up
from cnilib.kernel.netns import Namespace
from cnilib.kernel.routes import add_route, list_routes
from cnilib.kernel.sysctl import ensure_sysctl, read_sysctl
from cnilib.log import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnilib.kernel.link_messages import Link
    from cnilib.kernel.routes import RouteEntry
    from cnilib.types.addresses import IPAddress, IPInterface


_CARRIER_PATIENCE, _CARRIER_POLL = 2.0, 0.02
_RUNNING = {"UP", "UNKNOWN"}  # operational states, RFC 2863


class PlaceGone(CniError):  # noqa: N818 - the name is what happened
    """The namespace or the link does not exist any longer, or is another one."""


class Place(NamedTuple):
    """A link: the path and inode of its namespace (as the daemon sees them), its name and MAC."""

    netns: str
    inode: int
    ifname: str
    mac: str

    def __str__(self) -> str:
        return f"{self.ifname} in {self.netns}"

    @classmethod
    def find(cls, netns: str, ifname: str) -> "Place":
        """The link that an ADD names, which is set up if it is down.

        Raises:
            NetnsError: there is no such namespace.
            CniError: there is no such link in it.
        """
        with Namespace.open(netns) as namespace:
            link = find_link(namespace, ifname)
            if link is None:
                raise CniError(f"failed to find link {ifname} in {netns}: no such device")
            if not link.up:
                set_up(namespace, ifname)
            return cls(netns, namespace.inode, ifname, link.mac)

    async def wait_until_running(self) -> None:
        """Wait for the link to be operationally up, though not for long.

        The kernel starts the queues of both ends of a link some time after the link is set up;
        until then it drops what is sent, and a first transmission would cost a whole time-out.

        Raises:
            PlaceGone: it is gone.
        """
        give_up = time.monotonic() + _CARRIER_PATIENCE
        while time.monotonic() < give_up:
            with self.opened() as (_, link):
                if link.operstate in _RUNNING:
                    return
            await asyncio.sleep(_CARRIER_POLL)

    @property
    def exists(self) -> bool:
        """Whether the namespace is still the same; the link is not looked at."""
        try:
            return os.stat(self.netns).st_ino == self.inode
        except OSError:
            return False

    @contextmanager
    def opened(self) -> "Iterator[tuple[Namespace, Link]]":
        """The namespace and the link.

        Raises:
            PlaceGone: either is gone.
        """
        if not self.exists:
            raise PlaceGone(f"network namespace {self.netns} is gone")
        with Namespace.open(self.netns) as namespace:
            link = find_link(namespace, self.ifname)
            if link is None:
                raise PlaceGone(f"link {self.ifname} is gone from {self.netns}")
            yield namespace, link

    def with_present_mac(self) -> "Place":
        """The same place; a later plugin of the chain may have changed the hardware address.

        Raises:
            PlaceGone: it is gone.
        """
        with self.opened() as (_, link):
            return self._replace(mac=link.mac)

    def allow_ipv6(self) -> None:
        """Switch IPv6 on for the link: runtimes switch it off in new namespaces.

        Raises:
            KernelError: the kernel has no IPv6.
            PlaceGone: it is gone.
        """
        key = f"net/ipv6/conf/{self.ifname}/disable_ipv6"
        with self.opened() as (namespace, _):
            if read_sysctl(namespace, key) is None:
                raise CniError(f"DHCPv6 needs IPv6, which the kernel of {self.netns} has not")
            ensure_sysctl(namespace, key, "0")

    def link_local(self) -> "tuple[str, int] | None":
        """An address to speak DHCPv6 from, with the index of the link; None while there is none.

        Raises:
            PlaceGone: it is gone.
        """
        with self.opened() as (namespace, link):
            for address in list_addresses(namespace, link.index, 6):
                usable = not address.tentative and not address.dadfailed
                if usable and address.interface.ip.is_link_local:
                    return str(address.interface.ip), link.index
        return None

    def take_address_away(self, address: "IPInterface") -> "list[RouteEntry] | None":
        """Remove an address; the routes of the link as they were, None if it was not there.

        Raises:
            PlaceGone: the whole place is gone.
        """
        with self.opened() as (namespace, link):
            routes = [
                route
                for route in list_routes(namespace, family=address.version, oif=link.index)
                if route.gateway or route.dst != address.network  # that one goes with the address
            ]
            return routes if remove_address(namespace, link.index, address) else None

    def put_address(
        self,
        address: "IPInterface",
        routes: "list[RouteEntry]",
        gateways: "tuple[IPAddress | None, IPAddress | None]",
    ) -> None:
        """Add an address and the routes that went with the one before it.

        ``gateways`` are the former and the present one, which takes its place in the routes.

        Raises:
            PlaceGone: the whole place is gone.
        """
        former, present = gateways
        with self.opened() as (namespace, link):
            add_address(namespace, link.index, address)
            for route in routes:
                gateway = present if route.gateway == former else route.gateway
                try:
                    add_route(
                        namespace,
                        route.dst,
                        oif=link.index,
                        gateway=gateway,
                        priority=route.priority,
                        scope=route.scope,
                        mtu=route.mtu,
                        advmss=route.advmss,
                    )
                except KernelError as error:
                    warn(f"dhcp: {error}")

    def set_down(self) -> None:
        """Take the link down.

        Raises:
            PlaceGone: it is gone.
        """
        with self.opened() as (namespace, link):
            set_down(namespace, link.name)
