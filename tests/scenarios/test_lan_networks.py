"""macvlan and ipvlan networks as nerdctl and podman write them, with packets (runtimes.md 4, 5)."""

import json

import pytest

from tests.lab.links import kind_of, leases, link_of, plug_in

SUBNET, GATEWAY = "10.4.7.0/24", "10.4.7.1"
RANGES = [[{"gateway": GATEWAY, "subnet": SUBNET}]]
DEFAULT = [{"dst": "0.0.0.0/0"}]
NERDCTL_IPAM = {"ranges": RANGES, "routes": DEFAULT, "type": "host-local"}
PODMAN_IPAM = {"type": "host-local", "routes": DEFAULT, "ranges": RANGES}
MAC = "02:42:0a:04:07:63"


def nerdctl(driver, **keys):
    """The only plugin of the list, with what libcni adds; nerdctl writes an empty master."""
    plugin = {"cniVersion": "1.0.0", "name": "lan", "type": driver, "master": "", "mtu": 0}
    return plugin | {"ipam": NERDCTL_IPAM} | keys


def podman(driver, **keys):
    plugin = {"cniVersion": "0.4.0", "name": "lan", "type": driver, "master": "eth0"}
    return plugin | {"capabilities": {"ips": True}, "ipam": PODMAN_IPAM} | keys


NETWORKS = [
    pytest.param(made, marks=pytest.mark.kernel(made["type"]), id=name)
    for name, made in {
        "nerdctl macvlan": nerdctl("macvlan", mode="bridge"),
        "nerdctl macvlan without mode": nerdctl("macvlan"),
        "nerdctl ipvlan l2": nerdctl("ipvlan", mode="l2"),
        "nerdctl ipvlan l3": nerdctl("ipvlan", mode="l3"),
        "podman macvlan": podman("macvlan", mode="bridge", mtu=1400),
        "podman ipvlan": podman("ipvlan", mode="l3s"),
    }.items()
]


@pytest.fixture
def router(host):
    """The machine on the wire of the host's eth0: gateway of the network, and of the host."""
    machine = host.container("router")
    plug_in(host, "eth0", machine=machine, address="192.0.2.1/24")
    for address in (f"{GATEWAY}/24", "192.0.2.254/24", "203.0.113.1/32"):
        machine.run("ip", "address", "add", address, "dev", "eth0")
    host.run("ip", "route", "add", "default", "via", "192.0.2.254")
    return machine


def next_hop(router, made):
    """By which address the router finds the containers: in mode l3 the host answers for them."""
    if not made.get("mode", "").startswith("l3"):
        return None
    router.run("ip", "route", "add", "10.4.7.0/25", "via", "192.0.2.1")
    return "192.0.2.1"


@pytest.mark.parametrize("made", NETWORKS)
def test_a_network_of_a_runtime_works_from_create_to_remove(host, router, made):
    """The calls of ``nerdctl run``: DEL before any ADD, ADD, and DEL without a namespace."""
    next_hop(router, made)
    first, second = host.container(), host.container()
    arguments = "IgnoreUnknown=1;NERDCTL_CNI_DHCP_HOSTNAME=h"
    for container in (first, second):
        host.delete(made, container, CNI_NETNS="", CNI_ARGS=arguments)
        host.add(made, container, CNI_ARGS=arguments)
    assert first.addresses() == ["10.4.7.2/24"]
    assert link_of(first, "eth0")["mtu"] == (made.get("mtu") or 1500)
    assert first.pings("10.4.7.3")
    assert first.pings(GATEWAY)
    assert first.pings("203.0.113.1")
    assert router.pings("10.4.7.3")
    assert host.links() == {"lo", "eth0"}
    for container in (first, second):
        host.delete(made, container, CNI_NETNS="", CNI_ARGS="IgnoreUnknown=1")
    assert leases(host, "lan") == set()


@pytest.mark.parametrize("made", NETWORKS)
def test_a_fixed_address_and_mac_reach_the_link(host, container, router, made):
    """``--ip`` and ``--mac-address``; an ipvlan has its master's MAC and takes no other."""
    asked = next_hop(router, made) or "10.4.7.99"
    arguments = f"IgnoreUnknown=1;K8S_POD_NAME=c;IP=10.4.7.99;MAC={MAC}"
    result = host.add(made, container, CNI_ARGS=arguments).json
    assert container.addresses() == ["10.4.7.99/24"]
    own = MAC if made["type"] == "macvlan" else link_of(host, "eth0")["address"]
    assert result["interfaces"][0]["mac"] == own  # podman needs one in any case
    assert router.pings("10.4.7.99")
    (neighbour,) = json.loads(router.run("ip", "-j", "neighbour", "show", asked))
    assert neighbour["lladdr"] == own


@pytest.mark.ours("the reference's ipvlan looks up a link without a name")
@pytest.mark.parametrize("made", NETWORKS)
def test_check_agrees_with_what_add_made(host, container, router, made):
    result = host.add(made, container).json
    assert host.cni("CHECK", made | {"prevResult": result}, container).ok


@pytest.mark.kernel("macvlan")
def test_an_address_of_each_family_for_a_dual_stack_network(host, container, router):
    """``--ipv6``: a second range set, the capability ``ips``, an IPv4 default route only."""
    ranges = [*RANGES, [{"subnet": "fd00:7::/64"}]]
    made = nerdctl("macvlan", mode="bridge", ipam=NERDCTL_IPAM | {"ranges": ranges})
    made |= {"capabilities": {"ips": True}, "runtimeConfig": {"ips": ["fd00:7::5"]}}
    router.run("ip", "address", "add", "fd00:7::1/64", "dev", "eth0", "nodad")
    host.add(made, container)
    assert container.addresses() == ["10.4.7.2/24", "fd00:7::5/64"]
    assert container.pings("fd00:7::1")


@pytest.mark.ours("the reference's DEL looks for the master")
@pytest.mark.kernel("macvlan")
def test_a_replaced_master_needs_a_new_attachment_only(host, container, router):
    """The card goes, with it the link; DEL and ADD on the new one work."""
    made = nerdctl("macvlan", master="eth0")
    host.add(made, container)
    host.run("ip", "link", "del", "eth0")
    host.delete(made, container, CNI_NETNS="")
    plug_in(host, "eth0")
    host.add(made, container)
    assert kind_of(container, "eth0")[0] == "macvlan"
