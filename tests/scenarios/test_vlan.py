"""vlan: the acceptance examples of its page, and what it promises beyond the reference."""

import pytest

from tests.lab.links import default_route, kind_of, leases, link_of, plug_in, sysctl

pytestmark = pytest.mark.kernel("vlan")
newer = pytest.mark.ours("Debian's release of the reference is older than this key")

IPAM = {"type": "host-local", "subnet": "10.32.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}


def conf(**keys):
    base = {"cniVersion": "1.0.0", "name": "v", "type": "vlan", "master": "eno1", "vlanId": 120}
    return base | {"ipam": IPAM} | keys


@pytest.fixture
def machine(host):
    """A machine on the other end of the wire."""
    return host.container("machine")


@pytest.fixture(autouse=True)
def eno1(host, machine):
    return plug_in(host, machine=machine)


def test_a_container_has_one_vlan_of_the_master(host, container, eno1):
    result = host.add(conf(), container, ifname="net1").json
    kind, info = kind_of(container, "net1")
    assert (kind, info["id"], info["protocol"]) == ("vlan", 120, "802.1Q")
    made = link_of(container, "net1")
    assert (made["link_index"], made["address"]) == (eno1["ifindex"], eno1["address"])
    assert (made["mtu"], "UP" in made["flags"]) == (1500, True)
    assert container.addresses("net1") == ["10.32.0.2/24"]
    assert default_route(container) == ("10.32.0.1", "net1")
    (interface,) = result["interfaces"]
    assert interface == {"name": "net1", "mac": made["address"], "sandbox": container.netns}
    assert result["ips"][0]["interface"] == 0


def test_it_hears_its_own_vlan_only(host, container, machine):
    host.add(conf(), container)
    for vlan, heard in ((121, False), (120, True)):
        words = ("type", "vlan", "id", str(vlan))
        machine.run("ip", "link", "add", "link", "eno1", "name", "lan", *words)
        machine.run("ip", "link", "set", "lan", "up")
        machine.run("ip", "address", "add", "10.32.0.1/24", "dev", "lan")
        assert container.pings("10.32.0.1") == heard
        machine.run("ip", "link", "del", "lan")


@pytest.mark.parametrize("vlan", [0, 4094])
def test_the_first_and_the_last_vlan_work(host, container, vlan):
    host.add(conf(vlanId=vlan), container)
    assert kind_of(container, "eth0")[1]["id"] == vlan


@pytest.mark.parametrize(
    "keys",
    [
        {"vlanId": 4095},
        {"vlanId": -1},
        {"vlanId": "120"},
        {"master": None},
        {"master": "eno9"},
        {"mtu": 1501},
        {"mtu": -1},
        pytest.param({"vlanProto": "802.1x"}, marks=pytest.mark.ours("the reference has no key")),
        pytest.param({"mac": "x"}, marks=pytest.mark.ours("the reference has no mac")),
        pytest.param({"master": None, "linkInContainer": True}, marks=newer),
    ],
    ids=str,
)
def test_what_is_invalid_makes_nothing(host, container, keys):
    host.refused(conf(**keys), container)
    assert container.links() == {"lo"}
    assert leases(host, "v") == set()


def test_its_mtu_is_the_one_asked_for(host, container):
    host.add(conf(mtu=1400), container)
    assert link_of(container, "eth0")["mtu"] == 1400


def test_a_vlan_is_for_one_container_until_del(host, machine):
    first, second = host.container(), host.container()
    host.add(conf(), first)
    host.refused(conf(), second)
    assert second.links() == {"lo"}
    assert leases(host, "v") == {"10.32.0.2"}
    plug_in(host, "eno2")
    host.add(conf(master="eno2"), second)
    third = host.container()
    host.delete(conf(), first)
    host.add(conf(), third)


@pytest.mark.ours('the reference says "file exists" (plugins#243)')
def test_a_vlan_that_is_taken_is_named_with_where_it_is(host):
    first, second = host.container(), host.container()
    host.add(conf(), first, ifname="lan7")
    answer = host.refused(conf(), second)
    assert "vlan 120 on eno1" in answer.msg
    assert f"lan7 in {first.netns}" in answer.msg


@pytest.mark.ours("the reference always asks an IPAM plugin")
@pytest.mark.parametrize("ipam", [None, {}, {"type": ""}], ids=["absent", "empty", "no type"])
def test_without_ipam_it_is_a_layer_2_link(host, container, ipam):
    given = conf(ipam=ipam, cniVersion="1.1.0")
    result = host.add(given, container).json
    assert "UP" in link_of(container, "eth0")["flags"]
    assert container.addresses() == []
    assert set(result) == {"cniVersion", "interfaces"}
    assert host.cni("CHECK", given | {"prevResult": result}, container).ok
    assert host.cni("STATUS", given).ok
    host.delete(given, container)
    assert container.links() == {"lo"}


@pytest.mark.ours("the reference has no such key")
def test_the_outer_tag_of_two_is_a_protocol_of_its_own(host, container):
    given = conf(vlanProto="802.1ad")
    result = host.add(given, container).json
    assert kind_of(container, "eth0")[1]["protocol"] == "802.1ad"
    assert host.cni("CHECK", given | {"prevResult": result}, container).ok
    host.refused(conf(prevResult=result), container, command="CHECK")


@pytest.mark.ours("the reference announces nothing")
def test_its_addresses_are_announced(host, container):
    host.add(conf(), container)
    assert sysctl(container, "ipv4/conf/eth0/arp_notify") == "1"


@pytest.mark.ours("the reference has no mac (plugins#407)")
def test_the_strongest_mac_wins_and_other_arguments_are_no_business_of_ours(host, container):
    given = conf(mac="02:00:00:00:00:0a", ipam=None)
    host.add(given, container, CNI_ARGS="MAC=02:00:00:00:00:0b;K8S_POD_NAME=x")
    assert link_of(container, "eth0")["address"] == "02:00:00:00:00:0b"


@newer
def test_the_master_may_be_in_the_container(host, container):
    container.run("ip", "link", "add", "net0", "type", "veth", "peer", "name", "net1")
    container.run("ip", "link", "set", "net0", "up")
    given = conf(master="net0", linkInContainer=True)
    result = host.add(given, container, ifname="net0.120").json
    assert link_of(container, "net0.120")["link"] == "net0"
    checked = host.cni("CHECK", given | {"prevResult": result}, container, ifname="net0.120")
    assert checked.ok, checked


@pytest.mark.ours("the reference does not look at prevResult (plugins#989)")
def test_in_a_chain_the_container_s_interface_is_the_master(host, container):
    container.run("ip", "link", "add", "net0", "type", "veth", "peer", "name", "net1")
    container.run("ip", "link", "set", "net0", "up")
    interfaces = [{"name": "eno1"}, {"name": "net0", "sandbox": container.netns}]
    previous = {"cniVersion": "1.0.0", "interfaces": interfaces}
    given = conf(master=None, linkInContainer=True)
    result = host.add(given | {"prevResult": previous}, container).json
    assert link_of(container, "eth0")["link"] == "net0"
    assert host.cni("CHECK", given | {"prevResult": result}, container).ok


def test_a_master_that_is_down_is_an_error_that_leaves_no_lease(host, container):
    plug_in(host, "eno2", up=False)
    answer = host.refused(conf(master="eno2"), container)
    assert "network is down" in answer.msg
    assert leases(host, "v") == set()


def test_check_holds_the_link_against_configuration_and_result(host, container):
    result = host.add(conf(), container).json
    good = conf(prevResult=result)
    assert host.cni("CHECK", good, container).ok
    for keys in ({"vlanId": 121}, {"mtu": 1400}, {"master": "eno9"}):
        host.refused(good | keys, container, command="CHECK")
    host.run("ip", "link", "del", "eno1")
    host.refused(good, container, command="CHECK")


@pytest.mark.ours("the reference does not compare the master")
def test_check_finds_another_master(host, container):
    plug_in(host, "eno2")
    result = host.add(conf(), container).json
    answer = host.refused(conf(master="eno2", prevResult=result), container, command="CHECK")
    assert "eno2" in answer.msg


@pytest.mark.ours("the reference holds DEL's configuration against the host")
@pytest.mark.parametrize("keys", [{}, {"vlanId": 9999}, {"mtu": 99999}, {"master": None}], ids=str)
def test_del_needs_no_master_and_no_valid_values(host, container, keys):
    host.add(conf(), container)
    host.run("ip", "link", "del", "eno1")
    host.delete(conf(**keys), container)
    assert leases(host, "v") == set()
