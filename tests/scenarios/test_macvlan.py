"""macvlan: the acceptance examples of its page, and what it promises beyond the reference."""

import pytest

from tests.lab.links import default_route, kind_of, leases, link_of, plug_in, sysctl

pytestmark = pytest.mark.kernel("macvlan")
newer = pytest.mark.ours("Debian's release of the reference is older than this key")

IPAM = {"type": "host-local", "subnet": "10.30.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}


def conf(**keys):
    base = {"cniVersion": "1.0.0", "name": "m", "type": "macvlan", "master": "eno1", "ipam": IPAM}
    return base | keys


@pytest.fixture(autouse=True)
def eno1(host):
    return plug_in(host)


def test_a_container_has_a_link_of_its_own_on_the_master(host, container, eno1):
    result = host.add(conf(), container).json
    kind, info = kind_of(container, "eth0")
    assert (kind, info["mode"]) == ("macvlan", "bridge")
    made = link_of(container, "eth0")
    assert made["link_index"] == eno1["ifindex"]
    assert "UP" in made["flags"]
    assert container.addresses() == ["10.30.0.2/24"]
    assert default_route(container) == ("10.30.0.1", "eth0")
    assert sysctl(container, "ipv4/conf/eth0/arp_notify") == "1"
    (interface,) = result["interfaces"]
    assert interface == {"name": "eth0", "mac": made["address"], "sandbox": container.netns}
    assert result["ips"][0]["interface"] == 0
    assert made["address"] != eno1["address"]


@pytest.mark.parametrize("ipam", [None, {}, {"type": ""}], ids=["absent", "empty", "no type"])
def test_without_ipam_it_is_a_layer_2_link(host, container, ipam):
    result = host.add(conf(ipam=ipam), container).json
    assert "UP" in link_of(container, "eth0")["flags"]
    assert container.addresses() == []
    assert set(result) - {"dns"} == {"cniVersion", "interfaces"}
    assert sysctl(container, "ipv4/conf/eth0/arp_notify") == "0"


@pytest.mark.parametrize("mode", ["private", "vepa", "passthru", "bridge", ""])
def test_it_has_the_mode_that_is_asked_for(host, container, mode):
    host.add(conf(mode=mode), container)
    assert kind_of(container, "eth0")[1]["mode"] == (mode or "bridge")


@pytest.mark.parametrize(
    "keys",
    [
        {"mode": "Bridge"},
        {"mode": "source"},
        {"mtu": 1501},
        {"mtu": -1},
        {"mtu": 1},
        {"master": "eno9"},
        {"mac": "nonsense"},
        {"mac": "01:00:5e:00:00:01"},
        pytest.param({"bcqueuelen": -1}, marks=newer),
        pytest.param({"linkInContainer": True}, marks=newer),
    ],
    ids=str,
)
def test_what_is_invalid_makes_nothing(host, container, keys):
    host.refused(conf(**keys), container)
    assert container.links() == {"lo"}
    assert leases(host, "m") == set()


def test_its_mtu_is_the_one_asked_for_or_the_master_s(host):
    host.run("ip", "link", "set", "eno1", "mtu", "1400")
    for keys, mtu in (({}, 1400), ({"mtu": 1300}, 1300)):
        container = host.container()
        host.add(conf(**keys), container)
        assert link_of(container, "eth0")["mtu"] == mtu


def test_the_strongest_mac_wins(host):
    args = "IgnoreUnknown=1;MAC=02:00:00:00:00:0b;K8S_POD_NAME=x"
    strongest = {"runtimeConfig": {"mac": "0200.0000.000C"}}
    for number, (keys, more) in {
        "0a": ({}, {}),
        "0b": ({}, {"CNI_ARGS": args}),
        "0c": (strongest, {"CNI_ARGS": args}),
    }.items():
        container = host.container()
        given = conf(mac="02-00-00-00-00-0A") | keys
        result = host.add(given, container, **more).json
        assert result["interfaces"][0]["mac"] == f"02:00:00:00:00:{number}"
        assert link_of(container, "eth0")["address"] == f"02:00:00:00:00:{number}"


@pytest.mark.parametrize("args", ["MAC=02:00:00:00:00:0b;FOO=1", "MAC=02:00:00:00:00:0b;", "MAC"])
def test_malformed_or_unknown_arguments_are_refused(host, container, args):
    host.refused(conf(ipam=None), container, CNI_ARGS=args)
    assert container.links() == {"lo"}


@pytest.mark.ours("the kernel's random MAC may be replaced by udev's (plugins#250)")
def test_a_mac_nobody_asked_for_is_random_and_local(host):
    macs = set()
    for container in (host.container(), host.container()):
        host.add(conf(), container)
        macs.add(link_of(container, "eth0")["address"])
        made = container.run("cat", "/sys/class/net/eth0/addr_assign_type").strip()
        assert made == "3"  # set by user space, which udev leaves alone
    assert len(macs) == 2
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)


