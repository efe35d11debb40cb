"""The kernel's verbs against a real kernel, in namespaces of their own."""

import os
import socket
import time
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from cnilib.errors import CniError, ConfigError, KernelError, NetnsError
from cnilib.kernel import addresses, conntrack, links, moving, routes, sysctl
from cnilib.kernel.netns import Namespace

pytestmark = pytest.mark.netns


@pytest.fixture
def veth(host, container):
    """A pair: veth0 in the host, eth0 in the container."""
    links.add_veth(host, "veth0", peer_namespace=container, peer_name="eth0", mtu=1400)
    return links.get_link(host, "veth0"), links.get_link(container, "eth0")


@pytest.fixture
def eth0(container, host, veth):
    """The container's end of a pair that is up on both sides."""
    links.set_up(host, "veth0")
    links.set_up(container, "eth0")
    return links.get_link(container, "eth0")


def test_a_veth_peer_is_born_in_the_other_namespace(veth):
    near, far = veth
    assert (near.kind, near.mtu, far.mtu) == ("veth", 1400, 1400)
    assert near.peer_index == far.index
    assert far.peer_index == near.index


def test_a_taken_name_is_an_error_that_names_it(host, container, veth):
    with pytest.raises(KernelError, match=f"add veth veth0 in {host.path}: file exists"):
        links.add_veth(host, "veth0", peer_namespace=container, peer_name="eth1")


def test_a_missing_link_is_none_or_an_error(host):
    assert links.find_link(host, "no") is None
    assert not links.remove_link(host, "no")
    with pytest.raises(KernelError, match="no such device"):
        links.get_link(host, "no")


def test_removing_one_end_takes_the_other_along(host, container, veth):
    assert links.remove_link(container, "eth0")
    assert links.find_link(host, "veth0") is None


def test_a_bridge_gets_its_ports_and_their_flags(host, veth):
    links.add_bridge(host, "br0", mtu=1400, mac="02:00:00:00:00:01")
    bridge = links.get_link(host, "br0")
    assert (bridge.kind, bridge.mac, bridge.mtu) == ("bridge", "02:00:00:00:00:01", 1400)
    links.set_master(host, "veth0", bridge.index)
    links.set_bridge_port(host, "veth0", hairpin=True, isolated=True)
    port = links.get_link(host, "veth0")
    assert (port.master, port.hairpin, port.isolated) == (bridge.index, True, True)
    links.set_bridge_port(host, "veth0", isolated=False)
    port = links.get_link(host, "veth0")
    assert (port.hairpin, port.isolated) == (True, False)
    assert [link.name for link in links.list_links(host, master=bridge.index)] == ["veth0"]


def test_settings_of_a_link_are_read_back(host, veth):
    links.set_mac(host, "veth0", "02:00:00:00:00:aa")
    links.set_mtu(host, "veth0", 1300)
    links.set_txqlen(host, "veth0", 555)
    links.set_alias(host, "veth0", "of a test")
    links.set_promisc(host, "veth0", on=True)
    links.set_allmulti(host, "veth0", on=True)
    link = links.get_link(host, "veth0")
    assert (link.mac, link.mtu, link.txqlen, link.alias) == (
        "02:00:00:00:00:aa",
        1300,
        555,
        "of a test",
    )
    assert link.promisc
    assert link.allmulti
    links.set_promisc(host, "veth0", on=False)
    assert not links.get_link(host, "veth0").promisc


def test_a_link_goes_up_and_down(host, eth0, container):
    assert eth0.up
    assert links.get_link(host, "veth0").operstate == "UP"
    links.set_down(container, "eth0")
    assert not links.get_link(container, "eth0").up


def test_the_kernels_own_words_are_the_details(host, veth):
    with pytest.raises(KernelError) as error:
        links.set_mtu(host, "veth0", 1)
    assert "mtu" in error.value.details


def test_renaming_and_moving_a_link(host, container, make_namespace, veth):
    links.rename_link(host, "veth0", "veth1")
    assert links.find_link(host, "veth0") is None
    with Namespace.open(make_namespace()) as other:
        moved = moving.move_link(host, links.get_link(host, "veth1"), other, "veth2")
        assert links.find_link(host, "veth1") is None
        assert (moved.name, moved.kind, moved.up) == ("veth2", "veth", False)


def test_addresses_of_both_families(container, eth0, ip):
    addresses.add_address(container, eth0.index, ip_interface("10.1.0.5/24"))
    addresses.add_address(container, eth0.index, ip_interface("fd00::5/64"), nodad=True)
    own = addresses.list_addresses(container, eth0.index)
    found = {str(a.interface) for a in own if a.scope == 0}
    assert found == {"10.1.0.5/24", "fd00::5/64"}
    assert "brd 10.1.0.255" in ip(container, "addr", "show", "eth0")
    assert addresses.remove_address(container, eth0.index, ip_interface("10.1.0.5/24"))
    assert not addresses.remove_address(container, eth0.index, ip_interface("10.1.0.5/24"))


def test_an_address_that_is_there_is_an_error(container, eth0):
    addresses.add_address(container, eth0.index, ip_interface("10.1.0.5/24"))
    with pytest.raises(KernelError, match=r"10\.1\.0\.5/24"):
        addresses.add_address(container, eth0.index, ip_interface("10.1.0.5/24"))


def test_waiting_for_duplicate_address_detection(container, eth0):
    addresses.add_address(container, eth0.index, ip_interface("fd00::5/64"))
    addresses.wait_for_addresses(container, eth0, time.monotonic() + 10)
    assert not any(a.tentative for a in addresses.list_addresses(container, eth0.index, 6))


