"""The life of one lease: renewed, rebound, refused or expired, in a task of its own."""

import asyncio
import sys
from typing import NamedTuple

from cnilib.attachment import Attachment
from cnilib.errors import CniError, TryAgain
from cnilib.log import warn
from plugins.ipam.dhcp.daemon.client import NoAnswer, Refused, Wishes, acquire_patiently
from plugins.ipam.dhcp.daemon.client4 import Client4
from plugins.ipam.dhcp.daemon.client6 import Client6
from plugins.ipam.dhcp.daemon.grant import Grant
from plugins.ipam.dhcp.daemon.place import Place, PlaceGone
from plugins.ipam.dhcp.daemon.times import next_try, now, sleep_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from cnilib.kernel.routes import RouteEntry
    from plugins.ipam.dhcp.daemon.client import Client
    from plugins.ipam.dhcp.daemon.flags import Flags

    class Owner(Protocol):
        """Who is told what happens to a lease."""

        def changed(self, lease: "Lease") -> None:
            """It has another grant."""

        def ended(self, lease: "Lease") -> None:
            """It is over."""

        def is_last_on_link(self, lease: "Lease") -> bool:
            """Whether no other living lease uses the link."""


_RESTART_PAUSE = 10.0


class Record(NamedTuple):
    """Everything there is to know about a lease; what is stored."""

    attachment: Attachment
    family: int
    place: Place
    wishes: Wishes
    grant: Grant

    def to_json(self) -> "dict[str, Any]":
        """For the store."""
        return {
            "attachment": list(self.attachment),
            "family": self.family,
            "place": list(self.place),
            "wishes": self.wishes.to_json(),
            "grant": self.grant.to_json(),
        }

    @classmethod
    def from_json(cls, document: "dict[str, Any]") -> "Record":
        """What ``to_json`` wrote.

        Raises:
            ValueError, KeyError, TypeError: it was something else.
        """
        return cls(
            Attachment(*document["attachment"]),
            document["family"],
            Place(*document["place"]),
            Wishes.from_json(document["wishes"]),
            Grant.from_json(document["grant"]),
        )


def client_for(family: int, place: Place, wishes: Wishes, flags: "Flags") -> "Client":
    """The client that speaks DHCPv4 or DHCPv6."""
    return Client4(place, wishes, flags) if family == 4 else Client6(place, wishes, flags)


class Lease:
    """A lease that is held. ``over`` says why it no longer is; "" while it is."""

    def __init__(self, record: Record, flags: "Flags", owner: "Owner") -> None:
        self.record = record
        self.over = ""
        self._flags = flags
        self._owner = owner
        self._task: asyncio.Task[None] | None = None
        self._settled = False

    def __str__(self) -> str:
        return f"{self.record.grant.address.ip} of {self.record.attachment}"

    @property
    def client(self) -> "Client":
        """The client that got it."""
        record = self.record
        return client_for(record.family, record.place, record.wishes, self._flags)

    def start(self) -> None:
        """Look after the lease from now on."""
        self._task = asyncio.get_running_loop().create_task(self._live())
        self._task.add_done_callback(self._supervise)

    def stop(self) -> None:
        """Leave the lease alone; its sockets are closed."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def settle(self) -> None:
        """Once, when the chain of plugins is through: note the MAC that the link has by then.

        A later plugin (tuning) may have changed it, and a daemon that is started again takes a
        lease up for the MAC that is noted only.
        """
        if self._settled or self.over:
            return
        self._settled = True
        place = self.record.place.with_present_mac()
        if place != self.record.place:
            self.record = self.record._replace(place=place)
            self._owner.changed(self)

    def require_valid(self) -> None:
        """Whether the container may use the address.

        Raises:
            CniError: it may not; says why.
            PlaceGone: there is no container to use it.
        """
        if not self.over and self.record.grant.times.expires_at <= now():
            self.over = "it has expired"
        if self.over:
            raise CniError(f"the lease of {self} is not valid: {self.over}")
        with self.record.place.opened():
            return

    def _supervise(self, task: "asyncio.Task[None]") -> None:
        """A task that fails must not cost the container its address: it is started again."""
        if task.cancelled():
            return
        failure = task.exception()
        if isinstance(failure, PlaceGone):
            self._end(str(failure))
        elif failure is not None:
            sys.__excepthook__(type(failure), failure, failure.__traceback__)
            warn(f"dhcp: lease {self}: its task failed, and starts again in 10 seconds")
            asyncio.get_running_loop().call_later(_RESTART_PAUSE, self._start_again)

    def _start_again(self) -> None:
        if self._task is not None and not self.over:
            self.start()

    async def _live(self) -> None:
        while not self.over:
            await sleep_until(self.record.grant.times.renew_at)
            try:
                self._adopt(await self._extended())
            except Refused as refusal:
                warn(f"dhcp: lease {self}: {refusal}; getting another one")
                await self._replace()
            except _Expired:
                self._expire()

    async def _extended(self) -> Grant:
        """By the server that granted it, from T2 on by any; retried until the lease expires.

        Raises:
            Refused: a server says no.
            _Expired: nobody answered.
        """
        times = self.record.grant.times
        for act, limit in (("renew", times.rebind_at), ("rebind", times.expires_at)):
            while (left := limit - now()) > 0:
                verb = self.client.renew if act == "renew" else self.client.rebind
                try:
                    async with asyncio.timeout(min(left, self._flags.resendtimeout)):
                        return await verb(self.record.grant)
                except (NoAnswer, TimeoutError):
                    warn(f"dhcp: lease {self}: no server answered the attempt to {act} it")
                except (Refused, PlaceGone):
                    raise
                except CniError as error:  # the link is down: it may come up again
                    warn(f"dhcp: lease {self}: {error}")
                await sleep_until(next_try(now(), limit, self._flags.resendmax))
        raise _Expired

    async def _replace(self) -> None:
        """The address is not ours any longer: off the link with it, a new one in its place."""
        former = self.record.grant
        self.over = "its server refuses it"
        routes = self.record.place.take_address_away(former.address)
        while (left := former.times.expires_at - now()) > 0:
            try:
                async with asyncio.timeout(left):
                    grant = await acquire_patiently(self.client, self._flags)
            except (TryAgain, TimeoutError) as error:
                warn(f"dhcp: lease {self}: {error}")
            else:
                self.over = ""
                self._adopt(grant, routes)
                return
        self._expire()

    def _adopt(self, grant: Grant, routes: "list[RouteEntry] | None" = None) -> None:
        """Go on with a new grant; ``routes`` are those of an address already off the link."""
        former = self.record.grant
        place = self.record.place.with_present_mac()
        if grant.address != former.address and routes is None:
            routes = place.take_address_away(former.address)
        self.record = self.record._replace(grant=grant, place=place)
        self._owner.changed(self)
        if routes is not None:
            place.put_address(grant.address, routes, (former.gateway, grant.gateway))
        if grant.address != former.address:
            warn(f"dhcp: lease {self}: {former.address} is replaced by {grant.address}")

    def _expire(self) -> None:
        """Nobody may use the address any longer (RFC 2131 section 4.4.5)."""
        place = self.record.place
        place.take_address_away(self.record.grant.address)
        if self._owner.is_last_on_link(self):
            place.set_down()
        self._end("it has expired")

    def _end(self, why: str) -> None:
        self.over = why
        warn(f"dhcp: lease {self} is over: {why}")
        self._owner.ended(self)


class _Expired(Exception):  # noqa: N818 - the name is what happened
    """The lease ran out while it was being renewed."""