@newer
def test_the_broadcast_queue_has_the_length_asked_for(host, container):
    host.add(conf(bcqueuelen=77), container)
    assert kind_of(container, "eth0")[1]["bcqueuelen"] == 77


def test_the_master_is_the_default_route_s_link_with_the_lowest_metric(host, container):
    second = plug_in(host, "eno2", address="192.0.2.1/24")
    host.run("ip", "address", "add", "198.51.100.1/24", "dev", "eno1")
    host.run("ip", "route", "add", "default", "via", "198.51.100.9", "metric", "50")
    host.run("ip", "route", "add", "default", "via", "192.0.2.9", "metric", "10")
    host.add(conf(master=""), container)
    assert link_of(container, "eth0")["link_index"] == second["ifindex"]


def test_without_a_default_route_a_master_is_needed(host, container):
    answer = host.refused(conf(master=None), container)
    assert "default route" in answer.msg
    assert container.links() == {"lo"}


@pytest.mark.ours("the reference takes such a route for the master's, and fails")
def test_a_default_route_that_leads_nowhere_is_passed_over(host, container, eno1):
    host.run("ip", "route", "add", "unreachable", "default", "metric", "1")
    host.run("ip", "-6", "address", "add", "2001:db8::1/64", "dev", "eno1", "nodad")
    host.run("ip", "-6", "route", "add", "default", "via", "2001:db8::9")
    host.add(conf(master=""), container)
    assert link_of(container, "eth0")["link_index"] == eno1["ifindex"]


@pytest.mark.ours("the reference finds no link in a multipath route")
def test_of_a_multipath_default_route_the_first_hop_counts(host, container):
    second = plug_in(host, "eno2", address="192.0.2.1/24")
    host.run("ip", "address", "add", "198.51.100.1/24", "dev", "eno1")
    hops = ("nexthop", "via", "192.0.2.9", "nexthop", "via", "198.51.100.9")
    host.run("ip", "route", "add", "default", *hops)
    host.add(conf(master=""), container)
    assert link_of(container, "eth0")["link_index"] == second["ifindex"]


@pytest.mark.ours("the reference does not look at prevResult")
def test_in_a_chain_the_link_before_it_is_the_master(host, container):
    second = plug_in(host, "eno2")
    previous = {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "eno2"}, {"name": "eth9", "sandbox": container.netns}],
    }
    host.add(conf(master="", prevResult=previous), container)
    assert link_of(container, "eth0")["link_index"] == second["ifindex"]


@pytest.mark.ours("Debian's release of the reference is older than altnames")
@pytest.mark.parametrize("name", ["lan", "the-card-in-the-first-slot"])
def test_an_altname_names_the_master(host, container, eno1, name):
    host.run("ip", "link", "property", "add", "dev", "eno1", "altname", name)
    host.add(conf(master=name), container)
    assert link_of(container, "eth0")["link_index"] == eno1["ifindex"]


@newer
def test_the_master_may_be_in_the_container(host, container):
    container.run("ip", "link", "add", "net0", "type", "veth", "peer", "name", "net1")
    container.run("ip", "link", "set", "net0", "up")
    before = host.links()
    given = conf(master="net0", linkInContainer=True)
    result = host.add(given, container).json
    assert link_of(container, "eth0")["link"] == "net0"
    assert host.links() == before
    assert host.cni("CHECK", given | {"prevResult": result}, container).ok
    host.delete(given, container)
    assert container.links() == {"lo", "net0", "net1"}


@pytest.mark.ours("the reference does not say where it has looked, or panics (plugins#830)")
@pytest.mark.parametrize("inside", [False, True])
def test_a_missing_master_is_named_with_the_place(host, container, inside):
    answer = host.refused(conf(master="eno9", linkInContainer=inside), container)
    assert '"eno9"' in answer.msg
    assert (container.netns if inside else "the host") in answer.msg


