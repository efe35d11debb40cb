"""ipvlan: the acceptance examples of its page, and what it promises beyond the reference."""

import pytest

from tests.lab.links import default_route, kind_of, leases, link_of, plug_in, sysctl

pytestmark = pytest.mark.kernel("ipvlan")
newer = pytest.mark.ours("Debian's release of the reference is older than this key")

IPAM = {"type": "host-local", "subnet": "10.31.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}


def conf(**keys):
    base = {"cniVersion": "1.0.0", "name": "i", "type": "ipvlan", "master": "eno1", "ipam": IPAM}
    return base | keys


def previous(*interfaces, **more):
    ips = [{"address": "10.31.9.7/24", "gateway": "10.31.9.1"}]
    result = {"cniVersion": "1.0.0", "ips": ips, "routes": [{"dst": "0.0.0.0/0"}]}
    return result | {"interfaces": [{"name": name} for name in interfaces]} | more


@pytest.fixture(autouse=True)
def eno1(host):
    return plug_in(host, address="192.0.2.1/24")


def test_a_container_has_a_link_with_the_master_s_mac(host, container, eno1):
    result = host.add(conf(), container).json
    kind, info = kind_of(container, "eth0")
    assert (kind, info["mode"]) == ("ipvlan", "l2")
    made = link_of(container, "eth0")
    assert (made["link_index"], made["address"]) == (eno1["ifindex"], eno1["address"])
    assert container.addresses() == ["10.31.0.2/24"]
    assert default_route(container) == ("10.31.0.1", "eth0")
    assert sysctl(container, "ipv4/conf/eth0/arp_notify") == "1"
    (interface,) = result["interfaces"]
    assert interface == {"name": "eth0", "mac": made["address"], "sandbox": container.netns}
    assert result["ips"][0]["interface"] == 0


@pytest.mark.parametrize("mode", ["l3", "l3s", ""])
def test_it_has_the_mode_that_is_asked_for(host, container, mode):
    host.add(conf(mode=mode), container)
    assert kind_of(container, "eth0")[1]["mode"] == (mode or "l2")


@pytest.mark.ours("the reference has no flag (plugins#1032)")
def test_it_has_the_flag_that_is_asked_for(host, container):
    given = conf(flag="private")
    result = host.add(given, container).json
    assert kind_of(container, "eth0")[1]["private"]
    assert host.cni("CHECK", given | {"prevResult": result}, container).ok
    host.refused(conf(flag="vepa", prevResult=result), container, command="CHECK")


@pytest.mark.parametrize(
    "keys",
    [
        {"mode": "bridge"},
        {"mode": "L2"},
        {"master": "eno9"},
        {"mtu": "x"},
        {"ipam": None},
        {"ipam": None, "prevResult": previous("eno1", ips=[])},
        {"prevResult": 7},
        pytest.param({"flag": "x"}, marks=pytest.mark.ours("the reference has no flag")),
        pytest.param({"mtu": -1}, marks=pytest.mark.ours("the reference checks no MTU")),
        pytest.param({"mtu": 1501}, marks=pytest.mark.ours("the reference checks no MTU")),
    ],
    ids=str,
)
def test_what_is_invalid_makes_nothing(host, container, keys):
    host.refused(conf(**keys), container)
    assert leases(host, "i") == set()


@pytest.mark.ours("the reference asks for addresses after it has made the link")
def test_without_any_addresses_no_link_is_made(host, container):
    host.refused(conf(ipam=None), container)
    assert container.links() == {"lo"}


def test_its_mtu_is_the_one_asked_for(host, container):
    host.add(conf(mtu=1400), container)
    assert link_of(container, "eth0")["mtu"] == 1400


def test_the_default_route_tells_the_master(host, container, eno1):
    host.refused(conf(master=""), container)
    host.run("ip", "route", "add", "default", "via", "192.0.2.9")
    host.add(conf(master=""), host.container())


def test_in_a_chain_master_and_addresses_are_those_of_the_plugin_before(host, container, eno1):
    given = conf(master=None, ipam=None, prevResult=previous("eno1"))
    result = host.add(given, container).json
    assert container.addresses() == ["10.31.9.7/24"]
    assert default_route(container) == ("10.31.9.1", "eth0")
    assert [interface["name"] for interface in result["interfaces"]] == ["eth0"]
    assert result["ips"][0]["interface"] == 0
    assert link_of(container, "eth0")["link_index"] == eno1["ifindex"]


def test_in_a_chain_with_several_interfaces_a_master_is_needed(host, container):
    given = conf(master=None, ipam=None, prevResult=previous("eno1", "other"))
    host.refused(given, container)
    assert container.links() == {"lo"}
    host.add(given | {"master": "eno1"}, container)


@pytest.mark.ours("the reference wants one interface in all (plugins#901)")
def test_after_a_plugin_with_a_container_interface_the_host_s_is_the_master(host, container, eno1):
    interfaces = [{"name": "eth9", "sandbox": container.netns}, {"name": "eno1"}]
    host.add(conf(master=None, prevResult=previous(interfaces=interfaces)), container)
    assert link_of(container, "eth0")["link_index"] == eno1["ifindex"]


def test_ipam_is_stronger_than_the_addresses_of_the_plugin_before(host, container):
    host.add(conf(prevResult=previous("eno1")), container)
    assert container.addresses() == ["10.31.0.2/24"]


def test_containers_of_one_master_reach_each_other(host):
    first, second = host.container(), host.container()
    host.add(conf(), first)
    host.add(conf(), second)
    assert first.pings("10.31.0.3")


@pytest.mark.ours("the reference has no flag")
def test_private_containers_do_not_reach_each_other(host):
    first, second = host.container(), host.container()
    host.add(conf(flag="private"), first)
    host.add(conf(flag="private"), second)
    assert not first.pings("10.31.0.3")


@pytest.mark.ours("the reference has the kernel switch the links that are there")
@pytest.mark.parametrize("keys", [{"mode": "l3"}, {"flag": "private"}])
def test_another_mode_than_the_one_in_use_is_refused(host, container, keys):
    first = host.container()
    host.add(conf(), first)
    answer = host.refused(conf(**keys), container)
    assert "mode l2, flag bridge is in use" in answer.msg
    assert kind_of(first, "eth0")[1]["mode"] == "l2"
    assert container.links() == {"lo"}
    host.delete(conf(), first)
    host.add(conf(**keys), container)


@pytest.mark.ours("the reference has the kernel switch the links that are there")
def test_another_master_of_the_same_index_elsewhere_is_no_obstacle(host, container, eno1):
    other = host.container()
    index = str(eno1["ifindex"])
    other.run("ip", "link", "add", "x0", "index", index, "type", "veth", "peer", "name", "x1")
    other.run("ip", "link", "add", "link", "x0", "name", "i0", "type", "ipvlan", "mode", "l3s")
    host.add(conf(), container)


@pytest.mark.ours("the reference resolves the master on DEL, and not on CHECK")
def test_check_and_del_need_no_default_route_where_add_took_one(host, container):
    host.run("ip", "route", "add", "default", "via", "192.0.2.9")
    given = conf(master="")
    result = host.add(given, container).json
    assert host.cni("CHECK", given | {"prevResult": result}, container).ok
    host.run("ip", "route", "del", "default")
    assert host.cni("CHECK", given | {"prevResult": result}, container).ok
    host.delete(given, container)
    assert container.links() == {"lo"}


def test_check_holds_the_link_against_configuration_and_result(host, container):
    result = host.add(conf(), container).json
    good = conf(prevResult=result)
    assert host.cni("CHECK", good, container).ok
    host.refused(good | {"mode": "l3"}, container, command="CHECK")
    host.refused(good | {"master": "eno9"}, container, command="CHECK")
    container.run("ip", "address", "flush", "dev", "eth0")
    host.refused(good, container, command="CHECK")


@pytest.mark.ours("the reference compares neither")
def test_check_finds_another_master_and_another_mtu(host, container):
    plug_in(host, "eno2")
    result = host.add(conf(mtu=1300), container).json
    good = conf(mtu=1300, prevResult=result)
    assert host.cni("CHECK", good, container).ok
    host.refused(good | {"master": "eno2"}, container, command="CHECK")
    container.run("ip", "link", "set", "eth0", "mtu", "1200")
    host.refused(good, container, command="CHECK")


def test_del_needs_no_master(host, container):
    host.add(conf(), container)
    host.run("ip", "link", "del", "eno1")
    host.delete(conf(), container)
    assert leases(host, "i") == set()


@newer
def test_the_master_may_be_in_the_container(host, container):
    container.run("ip", "link", "add", "net0", "type", "veth", "peer", "name", "net1")
    container.run("ip", "link", "set", "net0", "up")
    given = conf(master="net0", linkInContainer=True)
    result = host.add(given, container).json
    assert link_of(container, "eth0")["link"] == "net0"
    assert host.cni("CHECK", given | {"prevResult": result}, container).ok
    host.delete(given, container)
    assert container.links() == {"lo", "net0", "net1"}
