"""podman with its CNI backend: published ports, several networks, reload."""

import pytest

from tests.e2e.conftest import fetch
from tests.e2e.image import PAGE
from tests.lab import packets

pytestmark = pytest.mark.e2e


def test_a_container_of_the_default_network_has_an_address(podman):
    podman.start("web")
    assert "inet 10.88.0.2/16" in podman.execute("web", "ip", "address", "show", "eth0")


def test_a_published_tcp_port_reaches_the_container(podman, outside):
    podman.start("web", "-p", "18080:80")
    for place in (outside, podman.host):
        assert fetch(place, packets.HOST4, 18080) == PAGE
    assert fetch(podman.host, "127.0.0.1", 18080) == PAGE


def test_a_published_udp_port_reaches_the_container(podman, outside, servers):
    podman.start("echo", "-p", "18053:53/udp")
    servers.start(podman.inside("echo"), "echo", 53)
    reply = packets.ask(outside, packets.HOST4, 18053, "udp")
    assert reply == ("echo", packets.OUTSIDE4)


def test_a_container_reaches_the_world_behind_the_host(podman, outside):
    podman.start("web")
    assert "bytes from" in podman.execute("web", "ping", "-c3", "-W2", packets.OUTSIDE4)


def test_a_container_is_on_two_networks(podman):
    for number in (1, 2):
        podman.run("network", "create", "--subnet", f"10.90.{number}.0/24", f"n{number}")
    podman.start("both", "--network", "n1,n2")
    podman.start("second", "--network", "n2")
    shown = podman.execute("both", "ip", "address")
    assert "inet 10.90.1.2/24" in shown
    assert "inet 10.90.2.2/24" in shown
    assert PAGE in podman.execute("second", "wget", "-qO-", "http://10.90.2.2/")


def test_a_reload_keeps_address_and_port(podman, outside):
    podman.start("web", "-p", "18080:80")
    podman.host.run("nft", "flush", "ruleset")
    podman.run("network", "reload", "web")
    assert "inet 10.88.0.2/16" in podman.execute("web", "ip", "address", "show", "eth0")
    assert fetch(outside, packets.HOST4, 18080) == PAGE


def test_nothing_is_left_of_a_container_and_its_port_is_free(podman, outside):
    host = podman.host
    podman.start("web", "-p", "18080:80")
    podman.remove("web")
    assert host.ports("cni-podman0") == []
    assert host.listdir("/var/lib/cni/networks/podman") <= {"lock", "last_reserved_ip.0"}
    assert "10.88.0.2" not in host.rules()
    assert "18080" not in host.rules()
    podman.start("again", "-p", "18080:80")
    assert fetch(outside, packets.HOST4, 18080) == PAGE