def test_a_master_that_is_down_is_accepted(host, container):
    plug_in(host, "eno2", up=False)
    host.add(conf(master="eno2"), container)
    assert "NO-CARRIER" in link_of(container, "eth0")["flags"]


@pytest.mark.ours("the reference waits 5 seconds, and gives up")
def test_addresses_of_both_families_need_no_carrier(host, container):
    plug_in(host, "eno2", up=False)
    ranges = [[{"subnet": "10.30.0.0/24"}], [{"subnet": "fd00:30::/64"}]]
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    ipam = {"type": "host-local", "ranges": ranges, "routes": routes}
    host.add(conf(master="eno2", ipam=ipam), container)
    assert container.addresses() == ["10.30.0.2/24", "fd00:30::2/64"]


def test_a_second_child_of_a_passthru_master_is_refused(host):
    first, second = host.container(), host.container()
    host.add(conf(mode="passthru"), first)
    host.refused(conf(), second)
    assert second.links() == {"lo"}
    assert leases(host, "m") == {"10.30.0.2"}


def test_containers_of_one_master_reach_each_other_in_bridge_mode_only(host):
    for mode, reached in (("bridge", True), ("private", False)):
        plug_in(host, f"eno-{mode}")
        first, second = host.container(), host.container()
        given = conf(master=f"eno-{mode}", mode=mode, name=mode)
        host.add(given, first)
        host.add(given, second)
        assert first.addresses() == ["10.30.0.2/24"]
        assert first.pings("10.30.0.3") == reached


def test_the_container_reaches_a_machine_on_the_wire(host, container, outside_machine):
    host.add(conf(master="lan0"), container)
    assert container.pings("10.30.0.1")


@pytest.fixture
def outside_machine(host):
    """A machine on the other end of the host's card ``lan0``."""
    machine = host.container("machine")
    plug_in(host, "lan0", machine=machine)
    machine.run("ip", "address", "add", "10.30.0.1/24", "dev", "lan0")
    return machine


def changed(result, **interface):
    return result | {"interfaces": [result["interfaces"][0] | interface]}


def test_check_holds_the_link_against_configuration_and_result(host, container):
    plug_in(host, "eno2")
    result = host.add(conf(), container).json
    good = conf(prevResult=result)
    assert host.cni("CHECK", good, container).ok
    host.refused(conf(), container, command="CHECK")
    host.refused(good | {"mode": "private"}, container, command="CHECK")
    host.refused(good | {"master": "eno9"}, container, command="CHECK")
    host.refused(good | {"mtu": 1501}, container, command="CHECK")
    for interface in ({"mac": "02:00:00:00:00:77"}, {"sandbox": "/run/netns/other"}):
        wrong = conf(prevResult=changed(result, **interface))
        host.refused(wrong, container, command="CHECK")
    assert host.refused(good | {"cniVersion": "0.3.1"}, container, command="CHECK").code == 1
    container.run("ip", "address", "flush", "dev", "eth0")
    host.refused(good, container, command="CHECK")


@pytest.mark.ours("the reference compares neither")
def test_check_finds_another_master_and_another_mtu(host, container):
    plug_in(host, "eno2")
    result = host.add(conf(mtu=1300), container).json
    good = conf(mtu=1300, prevResult=result)
    assert host.cni("CHECK", good, container).ok
    answer = host.refused(good | {"master": "eno2"}, container, command="CHECK")
    assert "eno2" in answer.msg
    container.run("ip", "link", "set", "eth0", "mtu", "1200")
    assert "1300" in host.refused(good, container, command="CHECK").msg


@pytest.mark.ours("the reference's default route must still be there")
def test_check_needs_no_default_route_where_add_took_one(host, container):
    host.run("ip", "address", "add", "198.51.100.1/24", "dev", "eno1")
    host.run("ip", "route", "add", "default", "via", "198.51.100.9")
    result = host.add(conf(master=""), container).json
    host.run("ip", "route", "del", "default")
    assert host.cni("CHECK", conf(master="", prevResult=result), container).ok
    host.delete(conf(master=""), container)
    assert container.links() == {"lo"}


def test_a_macvlan_on_a_macvlan_is_checked_against_its_master(host, container):
    host.run("ip", "link", "add", "link", "eno1", "name", "up0", "type", "macvlan")
    result = host.add(conf(master="up0"), container).json
    assert host.cni("CHECK", conf(master="up0", prevResult=result), container).ok
