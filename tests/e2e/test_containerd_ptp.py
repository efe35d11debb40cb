"""containerd with the network that its template for cloud machines configures: ptp and portmap."""

import pytest

from tests.e2e.conftest import fetch, wait
from tests.e2e.image import PAGE
from tests.lab import packets
from tests.lab.waiting import until

pytestmark = pytest.mark.e2e

SERVE = ("httpd", "-f", "-p", "80", "-h", "/www")
PTP = {
    "type": "ptp",
    "mtu": 1460,
    "ipam": {"type": "host-local", "subnet": "10.64.1.0/24", "routes": [{"dst": "0.0.0.0/0"}]},
}
PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}, "noSnat": True}
LEASES = "/var/lib/cni/networks/k8s-pod-network"


@pytest.fixture
def network():
    return {"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [PTP, PORTMAP]}


def test_a_container_is_routed_by_the_host(containerd):
    shown = containerd.once("sh", "-c", "ip address show eth0; ip route")
    assert "inet 10.64.1.2/24" in shown
    assert "mtu 1460" in shown
    assert "default via 10.64.1.1" in shown
    assert "10.64.1.0/24 via 10.64.1.1" in shown


def test_containers_reach_one_another_and_the_world(containerd, outside):
    containerd.start("web", *SERVE)
    containerd.start("client", "sleep", "600")
    assert PAGE in containerd.execute("client", "wget", "-qO-", "http://10.64.1.2/")
    ping = ("ping", "-c1", "-W2", packets.OUTSIDE4)
    until(lambda: " 0% packet loss" in containerd.execute("web", *ping))
    assert fetch(containerd.host, "10.64.1.2") == PAGE
    assert fetch(outside, "10.64.1.2") == PAGE


def test_nothing_is_left_of_a_container(containerd):
    host = containerd.host
    before = host.links()
    containerd.start("web", *SERVE)
    assert len(host.links()) == len(before) + 1
    containerd.stop("web")
    wait(lambda: host.links() == before, "the end of the pair")  # with the namespace, later
    assert host.listdir(LEASES) <= {"lock", "last_reserved_ip.0"}
    assert host.listdir("/var/lib/cni/results") == set()
    assert "10.64.1.2" not in host.run("ip", "route")
