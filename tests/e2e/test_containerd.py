"""containerd with `ctr run --cni`: nerdctl's default network under a real runtime."""

import pytest

from tests.e2e.conftest import fetch
from tests.e2e.image import PAGE
from tests.lab import packets
from tests.lab.waiting import until

pytestmark = pytest.mark.e2e

SERVE = ("httpd", "-f", "-p", "80", "-h", "/www")


def test_a_container_has_an_address_and_a_default_route(containerd):
    shown = containerd.once("sh", "-c", "ip address show eth0; ip route")
    assert "inet 10.4.0.2/24" in shown
    assert "default via 10.4.0.1" in shown


def test_a_container_is_served_and_serves(containerd, outside):
    containerd.start("web", *SERVE)
    assert fetch(containerd.host, "10.4.0.2") == PAGE
    for address in ("10.4.0.1", packets.OUTSIDE4):
        ping = ("ping", "-c1", "-W2", address)
        until(lambda ping=ping: " 0% packet loss" in containerd.execute("web", *ping))


def test_containers_reach_one_another(containerd):
    containerd.start("web", *SERVE)
    containerd.start("client", "sleep", "600")
    assert PAGE in containerd.execute("client", "wget", "-qO-", "http://10.4.0.2/")


def test_nothing_is_left_of_a_container(containerd):
    host = containerd.host
    containerd.start("web", *SERVE)
    assert host.ports("nerdctl0") != []
    containerd.stop("web")
    assert host.ports("nerdctl0") == []
    assert host.listdir("/var/lib/cni/networks/bridge") <= {"lock", "last_reserved_ip.0"}
    assert host.listdir("/var/lib/cni/results") == set()
    assert "10.4.0.2" not in host.rules()
