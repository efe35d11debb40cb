"""dummy: the acceptance examples of its page, and what it promises beyond the reference."""

import pytest

from tests.lab.links import kind_of, leases, link_of

pytestmark = [
    pytest.mark.kernel("dummy"),
    pytest.mark.ours("Debian's release of the reference has no dummy"),
]

IPAM = {"type": "host-local", "subnet": "10.33.0.0/24", "routes": [{"dst": "10.99.0.0/16"}]}


def conf(**keys):
    return {"cniVersion": "1.0.0", "name": "d", "type": "dummy", "ipam": IPAM} | keys


def test_a_container_has_addresses_that_lead_nowhere(host, container):
    result = host.add(conf(), container, ifname="dm0").json
    made = link_of(container, "dm0")
    assert kind_of(container, "dm0")[0] == "dummy"
    assert "UP" in made["flags"]
    assert container.addresses("dm0") == ["10.33.0.2/24"]
    (route,) = container.show("route", "show", "10.99.0.0/16")
    assert route["gateway"] == "10.33.0.1"
    (interface,) = result["interfaces"]
    assert interface == {"name": "dm0", "mac": made["address"], "sandbox": container.netns}
    assert result["ips"][0]["interface"] == 0
    container.run("ip", "link", "set", "lo", "up")
    assert container.pings("10.33.0.2")


@pytest.mark.parametrize("ipam", [None, {}, {"type": ""}], ids=["absent", "empty", "no type"])
def test_without_ipam_nothing_is_made(host, container, ipam):
    for command in ("ADD", "CHECK"):
        answer = host.refused(conf(ipam=ipam), container, command=command)
        assert "dummy interface requires an IPAM configuration" in answer.msg
    assert container.links() == {"lo"}
    host.delete(conf(ipam=ipam), container)
    assert host.cni("STATUS", conf(ipam=ipam, cniVersion="1.1.0")).ok


def test_del_without_ipam_removes_the_link(host, container):
    host.add(conf(), container)
    host.delete(conf(ipam=None), container)
    assert container.links() == {"lo"}


def test_the_name_may_be_taken_on_the_host_not_in_the_container(host):
    first, second = host.container(), host.container()
    host.run("ip", "link", "add", "dm0", "type", "bridge")
    host.add(conf(), first, ifname="dm0")
    second.run("ip", "link", "add", "dm0", "type", "bridge")
    before = link_of(second, "dm0")
    answer = host.refused(conf(), second, ifname="dm0")
    assert "file exists" in answer.msg
    assert link_of(second, "dm0") == before
    assert leases(host, "d") == {"10.33.0.2"}


def test_addresses_of_both_families_are_ready_when_add_returns(host, container):
    ranges = [[{"subnet": "10.33.0.0/24"}], [{"subnet": "fd00:33::/64"}]]
    host.add(conf(ipam={"type": "host-local", "ranges": ranges}), container)
    assert container.addresses() == ["10.33.0.2/24", "fd00:33::2/64"]
    assert "tentative" not in container.run("ip", "address", "show", "dev", "eth0")


def test_mtu_and_mac_are_those_asked_for(host, container):
    given = conf(mtu=9000, mac="02:00:00:00:00:0a", runtimeConfig={"mac": "02:00:00:00:00:0c"})
    result = host.add(given, container, CNI_ARGS="IgnoreUnknown=1;MAC=02:00:00:00:00:0b").json
    made = link_of(container, "eth0")
    assert (made["mtu"], made["address"]) == (9000, "02:00:00:00:00:0c")
    assert host.cni("CHECK", given | {"prevResult": result}, container).ok
    container.run("ip", "link", "set", "eth0", "mtu", "1500")
    host.refused(given | {"prevResult": result}, container, command="CHECK")


@pytest.mark.parametrize("keys", [{"mtu": -1}, {"mac": "x"}, {"mac": "01:00:00:00:00:01"}], ids=str)
def test_what_is_invalid_makes_nothing(host, container, keys):
    host.refused(conf(**keys), container)
    assert container.links() == {"lo"}
    assert leases(host, "d") == set()


def test_check_holds_the_link_against_the_result(host, container):
    result = host.add(conf(), container).json
    good = conf(prevResult=result)
    assert host.cni("CHECK", good, container).ok
    container.run("ip", "link", "set", "eth0", "down")
    assert "is down" in host.refused(good, container, command="CHECK").msg
    container.run("ip", "link", "set", "eth0", "up")
    after = host.cni("CHECK", good, container)
    assert after.ok
    assert "10.99.0.0/16" in after.stderr  # went with the link, and is told
    container.run("ip", "address", "flush", "dev", "eth0")
    host.refused(good, container, command="CHECK")
    container.run("ip", "link", "del", "eth0")
    host.refused(good, container, command="CHECK")
    container.run("ip", "link", "add", "eth0", "type", "bridge")
    host.refused(good, container, command="CHECK")
