"""static: addresses from the configuration and from requests (static.md)."""

import pytest

IPAM = {
    "type": "static",
    "addresses": [{"address": "172.30.8.9/22", "gateway": "172.30.8.1"}],
}
BOTH = {
    **IPAM,
    "addresses": [*IPAM["addresses"], {"address": "fd34::9/64"}],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "fd99::/48", "gw": "fd34::1"}],
    "dns": {"nameservers": ["9.9.9.9"], "search": ["x.example"]},
}


def conf(ipam, **keys):
    return {"cniVersion": "1.0.0", "name": "s", "type": "static", "ipam": ipam} | keys


def test_the_result_is_what_the_configuration_says(host, container):
    assert host.add(conf(BOTH), container).json == {
        "cniVersion": "1.0.0",
        "ips": [
            {"address": "172.30.8.9/22", "gateway": "172.30.8.1"},
            {"address": "fd34::9/64"},
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "fd99::/48", "gw": "fd34::1"}],
        "dns": {"nameservers": ["9.9.9.9"], "search": ["x.example"]},
    }


@pytest.mark.ours("Debian's older release drops the attributes of routes")
def test_route_attributes_pass_through(host, container):
    route = {"dst": "fd99::/48", "gw": "fd34::1", "mtu": 1400, "table": 7, "priority": 9}
    answer = host.add(conf(BOTH | {"routes": [route]}, cniVersion="1.1.0"), container)
    assert answer.json["routes"] == [route]


def test_arguments_add_addresses(host, container):
    arguments = "IP=172.30.20.5/24,fd35::5/64;GATEWAY=172.30.20.1"
    assert host.add(conf(IPAM), container, CNI_ARGS=arguments).json["ips"] == [
        {"address": "172.30.8.9/22", "gateway": "172.30.8.1"},
        {"address": "172.30.20.5/24", "gateway": "172.30.20.1"},
        {"address": "fd35::5/64"},
    ]


def test_stronger_sources_replace_weaker_ones(host, container):
    given = conf(IPAM, args={"cni": {"ips": ["172.30.30.2/24"]}})
    environ = {"CNI_ARGS": "IP=172.30.20.5/24"}
    assert host.add(given, container, **environ).addresses == ["172.30.30.2"]
    given["runtimeConfig"] = {"ips": ["172.30.31.2/24"]}
    assert host.add(given, container, **environ).addresses == ["172.30.31.2"]


def test_an_old_version_gets_routes_under_their_family(host, container):
    ipam = BOTH | {"routes": [{"dst": "172.16.0.0/12"}, {"dst": "::/0"}]}
    result = host.add(conf(ipam, cniVersion="0.2.0"), container).json
    assert result["ip4"]["routes"] == [{"dst": "172.16.0.0/12"}]
    assert result["ip6"]["routes"] == [{"dst": "::/0"}]


def test_no_address_is_fine(host, container):
    answer = host.add(conf({"type": "static", "addresses": []}), container)
    assert answer.json.get("ips", []) == []


def test_del_reads_no_ipam_section(host, container):
    host.delete({"cniVersion": "1.0.0", "name": "s", "type": "static"}, container, CNI_NETNS="")
    host.delete(conf(["junk"]), container)


@pytest.mark.parametrize(
    ("ipam", "word"),
    [
        ({"type": "static", "addresses": [{"address": "172.30.8.9"}]}, "172.30.8.9"),
        ({"type": "static", "addresses": [{"address": "10.1.0.05/24"}]}, "10.1.0.05"),
        ({"type": "static", "addresses": [{"address": "10.1.0.5/24", "gateway": "x"}]}, "x"),
        ({"type": "static", "addresses": "10.1.0.5/24"}, "addresses"),
        ({**IPAM, "routes": [{"dst": "x"}]}, "x"),
        ({**IPAM, "routes": {"dst": "10.0.0.0/8"}}, "routes"),
    ],
    ids=["no prefix", "leading zero", "gateway", "no list", "route", "routes"],
)
def test_a_wrong_section_is_refused_with_what_is_wrong(host, container, ipam, word):
    answer = host.cni("ADD", conf(ipam), container)
    assert answer.code in {6, 7, 999}
    assert word in answer.msg + answer.json.get("details", "")


@pytest.mark.parametrize("arguments", ["IP=172.30.20.5", "X=1;IP=10.0.0.2/24", "IP", "GATEWAY=x"])
def test_wrong_arguments_are_refused(host, container, arguments):
    assert host.cni("ADD", conf(IPAM), container, CNI_ARGS=arguments).code in {4, 999}


def test_two_addresses_of_a_family_are_too_many_for_an_old_version(host, container):
    ipam = {"type": "static", "addresses": [{"address": "10.1.0.2/24"}, {"address": "10.2.0.2/24"}]}
    assert not host.cni("ADD", conf(ipam, cniVersion="0.2.0"), container).ok


def check(host, container, gateway):
    result = {"cniVersion": "1.0.0", "ips": [{"address": "172.30.8.9/22", "gateway": gateway}]}
    return host.cni("CHECK", conf(IPAM, prevResult=result), container)


def test_check_compares_gateways(host, container):
    assert check(host, container, "172.30.8.1").ok
    assert "172.30.8.9" in check(host, container, "172.30.8.2").msg


def test_check_needs_a_result(host, container):
    assert not host.cni("CHECK", conf(IPAM), container).ok


@pytest.mark.ours("the reference does not notice")
def test_check_notices_an_address_that_is_not_in_the_result(host, container):
    result = {"cniVersion": "1.0.0", "ips": [{"address": "172.30.8.77/22"}]}
    assert "172.30.8.9" in host.cni("CHECK", conf(IPAM, prevResult=result), container).msg


@pytest.mark.ours("GATEWAY has no effect there on configured addresses")
def test_a_gateway_argument_reaches_configured_addresses(host, container):
    ipam = {"type": "static", "addresses": [{"address": "172.30.8.9/22"}]}
    answer = host.add(conf(ipam), container, CNI_ARGS="GATEWAY=172.30.8.1")
    assert answer.json["ips"] == [{"address": "172.30.8.9/22", "gateway": "172.30.8.1"}]


@pytest.mark.ours("requested addresses lose the gateway there")
def test_a_requested_address_keeps_the_gateway_of_its_subnet(host, container):
    answer = host.add(conf(IPAM, runtimeConfig={"ips": ["172.30.8.50/22"]}), container)
    assert answer.json["ips"] == [{"address": "172.30.8.50/22", "gateway": "172.30.8.1"}]


@pytest.mark.ours("the reference takes both")
@pytest.mark.parametrize(
    "keys",
    [
        {"addresses": [{"address": "10.1.0.2/24"}, {"address": "10.1.0.2/16"}]},
        {"addresses": [], "dns": {"nameservers": ["not an address"]}},
    ],
    ids=["address twice", "nameserver"],
)
def test_what_cannot_work_is_refused(host, container, keys):
    assert host.cni("ADD", conf({"type": "static", **keys}), container).code == 7


@pytest.mark.ours("STATUS of the reference always succeeds")
def test_status_refuses_what_add_would_refuse(host):
    assert host.cni("STATUS", conf(IPAM, cniVersion="1.1.0")).ok
    broken = {"type": "static", "addresses": [{"address": "junk"}]}
    assert host.cni("STATUS", conf(broken, cniVersion="1.1.0")).code == 7
