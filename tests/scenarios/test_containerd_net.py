"""The network that containerd's installer writes: dual stack, two ranges, published ports."""

import pytest

from tests.lab.network import Network
from tests.lab.packets import HOST4, HOST6, OUTSIDE4, OUTSIDE6, Servers, ask, outside_machine

BRIDGE = {
    "type": "bridge",
    "bridge": "cni0",
    "isGateway": True,
    "ipMasq": True,
    "promiscMode": True,
    "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "10.88.0.0/16"}], [{"subnet": "2001:4860:4860::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
    },
}
PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}}
PORT = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}


@pytest.fixture
def network(host):
    return Network(host, [BRIDGE, PORTMAP], name="containerd-net", version="0.4.0")


@pytest.fixture
def machine(host):
    """Beyond the host; it has no route to the containers' subnets but through the host."""
    return outside_machine(host)


@pytest.fixture
def servers():
    running = Servers()
    yield running
    running.close()


def ask_patiently(*question):
    """The first packet of a new neighbour may get lost while its address is looked for."""
    replies = (ask(*question) for _ in range(3))
    return next((reply for reply in replies if reply), None)


def test_a_container_gets_an_address_of_each_range(host, network, container):
    result = network.add(container)
    addresses = [ip["address"] for ip in result["ips"]]
    assert addresses == ["10.88.0.2/16", "2001:4860:4860::2/64"]
    assert sorted(container.addresses()) == sorted(addresses)
    (bridge,) = host.show("link", "show", "cni0")
    assert bridge["promiscuity"] >= 1


def test_containers_talk_over_both_families_with_their_own_addresses(network, host, servers):
    first, second = host.container(), host.container()
    network.add(first)
    network.add(second)
    servers.start(second, "second")
    assert ask_patiently(first, "10.88.0.3", 7000) == ("second", "10.88.0.2")
    assert ask_patiently(first, "2001:4860:4860::3", 7000) == ("second", "2001:4860:4860::2")


def test_what_leaves_the_host_is_masqueraded_in_both_families(network, container, machine, servers):
    network.add(container)
    servers.start(machine, "outside")
    assert ask_patiently(container, OUTSIDE4, 7000) == ("outside", HOST4)
    assert ask_patiently(container, OUTSIDE6, 7000) == ("outside", HOST6)


def test_a_published_port_answers_over_both_families(host, network, container, machine, servers):
    network.add(container, runtime={"portMappings": [PORT]})
    servers.start(container, "web", 80)
    assert ask_patiently(machine, HOST4, 8080) == ("web", OUTSIDE4)
    assert ask_patiently(machine, HOST6, 8080) == ("web", OUTSIDE6)
    for address in (HOST4, HOST6, "127.0.0.1"):
        assert ask_patiently(host, address, 8080).tag == "web"
    sibling = host.container()
    network.add(sibling)
    for address in ("10.88.0.1", "2001:4860:4860::1"):
        assert ask_patiently(sibling, address, 8080).tag == "web"
    network.delete(container)
    assert ask(machine, HOST4, 8080) is None
    assert ask(machine, HOST6, 8080) is None


@pytest.mark.parametrize(
    "vanished",
    [
        pytest.param(False, id="running"),
        pytest.param(
            True,
            id="vanished",
            marks=pytest.mark.ours("the reference's bridge leaves its masquerade rules"),
        ),
    ],
)
def test_nothing_is_left_after_the_last_container(host, network, container, vanished):
    network.add(container, runtime={"portMappings": [PORT]})
    if vanished:
        container.vanish()
    network.delete(container, CNI_NETNS="" if vanished else container.netns)
    assert host.ports("cni0") == []
    left = host.listdir("/var/lib/cni/networks/containerd-net")
    assert left <= {"lock", "last_reserved_ip.0", "last_reserved_ip.1"}
    rules = host.rules()
    assert "8080" not in rules
    assert "10.88.0.2" not in rules
    assert "2001:4860:4860::2" not in rules
