"""dhcp with ``"ipv6": true``: addresses by DHCPv6 (RFC 8415), real and scripted servers."""

import pytest

from tests.lab.dhcp import SERVER4, needs_dnsmasq
from tests.lab.waiting import until

pytestmark = [needs_dnsmasq, pytest.mark.ours("the reference knows no DHCPv6")]

ONLY6 = {
    "cniVersion": "1.1.0",
    "name": "lan",
    "type": "dhcp",
    "ipam": {"type": "dhcp", "ipv4": False, "ipv6": True},
}


@pytest.fixture
def dual(lan):
    """A server of both families."""
    dns = "--dhcp-option=option6:dns-server,[fd97::53]"
    lan.start_dnsmasq("--dhcp-range=fd97::100,fd97::10f,64,10m", "--enable-ra", dns)
    return lan


def test_an_address_alone(dual):
    result = dual.add(ONLY6)
    (ip,) = result["ips"]
    assert ip["address"].startswith("fd97::10")
    assert ip["address"].endswith("/128")
    assert result["dns"]["nameservers"] == ["fd97::53"]


def test_both_families_in_one_add(dual):
    result = dual.add(dual.conf(ipv6=True))
    families = [":" in ip["address"] for ip in result["ips"]]
    assert families == [False, True]
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": SERVER4}]
    assert dual.add(dual.conf(ipv6=True)) == result
    assert dual.check(dual.conf(ipv6=True)).ok


def test_packets_reach_the_address(dual):
    result = dual.add(ONLY6)
    address = result["ips"][0]["address"]
    dual.container.run("ip", "address", "add", address, "dev", "eth0", "nodad")
    until(lambda: dual.host.try_run("ping", "-c1", "-W1", address[:-4]).returncode == 0)


def test_ipv6_is_switched_on_for_the_link(dual):
    key = "/proc/sys/net/ipv6/conf/eth0/disable_ipv6"
    dual.container.run("sh", "-c", f"echo 1 > {key}")
    assert dual.add(dual.conf(ipv6=True))["ips"]


def test_the_same_container_gets_the_same_address_again(dual):
    first = dual.add(ONLY6)
    dual.delete(ONLY6)
    until(lambda: dual.leases() == [])
    assert dual.add(ONLY6) == first


def test_del_releases_both(dual):
    dual.add(dual.conf(ipv6=True))
    assert len(dual.leases()) == 2
    dual.delete(dual.conf(ipv6=True))
    until(lambda: dual.leases() == [])


def test_one_missing_family_is_an_error_that_leaves_nothing(lan):
    lan.start_dnsmasq()
    answer = lan.host.refused(lan.conf(ipv6=True), lan.container)
    assert "DHCPv6" in answer.msg
    until(lambda: lan.leases() == [])
    assert lan.lease_files() == set()


def test_a_lease_is_renewed(lan):
    lan.start_server6(t1=1, t2=30, lease=60)
    assert lan.add(ONLY6)["ips"] == [{"address": "fd97::77/128"}]
    until(lambda: len(lan.seen("RENEW")) >= 2)
    assert lan.seen("REBIND") == []
    assert {row["options"]["2"] for row in lan.seen("RENEW")} == {"0003000102970000000a"}


def test_neither_family_is_refused(lan):
    assert lan.host.refused(lan.conf(ipv4=False), lan.container).code == 7


def test_a_lease_is_rebound_without_its_server(lan):
    lan.start_server6(t1=1, t2=2, lease=60)
    lan.add(ONLY6)
    lan.script(mode="silent")
    until(lambda: lan.seen("REBIND"))
    assert "2" not in lan.seen("REBIND")[0]["options"]
    lan.script()
    unanswered = len(lan.received("REBIND"))
    until(lambda: len(lan.received("REBIND")) > unanswered)
    assert len(lan.seen("SOLICIT")) == 1
    assert lan.check(ONLY6).ok


def test_a_refused_lease_is_replaced(lan):
    lan.start_server6(t1=1, t2=30, lease=60)
    lan.add(ONLY6)
    lan.container.run("ip", "address", "add", "fd97::77/128", "dev", "eth0", "nodad")
    lan.script(mode="refuse")
    until(lambda: len(lan.seen("SOLICIT")) >= 2)
    lan.script()
    until(lambda: lan.container.addresses() == ["fd97::77/128"])
    assert lan.check(ONLY6).ok


def test_an_expired_address_leaves_the_link(lan):
    lan.start_server6(t1=1, t2=2, lease=4)
    lan.add(ONLY6)
    lan.container.run("ip", "address", "add", "fd97::77/128", "dev", "eth0", "nodad")
    lan.script(mode="silent")
    until(lambda: lan.container.addresses() == [])
    assert not lan.check(ONLY6).ok


def test_an_expired_family_leaves_the_other_alone(lan):
    lan.start_dnsmasq()
    lan.start_server6(t1=1, t2=2, lease=4)
    lan.add(lan.conf(ipv6=True))
    lan.use_address("10.97.0.100/16")
    lan.script(mode="silent")
    until(lambda: not lan.check(ONLY6).ok)
    assert lan.check().ok
    assert lan.container.pings(SERVER4)
