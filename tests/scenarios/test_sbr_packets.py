"""sbr: packets leave by the interface that their source address is on (sbr.md)."""

import pytest

from tests.lab.network import Network
from tests.lab.packets import HOST4, HOST6, Reply, Servers, ask, outside_machine

FAR4, FAR6 = "198.51.100.1", "2001:db8:51::1"


@pytest.fixture
def servers():
    running = Servers()
    yield running
    running.close()


def router(host, number, servers):
    """A machine on bridge ``br<number>`` that is the far address: whichever is asked answers."""
    machine = host.container()
    host.run("ip", "link", "add", f"br{number}", "type", "bridge")
    pair = ("link", "add", f"up{number}", "type", "veth", "peer", "name", "in0")
    host.run("ip", *pair, "netns", machine.name)
    host.run("ip", "link", "set", f"up{number}", "master", f"br{number}", "up")
    host.run("ip", "link", "set", f"br{number}", "up")
    machine.run("ip", "link", "set", "in0", "up")
    machine.run("ip", "link", "set", "lo", "up")
    for address, far in ((f"10.{number}.0.1/24", FAR4), (f"fd0{number}::1/64", FAR6)):
        machine.run("ip", "address", "add", address, "dev", "in0")
        machine.run("ip", "address", "add", far, "dev", "lo")
    for family, address, far in (
        ("-4", f"10.{number}.0.2", FAR4),
        ("-6", f"fd0{number}::2", FAR6),
    ):
        machine.run("ip", family, "route", "add", address, "dev", "in0", "src", far)
    servers.start(machine, f"router{number}")
    return machine


def network(host, number, *more, default=False, main="bridge"):
    """An interface on ``br<number>`` with two addresses, and what is chained after it."""
    addresses = [
        {"address": f"10.{number}.0.2/24", "gateway": f"10.{number}.0.1"},
        {"address": f"fd0{number}::2/64", "gateway": f"fd0{number}::1"},
    ]
    ipam = {"type": "static", "addresses": addresses}
    if default:
        ipam["routes"] = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    below = {"bridge": {"bridge": f"br{number}"}, "macvlan": {"master": f"br{number}"}}
    first = {"type": main, "ipam": ipam} | below.get(main, {})
    return Network(host, [first, *more], name=f"net{number}")


def test_an_answer_goes_back_the_way_the_question_came(host, servers):
    """Two bridges, two routers with one address: without sbr every answer leaves by eth0."""
    routers = [router(host, number, servers) for number in (1, 2)]
    inside = host.container()
    network(host, 1, default=True).add(inside)
    result = network(host, 2).add(inside, ifname="net1")
    servers.start(inside, "inside")
    asked = [("10.1.0.2", "fd01::2"), ("10.2.0.2", "fd02::2")]

    def answers():
        return [
            ask(place, address, 7000)
            for place, pair in zip(routers, asked, strict=True)
            for address in pair
        ]

    heard = [Reply("inside", FAR4), Reply("inside", FAR6)]
    assert answers() == [*heard, None, None]
    given = {"cniVersion": "1.0.0", "name": "net2", "type": "sbr", "prevResult": result}
    host.add(given, inside, ifname="net1")
    assert answers() == [*heard, *heard]
    host.delete(given, inside, ifname="net1")
    assert answers() == [*heard, None, None]


@pytest.mark.parametrize("main", ["bridge", "macvlan"])
def test_each_source_address_leaves_by_its_own_interface(host, servers, main):
    for number in (1, 2):
        router(host, number, servers)
    inside = host.container()
    network(host, 1, {"type": "sbr"}, default=True, main=main).add(inside)
    network(host, 2, {"type": "sbr"}, main=main).add(inside, ifname="net1")
    for number, sources in ((1, ("10.1.0.2", "fd01::2")), (2, ("10.2.0.2", "fd02::2"))):
        for source, far in zip(sources, (FAR4, FAR6), strict=True):
            answer = ask(inside, far, 7000, source=source)
            assert answer == Reply(f"router{number}", source)


def test_each_source_address_leaves_by_its_own_point_to_point_link(host, servers):
    outside_machine(host)
    servers.start(host, "host")
    inside = host.container()
    for number, name in ((1, "eth0"), (2, "net1")):
        chain = network(host, number, {"type": "sbr"}, default=number == 1, main="ptp")
        chain.add(inside, ifname=name)
    for number, name in ((1, "eth0"), (2, "net1")):
        for source, far in ((f"10.{number}.0.2", HOST4), (f"fd0{number}::2", HOST6)):
            sent = packets_sent(inside, name)
            assert ask(inside, far, 7000, source=source) == Reply("host", source)
            assert packets_sent(inside, name) > sent + 2


def packets_sent(container, name):
    (link,) = container.show("-s", "link", "show", "dev", name)
    return link["stats64"]["tx"]["packets"]


@pytest.mark.ours("CHECK of the reference's main plugins looks at the main table only")
@pytest.mark.parametrize("main", ["bridge", "macvlan", "ptp"])
def test_the_whole_chain_passes_its_check(host, main):
    host.run("ip", "link", "add", "br1", "type", "bridge")
    host.run("ip", "link", "set", "br1", "up")
    inside = host.container()
    chain = network(host, 1, {"type": "sbr"}, default=True, main=main)
    chain.add(inside)
    answer = chain.check(inside)
    assert answer.ok, answer
    chain.delete(inside)
    assert {rule["src"] for rule in inside.show("rule") + inside.show("-6", "rule")} == {"all"}
