"""nerdctl's default network from the first ADD to the last DEL."""

import os
import subprocess

import pytest

from tests.lab.nerdctl import CHAIN, LEASES, published
from tests.lab.network import Network
from tests.lab.waiting import until

REFERENCE = "/usr/lib/cni"


@pytest.fixture
def network(host):
    return Network(host, CHAIN, name="bridge")


@pytest.fixture
def web():
    """Start a web server in a container; it ends with the test."""
    servers = []

    def start(container):
        words = ("ip", "netns", "exec", container.name, "python3", "-u", "-c", SERVER)
        server = subprocess.Popen(container.host.command(*words), stdout=subprocess.PIPE)
        servers.append(server)
        assert server.stdout.readline() == b"ready\n"

    yield start
    for server in servers:
        server.kill()
        server.wait()
        server.stdout.close()


SERVER = """
import socket
listening = socket.create_server(("", 80))
print("ready")
while True:
    peer, address = listening.accept()
    peer.sendall(address[0].encode())
    peer.close()
"""
FETCH = """
import socket, sys
print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).makefile().read())
"""


def fetch(place, address, port):
    """What the web server says: the address it sees."""
    done = place.try_run("python3", "-c", FETCH, address, str(port))
    return done.stdout.strip() if done.returncode == 0 else None


def nothing_left(host):
    assert host.ports("nerdctl0") == []
    assert host.listdir(LEASES) <= {"lock", "last_reserved_ip.0"}
    rules = host.rules()
    assert "10.4.0.2" not in rules
    assert "8080" not in rules


def test_a_published_port_reaches_the_container(host, network, outside, web):
    container = host.container()
    network.add(container, runtime=published(8080, 80))
    web(container)
    assert fetch(outside, "192.0.2.1", 8080) == "192.0.2.9"
    assert fetch(host, "192.0.2.1", 8080) is not None
    assert fetch(host, "127.0.0.1", 8080) is not None
    assert fetch(container, "10.4.0.1", 8080) is not None
    network.delete(container)
    assert fetch(outside, "192.0.2.1", 8080) is None
    nothing_left(host)


def test_containers_reach_one_another_and_the_world(host, network, outside):
    first, second = host.container(), host.container()
    network.add(first)
    network.add(second)
    assert first.pings("10.4.0.3")
    assert first.pings("192.0.2.9")  # which has no route back: masqueraded
    assert not outside.pings("10.4.0.2")


@pytest.mark.ours("the reference misses IPv6 rules that it had no reason to make")
def test_check_of_the_whole_chain_succeeds(host, network):
    container = host.container()
    network.add(container, runtime=published(8080, 80))
    answer = network.check(container)
    assert (answer.ok, answer.stdout) == (True, "")


def test_restricted_bridges_do_not_reach_one_another(host, network):
    other = [CHAIN[0] | {"bridge": "other0", "ipam": {**CHAIN[0]["ipam"]}}, CHAIN[2]]
    other[0]["ipam"]["ranges"] = [[{"subnet": "10.5.0.0/24"}]]
    first, second = host.container(), host.container()
    network.add(first)
    Network(host, other, name="other").add(second)
    assert not first.pings("10.5.0.2")
    assert not second.pings("10.4.0.2")


@pytest.mark.parametrize("cached", [True, False], ids=["result kept", "result lost"])
@pytest.mark.ours("the reference leaves port and masquerade rules when the result is lost")
def test_del_after_the_namespace_is_gone_leaves_nothing(host, network, cached):
    container = host.container()
    network.add(container, runtime=published(8080, 80))
    container.vanish()
    for _ in range(2):
        network.delete(container, cached=cached, CNI_NETNS="")
        if not cached:  # nobody knows the host's end: the kernel removes it, some time later
            until(lambda: host.ports("nerdctl0") == [])
        nothing_left(host)


@pytest.mark.ours("GC of the reference does nothing")
def test_gc_of_the_chain_leaves_the_valid_container_alone(host, web):
    network = Network(host, CHAIN, name="bridge", version="1.1.0")
    kept, lost = host.container(), host.container()
    network.add(lost, runtime=published(8080, 80))
    network.add(kept, runtime=published(8081, 80))
    web(kept)
    lost.vanish()
    network.collect(kept)
    rules = host.rules()
    assert "8080" not in rules
    assert "10.4.0.2" not in rules
    assert fetch(host, "127.0.0.1", 8081) is not None
    assert network.check(kept).ok


@pytest.mark.skipif(not os.path.exists(f"{REFERENCE}/portmap"), reason="no reference plugins")
@pytest.mark.parametrize("vanished", [False, True], ids=["running", "vanished"])
@pytest.mark.ours("it is about a node that switches to us")
def test_what_the_reference_added_we_delete(host, network, vanished):
    container = host.container()
    ours, host.binaries = host.binaries, REFERENCE
    network.add(container, runtime=published(8080, 80))
    host.binaries = ours
    if vanished:
        container.vanish()
    network.delete(container, CNI_NETNS="" if vanished else container.netns)
    nothing_left(host)


@pytest.mark.skipif(not os.path.exists(f"{REFERENCE}/portmap"), reason="no reference plugins")
@pytest.mark.parametrize("kind", ["nft", "legacy"])
@pytest.mark.ours("it is about a node that switches to us")
def test_what_the_reference_added_passes_our_check(host, network, kind):
    for tool in ("iptables", "ip6tables"):
        for suffix in ("", "-save", "-restore"):
            target = host.run("sh", "-c", f"command -v {tool}-{kind}{suffix}").strip()
            host.run("sh", "-c", f"mkdir -p /run/bin && ln -s {target} /run/bin/{tool}{suffix}")
    environ = {"PATH": f"/run/bin:{os.environ['PATH']}"}
    container = host.container()
    ours, host.binaries = host.binaries, REFERENCE
    network.add(container, runtime=published(8080, 80), **environ)
    host.binaries = ours
    answer = network.check(container)
    assert answer.ok, answer
    host.run(f"iptables-{kind}", "-t", "nat", "-F")
    assert network.check(container).code == 999