def test_an_address_in_use_elsewhere_is_reported(host, container, eth0):
    near = links.get_link(host, "veth0")
    addresses.add_address(host, near.index, ip_interface("fd00::5/64"), nodad=True)
    addresses.add_address(container, eth0.index, ip_interface("fd00::5/64"))
    with pytest.raises(CniError, match="already in use"):
        addresses.wait_for_addresses(container, eth0, time.monotonic() + 10)


def test_a_link_without_carrier_is_not_waited_for(host, container, eth0):
    links.set_down(host, "veth0")
    addresses.add_address(container, eth0.index, ip_interface("fd00::5/64"))
    addresses.wait_for_addresses(container, eth0, time.monotonic() + 10)


def test_routes_with_metrics_and_tables(container, eth0):
    addresses.add_address(container, eth0.index, ip_interface("10.1.0.5/24"))
    routes.add_route(
        container,
        ip_network("0.0.0.0/0"),
        oif=eth0.index,
        gateway=ip_address("10.1.0.1"),
        mtu=1300,
        advmss=1200,
        priority=7,
    )
    routes.add_route(container, ip_network("10.9.0.0/16"), oif=eth0.index, table=1000)
    (default,) = [r for r in routes.list_routes(container, family=4) if r.dst.prefixlen == 0]
    assert (str(default.gateway), default.mtu, default.advmss, default.priority) == (
        "10.1.0.1",
        1300,
        1200,
        7,
    )
    (other,) = routes.list_routes(container, family=4, table=1000)
    assert (str(other.dst), other.scope) == ("10.9.0.0/16", 253)
    assert routes.list_routes(container, family=4, table=77) == []
    assert routes.find_route_to(container, ip_address("192.0.2.1")) == eth0.index
    assert routes.remove_route(container, ip_network("0.0.0.0/0"), oif=eth0.index)
    assert routes.find_route_to(container, ip_address("192.0.2.1")) is None


def test_ipv6_routes(container, eth0):
    addresses.add_address(container, eth0.index, ip_interface("fd00::5/64"), nodad=True)
    gateway = ip_address("fd00::1")
    routes.add_route(container, ip_network("::/0"), oif=eth0.index, gateway=gateway)
    entries = routes.list_routes(container, family=6)
    assert any(r.dst.prefixlen == 0 and r.gateway == gateway for r in entries)


def test_the_same_route_twice_is_an_error(container, eth0):
    addresses.add_address(container, eth0.index, ip_interface("10.1.0.5/24"))
    with pytest.raises(KernelError, match=r"10\.1\.0\.0/24"):
        for _ in range(2):
            routes.add_route(container, ip_network("10.1.0.0/24"), oif=eth0.index)


def test_a_gateway_off_the_subnet_says_so(container, eth0):
    gateway = ip_address("192.0.2.1")
    with pytest.raises(KernelError, match="not on a subnet"):
        routes.add_route(container, ip_network("0.0.0.0/0"), oif=eth0.index, gateway=gateway)


def test_sysctls_are_those_of_the_namespace(host, container):
    sysctl.ensure_sysctl(container, "net/ipv4/ip_forward", "1")
    assert sysctl.read_sysctl(container, "net/ipv4/ip_forward") == "1"
    assert sysctl.read_sysctl(host, "net/ipv4/ip_forward") == "0"
    assert sysctl.read_sysctl(host, "net/ipv4/conf/nope/forwarding") is None


@pytest.mark.parametrize("key", ["../etc/passwd", "net//x", "net/ipv4/../../x", "net/x\0", ""])
def test_a_sysctl_path_cannot_climb(host, key):
    with pytest.raises(ConfigError):
        sysctl.read_sysctl(host, key)


def test_a_refused_sysctl_value_names_key_and_value(host):
    with pytest.raises(KernelError, match="'x' to sysctl net/ipv4/ip_forward"):
        sysctl.write_sysctl(host, "net/ipv4/ip_forward", "x")


def test_a_namespace_that_is_missing_or_none(tmp_path):
    missing, plain = tmp_path / "missing", tmp_path / "plain"
    plain.touch()
    with pytest.raises(NetnsError, match="no such file or directory"):
        Namespace.open(str(missing))
    with pytest.raises(NetnsError, match="not a network namespace"):
        Namespace.open(str(plain))
    with pytest.raises(NetnsError, match="not a network namespace"):
        Namespace.open("/proc/self/ns/mnt")
    assert Namespace.find("") is None
    assert Namespace.find(str(missing)) is None


def test_the_thread_is_back_after_a_failure_inside(container):
    before = os.stat("/proc/thread-self/ns/net").st_ino
    with pytest.raises(ValueError, match="inside"), container.entered():
        assert os.stat("/proc/thread-self/ns/net").st_ino == container.inode
        raise ValueError("inside")
    assert os.stat("/proc/thread-self/ns/net").st_ino == before


def test_udp_flows_to_a_port_are_forgotten(host, container, eth0, ip):
    near = links.get_link(host, "veth0")
    addresses.add_address(host, near.index, ip_interface("10.1.0.1/24"))
    addresses.add_address(container, eth0.index, ip_interface("10.1.0.5/24"))
    import subprocess

    name = os.path.basename(container.path)
    rule = "add table ip t; add chain ip t c { type filter hook output priority 0; ct state new; }"
    subprocess.run(["ip", "netns", "exec", name, "nft", rule], check=True)
    with container.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(b"x", ("10.1.0.1", 5353))
        udp.sendto(b"x", ("10.1.0.1", 5454))
    wanted = {ip_address("10.1.0.1")}

    def match(flow):
        return flow.destination in wanted and flow.reply_source in wanted

    options = {"family": 4, "ports": {5353}, "match": match}
    assert conntrack.flush_flows(container, **options) == 1
    assert conntrack.flush_flows(container, **options) == 0
    assert conntrack.local_addresses(container, 4) >= {ip_address("10.1.0.5")}
