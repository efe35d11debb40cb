"""dhcp daemon: the life of one lease, with a client that does as it is told and no network."""

import asyncio
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface

import pytest

from cnilib.attachment import Attachment
from cnilib.errors import CniError
from plugins.ipam.dhcp.daemon import lease as lease_module
from plugins.ipam.dhcp.daemon.client import NoAnswer, Refused, Unusable, Wishes, acquire_patiently
from plugins.ipam.dhcp.daemon.flags import Flags
from plugins.ipam.dhcp.daemon.grant import Grant
from plugins.ipam.dhcp.daemon.lease import Lease, Record
from plugins.ipam.dhcp.daemon.place import PlaceGone
from plugins.ipam.dhcp.daemon.times import Times, now

FLAGS = Flags(timeout=0.01, resendmax=0.0, resendtimeout=5.0)


class FakePlace:
    """A link with some addresses."""

    def __init__(self, *addresses):
        self.addresses = list(addresses)
        self.up = True
        self.gone = False

    @contextmanager
    def opened(self):
        if self.gone:
            raise PlaceGone("the link is gone")
        yield None, None

    def with_present_mac(self):
        with self.opened():
            return self

    def take_address_away(self, address):
        with self.opened():
            if address not in self.addresses:
                return None
            self.addresses.remove(address)
            return []

    def put_address(self, address, _routes, _gateways):
        self.addresses.append(address)

    def set_down(self):
        self.up = False


class FakeClient:
    """Answers what is next in its list; an exception is raised."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    async def _answer(self, verb):
        await asyncio.sleep(0)
        self.asked.append(verb)
        answers = self.answers.get(verb) or [NoAnswer("nobody")]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def acquire(self):
        return await self._answer("acquire")

    async def renew(self, _grant):
        return await self._answer("renew")

    async def rebind(self, _grant):
        return await self._answer("rebind")


class Owner:
    """Notes what it is told."""

    def __init__(self):
        self.told = []
        self.happened = asyncio.Event()

    def changed(self, lease):
        self.told.append(str(lease.record.grant.address.ip))
        self.happened.set()

    def ended(self, lease):
        self.told.append(lease.over)
        self.happened.set()

    def is_last_on_link(self, _lease):
        return True


def grant(address="10.0.0.7", *, age=0.0, t1=1000.0, t2=2000.0, length=3000.0):
    return Grant(
        IPv4Interface(f"{address}/24"),
        IPv4Address("10.0.0.1"),
        [],
        {},
        "10.0.0.1",
        "",
        Times(now() - age, t1, t2, length),
    )


def live(client, first, place=None):
    """Run a lease until its owner hears of it; the lease, its owner and its place."""

    class Told(Lease):
        client = None

    async def run():
        Told.client = client
        owner, where = Owner(), place or FakePlace(first.address)
        record = Record(Attachment("n", "c", "eth0"), 4, where, Wishes(b"\0c"), first)
        lease = Told(record, FLAGS, owner)
        lease.start()
        async with asyncio.timeout(30):
            await owner.happened.wait()
        lease.stop()
        return lease, owner, where

    return asyncio.run(run())


def test_at_t1_the_lease_is_renewed():
    client = FakeClient(renew=[grant()])
    lease, owner, _ = live(client, grant(age=1500))
    assert client.asked == ["renew"]
    assert owner.told == ["10.0.0.7"]
    lease.require_valid()


def test_at_t2_the_lease_is_rebound():
    client = FakeClient(rebind=[NoAnswer("nobody"), grant()])
    live(client, grant(age=2500))
    assert client.asked == ["rebind", "rebind"]


def test_a_lease_that_nobody_extends_expires():
    lease, owner, place = live(FakeClient(), grant(age=2999.9))
    assert owner.told == ["it has expired"]
    assert (place.addresses, place.up) == ([], False)
    with pytest.raises(CniError, match="expired"):
        lease.require_valid()


def test_a_refused_address_is_replaced():
    client = FakeClient(renew=[Refused("no")], acquire=[Refused("no"), grant("10.0.0.8")])
    lease, owner, place = live(client, grant(age=1500))
    assert owner.told == ["10.0.0.8"]
    assert place.addresses == [IPv4Interface("10.0.0.8/24")]
    lease.require_valid()


def test_a_refused_address_comes_back_when_the_server_gives_it_again():
    client = FakeClient(renew=[Refused("no")], acquire=[grant()])
    _, _, place = live(client, grant(age=1500))
    assert place.addresses == [IPv4Interface("10.0.0.7/24")]


def test_an_address_that_is_not_on_the_link_is_not_put_there():
    client = FakeClient(renew=[Refused("no")], acquire=[grant("10.0.0.8")])
    _, _, place = live(client, grant(age=1500), FakePlace())
    assert place.addresses == []


def test_a_renewal_to_another_address_replaces_it():
    client = FakeClient(renew=[grant("10.0.0.9")])
    _, _, place = live(client, grant(age=1500))
    assert place.addresses == [IPv4Interface("10.0.0.9/24")]


def test_a_lease_whose_link_is_gone_is_over():
    place = FakePlace()
    place.gone = True
    client = FakeClient(renew=[PlaceGone("the link is gone")])
    _, owner, _ = live(client, grant(age=1500), place)
    assert owner.told == ["the link is gone"]


def test_a_task_that_fails_starts_again(monkeypatch, capsys):
    monkeypatch.setattr(lease_module, "_RESTART_PAUSE", 0.0)
    client = FakeClient(renew=[ZeroDivisionError("a bug"), grant()])
    _, owner, _ = live(client, grant(age=1500))
    assert owner.told == ["10.0.0.7"]
    assert "a bug" in capsys.readouterr().err


def test_acquiring_gives_up_with_the_last_reason():
    client = FakeClient(acquire=[Refused("the pool is empty")])
    flags = FLAGS._replace(resendtimeout=0.2)
    with pytest.raises(CniError, match="no more tries: the pool is empty"):
        asyncio.run(acquire_patiently(client, flags))
    assert client.asked


def test_acquiring_stops_at_an_answer_that_is_useless():
    client = FakeClient(acquire=[Unusable("no mask")])
    with pytest.raises(Unusable):
        asyncio.run(acquire_patiently(client, FLAGS))
    assert client.asked == ["acquire"]
