"""loopback: lo up on ADD, down on DEL (loopback.md)."""

import pytest

CONF = {"cniVersion": "1.0.0", "name": "loopback", "type": "loopback"}


def flags(container):
    (link,) = container.show("link", "show", "dev", "lo")
    return link["flags"]


def test_add_brings_lo_up_and_reports_both_addresses(host, container):
    result = host.add(CONF, container).json
    assert "UP" in flags(container)
    (interface,) = result["interfaces"]
    assert (interface["name"], interface["sandbox"]) == ("lo", container.netns)
    assert [ip["address"] for ip in result["ips"]] == ["127.0.0.1/8", "::1/128"]
    assert [ip["interface"] for ip in result["ips"]] == [0, 0]


def test_add_twice_gives_the_same_result(host, container):
    assert host.add(CONF, container).json == host.add(CONF, container).json


def test_a_result_before_it_passes_through(host, container):
    earlier = {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "eth0", "sandbox": "/x"}],
        "ips": [{"address": "10.1.1.1/24", "interface": 0}],
        "dns": {},
    }
    result = host.add(CONF | {"prevResult": earlier}, container).json
    assert {key: result[key] for key in ("interfaces", "ips")} == {
        key: earlier[key] for key in ("interfaces", "ips")
    }
    assert "UP" in flags(container)


def test_check_tells_that_lo_is_down(host, container):
    host.add(CONF, container)
    assert host.cni("CHECK", CONF, container).ok
    container.run("ip", "link", "set", "lo", "down")
    assert "lo" in host.cni("CHECK", CONF, container).msg


def test_del_takes_lo_down_and_may_be_repeated(host, container):
    host.add(CONF, container)
    host.delete(CONF, container)
    assert "UP" not in flags(container)
    host.delete(CONF, container)
    host.delete(CONF, container, CNI_NETNS="")
    host.delete(CONF, container, CNI_NETNS="/run/netns/gone")


def test_add_without_the_namespace_is_an_error(host, container):
    answer = host.cni("ADD", CONF, container, CNI_NETNS="/run/netns/gone")
    assert not answer.ok
    assert "/run/netns/gone" in answer.msg


def test_without_ipv6_only_the_ipv4_address_is_reported(host, container):
    container.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6")
    assert host.add(CONF, container).addresses == ["127.0.0.1"]


def test_a_foreign_address_on_lo_is_an_error(host, container):
    container.run("ip", "address", "add", "192.0.2.7/32", "dev", "lo")
    container.run("ip", "link", "set", "lo", "up")
    container.run("ip", "address", "del", "127.0.0.1/8", "dev", "lo")
    assert "non-loopback" in host.cni("ADD", CONF, container).msg


def test_check_is_unknown_before_0_4_0(host, container):
    assert host.cni("CHECK", CONF | {"cniVersion": "0.3.1"}, container).code == 1


def test_add_needs_an_interface_name(host, container):
    assert host.cni("ADD", CONF, container, ifname=None).code == 4


@pytest.mark.ours("the reference answers every version in the layout of 1.0.0")
def test_the_result_has_the_layout_of_its_version(host, container):
    assert host.add(CONF | {"cniVersion": "0.2.0"}, container).json == {
        "cniVersion": "0.2.0",
        "ip4": {"ip": "127.0.0.1/8"},
        "ip6": {"ip": "::1/128"},
        "dns": {},
    }
    result = host.add(CONF | {"cniVersion": "0.4.0"}, container).json
    assert [ip["version"] for ip in result["ips"]] == ["4", "6"]


@pytest.mark.ours("the reference takes the lo of the host down before it complains")
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_the_host_s_own_lo_is_not_touched(host, container, command):
    host.run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
    assert host.cni(command, CONF, container, CNI_NETNS="/proc/self/ns/net").code == 8
    assert "UP" in host.show("link", "show", "dev", "lo")[0]["flags"]
