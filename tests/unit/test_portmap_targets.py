"""Which address of prevResult gets the forwards."""

import pytest

from cnilib.types.base import decode
from cnilib.types.result import Result
from plugins.meta.portmap.config import Conf
from plugins.meta.portmap.targets import Forward, targets

NETNS = "/run/netns/c"
INTERFACES = [
    {"name": "cni0"},
    {"name": "other0", "sandbox": NETNS},
    {"name": "eth0", "sandbox": NETNS},
]


def chosen(ips, *mappings, **keys):
    result = decode(Result, {"interfaces": INTERFACES, "ips": ips})
    return targets(_conf(*(mappings or ({},)), **keys), result, "eth0")


def _conf(*mappings, **keys):
    entries = [{"hostPort": 8080, "containerPort": 80} | mapping for mapping in mappings]
    return decode(Conf, {"runtimeConfig": {"portMappings": entries}} | keys)


def addresses(found):
    return [(target.family, str(target.address)) for target in found]


def test_the_first_address_of_each_family_counts():
    ips = [
        {"address": "10.0.0.2/24", "interface": 2},
        {"address": "fd00::2/64", "interface": 2},
        {"address": "10.0.0.3/24", "interface": 2},
    ]
    assert addresses(chosen(ips)) == [("ip", "10.0.0.2/24"), ("ip6", "fd00::2/64")]


@pytest.mark.parametrize("index", [0, 1])
def test_addresses_of_the_host_and_of_other_interfaces_are_skipped(index):
    ips = [
        {"address": "10.0.0.9/24", "interface": index},
        {"address": "10.0.0.2/24", "interface": 2},
    ]
    assert addresses(chosen(ips)) == [("ip", "10.0.0.2/24")]


@pytest.mark.parametrize("where", [{}, {"interface": 7}, {"interface": -1}])
def test_an_address_without_a_usable_interface_counts(where):
    assert addresses(chosen([{"address": "10.0.0.2/24"} | where])) == [("ip", "10.0.0.2/24")]


def test_an_interface_without_sandbox_is_not_the_containers():
    result = decode(
        Result,
        {"interfaces": [{"name": "eth0"}], "ips": [{"address": "10.0.0.2/24", "interface": 0}]},
    )
    assert targets(_conf({}), result, "eth0") == []


def test_a_mapping_of_the_other_family_makes_no_target(capfd):
    assert chosen([{"address": "10.0.0.2/24"}], {"hostIP": "2001:db8::1"}) == []
    assert "8080/tcp is not forwarded" in capfd.readouterr().err


def test_what_fits_one_family_is_not_complained_about(capfd):
    chosen([{"address": "10.0.0.2/24"}], {})
    assert capfd.readouterr().err == ""


def test_conditions_go_with_their_family():
    found = chosen(
        [{"address": "10.0.0.2/24"}, {"address": "fd00::2/64"}],
        conditionsV6=["ip6", "saddr", "::1"],
    )
    assert [target.conditions for target in found] == [(), ("ip6", "saddr", "::1")]


def test_of_two_mappings_for_one_port_the_first_counts():
    (target,) = chosen([{"address": "10.0.0.2/24"}], {"containerPort": 1}, {"containerPort": 2})
    assert [forward.container_port for forward in target.forwards] == [1]


def test_the_same_port_on_two_addresses_is_two_forwards():
    (target,) = chosen(
        [{"address": "10.0.0.2/24"}], {"hostIP": "192.0.2.1"}, {"hostIP": "192.0.2.2"}
    )
    assert len(target.forwards) == 2


def test_a_range_falls_apart_into_single_ports():
    singles = Forward("udp", 5000, 6000, 3, None).singles()
    assert [(f.host_port, f.container_port, f.length) for f in singles] == [
        (5000, 6000, 1),
        (5001, 6001, 1),
        (5002, 6002, 1),
    ]
