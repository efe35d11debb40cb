"""What macvlan, ipvlan, vlan, dummy and tap decide without the kernel: MACs, masters, numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnilib.errors import ConfigError, EnvError
from cnilib.kernel.link_messages import Link
from cnilib.kernel.tap import _signed
from cnilib.kernel.virtual_links import Master
from cnilib.mac import MacConf, random_mac, wanted_mac
from cnilib.master import MasterConf, check_mtu_fits, find_chained
from cnilib.request import Request
from cnilib.types.addresses import parse_mac
from cnilib.types.base import decode

NETNS = "/run/netns/c"


def request(args="", document=None):
    environ = {"CNI_COMMAND": "ADD", "CNI_ARGS": args, "CNI_NETNS": NETNS, "CNI_IFNAME": "eth0"}
    return Request("macvlan", environ, b"", {"cniVersion": "1.0.0"} | (document or {}))


def test_a_random_mac_is_local_and_for_one():
    macs = {random_mac() for _ in range(200)}
    assert len(macs) == 200
    assert all(mac == parse_mac(mac) and int(mac[1], 16) & 3 == 2 for mac in macs)


@pytest.mark.parametrize(
    ("args", "conf", "expected"),
    [
        ("", {}, ""),
        ("", {"mac": "02-00-00-00-00-0A"}, "02:00:00:00:00:0a"),
        ("MAC=02:00:00:00:00:0b", {"mac": "02:00:00:00:00:0a"}, "02:00:00:00:00:0b"),
        (
            "MAC=02:00:00:00:00:0b",
            {"runtimeConfig": {"mac": "0200.0000.000c"}},
            "02:00:00:00:00:0c",
        ),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_the_strongest_mac_wins(args, conf, expected, strict):
    assert wanted_mac(request(args), decode(MacConf, conf), strict=strict) == expected


@pytest.mark.parametrize("args", ["FOO=1", "MAC=02:00:00:00:00:01;", "MAC", "MAC=1=2"])
def test_only_a_plugin_that_reads_arguments_refuses_strange_ones(args):
    with pytest.raises(EnvError):
        wanted_mac(request(args), MacConf())


@pytest.mark.parametrize("args", ["FOO=1;;BAR", "FOO=1;MAC=02:00:00:00:00:01", "mac=x"])
def test_another_plugin_finds_the_mac_among_them(args):
    expected = "02:00:00:00:00:01" if "MAC=" in args else ""
    assert wanted_mac(request(args), MacConf(), strict=False) == expected


def test_a_mac_that_is_none_is_an_error_that_says_where_it_stands():
    with pytest.raises(ConfigError, match="MAC in CNI_ARGS"):
        wanted_mac(request("MAC=x"), MacConf(), strict=False)


@given(st.integers(), st.integers(min_value=68, max_value=65535))
def test_an_mtu_is_at_most_the_master_s(mtu, largest):
    link = Link(*[None] * len(Link._fields))
    master = Master(None, link._replace(mtu=largest))
    if 0 <= mtu <= largest:
        check_mtu_fits(mtu, master)
    else:
        with pytest.raises(ConfigError, match=f"invalid MTU {mtu}, must be"):
            check_mtu_fits(mtu, master)


HOST = {"name": "eno1"}
INSIDE = {"name": "net0", "sandbox": NETNS}
ELSEWHERE = {"name": "eth0", "sandbox": "/run/netns/other"}


@pytest.mark.parametrize(
    ("interfaces", "outside", "inside"),
    [
        ([], "", ""),
        ([HOST], "eno1", ""),
        ([INSIDE], "", "net0"),
        ([HOST, INSIDE, ELSEWHERE], "eno1", "net0"),
        ([HOST, HOST, INSIDE, INSIDE], "", ""),
        ([{"name": ""}, HOST], "eno1", ""),
    ],
)
def test_the_master_in_a_chain_is_the_only_interface_on_its_side(interfaces, outside, inside):
    req = request(document={"prevResult": {"cniVersion": "1.0.0", "interfaces": interfaces}})
    assert find_chained(req, MasterConf()) == outside
    assert find_chained(req, decode(MasterConf, {"linkInContainer": True})) == inside
    assert find_chained(req, decode(MasterConf, {"master": "x"})) == ""


def test_without_a_chain_there_is_no_master_in_it():
    assert find_chained(request(), MasterConf()) == ""


@given(st.integers(min_value=0, max_value=(1 << 32) - 1))
def test_an_unsigned_number_keeps_its_bits(number):
    assert -(1 << 31) <= _signed(number) < 1 << 31
    assert _signed(number) % (1 << 32) == number
