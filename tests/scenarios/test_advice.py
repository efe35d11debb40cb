"""What an operator reads when something is wrong: the act, the object, and what to do."""

import pytest

from tests.lab.network import Network

pytestmark = pytest.mark.ours("the reference's sentences are others")

BRIDGE = {"type": "bridge", "bridge": "cni-red", "isGateway": True}
POOL = {"type": "host-local", "subnet": "10.61.0.0/30"}
IPV6 = {"type": "host-local", "subnet": "fd61::/64"}


def network(host, *more, **keys):
    return Network(host, [BRIDGE | keys, *more], name="red")


def told(host, container, *more, **keys):
    """The error of a chain that fails."""
    answer = network(host, *more, **keys).try_add(container)
    assert not answer.ok
    assert container.links() == {"lo"}
    return answer.msg


def test_an_ipv6_gateway_on_a_host_that_has_ipv6_off(host, container):
    host.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
    assert "disable_ipv6" in told(host, container, ipam=IPV6)


def test_an_exhausted_pool(host, container):
    network(host, ipam=POOL).add(host.container())
    said = told(host, container, ipam=POOL)
    assert "no IP addresses available in range set: 10.61.0.1-10.61.0.2" in said
    assert "/var/lib/cni/networks/red holds 1 leases" in said


def test_a_multicast_mac(host, container):
    said = told(host, container, runtimeConfig={"mac": "01:00:5e:00:00:01"})
    assert "multicast" in said


def test_a_route_through_a_gateway_that_is_elsewhere(host, container):
    ipam = {
        "type": "static",
        "addresses": [{"address": "10.61.0.2/24"}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.9.9.9"}],
    }
    said = told(host, container, ipam=ipam)
    assert "0.0.0.0/0 via 10.9.9.9" in said
    assert "not on a subnet of the interface" in said


def test_a_missing_ipam_plugin(host, container):
    said = told(host, container, ipam={"type": "nowhere"})
    assert '"nowhere"' in said
    assert host.binaries in said


def test_conditions_that_nftables_does_not_know(host, container):
    portmap = {
        "type": "portmap",
        "backend": "nftables",
        "conditionsV4": ["ip", "nonsense"],
        "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]},
    }
    answer = network(host, portmap, ipam=POOL).try_add(container)
    assert answer.code == 7
    assert "'ip nonsense'" in answer.msg
    assert "conditionsV4" in answer.msg
