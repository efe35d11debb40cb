"""containerd on a node of a flannel cluster, with limits: flannel, portmap, bandwidth."""

import pytest

from tests.e2e import image as busybox_image
from tests.e2e.conftest import fetch, wait
from tests.e2e.image import PAGE
from tests.lab.flannel import SUBNET_FILE

pytestmark = pytest.mark.e2e

SERVE = ("httpd", "-f", "-p", "80", "-h", "/www")
STATE = "/var/lib/cni/flannel"
SUBNET = """\
FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.3.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
"""


@pytest.fixture
def network():
    plugins = [
        {"type": "flannel", "delegate": {"isDefaultGateway": True}},
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "bandwidth", "egressRate": 80_000_000, "egressBurst": 8_000_000},
    ]
    return {"name": "flannel", "cniVersion": "0.3.1", "plugins": plugins}


@pytest.fixture
def node(containerd):
    """A node that has a lease."""
    containerd.host.write(SUBNET_FILE, SUBNET)
    return containerd


def queues(host):
    return host.show("link", "show", "type", "ifb")


def test_containers_have_addresses_of_the_nodes_subnet(node):
    node.start("web", *SERVE)
    node.start("client", "sleep", "600")
    shown = node.execute("client", "sh", "-c", "ip address show eth0; ip route")
    assert "inet 10.244.3.3/24" in shown
    assert "mtu 1450" in shown
    assert "10.244.0.0/16 via 10.244.3.1" in shown
    assert PAGE in node.execute("client", "wget", "-qO-", "http://10.244.3.2/")
    assert fetch(node.host, "10.244.3.2") == PAGE
    assert len(queues(node.host)) == 2


def test_nothing_is_left_of_a_container(node):
    node.start("web", *SERVE)
    assert len(node.host.listdir(STATE)) == 1
    node.stop("web")
    wait(lambda: node.host.ports("cni0") == [], "the end of the pair")
    assert queues(node.host) == []
    assert node.host.listdir(STATE) == set()
    assert node.host.listdir("/var/lib/cni/networks/flannel") <= {"lock", "last_reserved_ip.0"}


def test_before_flanneld_has_a_lease_the_runtime_is_told_so(containerd):
    words = ("run", "--snapshotter", "native", "--rm", "--cni")
    done = containerd.try_run(*words, busybox_image.NAME, "early", "sleep", "1")
    assert done.returncode != 0
    assert f"open {SUBNET_FILE}: no such file or directory" in done.stderr
