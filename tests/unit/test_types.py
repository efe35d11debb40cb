"""Configuration and result types: Go's decoding rules, and every version of a result."""

import json
from ipaddress import IPv4Interface, IPv6Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from cnilib.errors import CniError, ConfigError, DecodeError
from cnilib.types.addresses import Cidr, Ip, Mac, parse_cidr, parse_ip, parse_mac
from cnilib.types.base import Items, Model, decode
from cnilib.types.result import DNS, Interface, IPConfig, Result, Route
from cnilib.types.versions import decode_result, encode_result


class Mapping(Model):
    host_port: int
    host_ip: str = Field(default="", alias="hostIP")


class Conf(Model):
    is_gateway: bool = False
    mtu: int = 0
    ports: Items[Mapping] = ()
    sysctl: dict[str, str] = Field(default_factory=dict)
    address: Cidr | None = None
    gateway: Ip | None = None
    mac: Mac = ""


def test_keys_match_in_any_case_at_every_level():
    conf = decode(Conf, {"ISGATEWAY": True, "Ports": [{"HostPort": 1, "HostIP": "x"}]})
    assert conf.is_gateway
    assert conf.ports[0].host_ip == "x"


def test_keys_of_free_maps_stay_exact():
    assert decode(Conf, {"sysctl": {"Net.X": "1"}}).sysctl == {"Net.X": "1"}


def test_null_keeps_the_default_and_unknown_keys_are_ignored():
    assert decode(Conf, {"mtu": None, "other": {"x": 1}}) == Conf()


@pytest.mark.parametrize(
    "document",
    [
        {"mtu": "1"},
        {"isGateway": 1},
        {"mtu": 1.5},
        {"mtu": 1e3},
        {"mtu": True},
        {"ports": {}},
        {"ports": "x"},
        {"sysctl": {"a": 1}},
        {"address": 7},
    ],
)
def test_no_value_is_converted_to_another_type(document):
    with pytest.raises(DecodeError) as error:
        decode(Conf, document)
    assert next(iter(document)) in error.value.msg


def test_an_error_names_the_path_of_the_key():
    with pytest.raises(DecodeError, match=r"ports\[1\]\.hostPort"):
        decode(Conf, {"ports": [{"hostPort": 1}, {"hostPort": "x"}]})


@pytest.mark.parametrize(
    "document", [{"address": "10.0.0.1"}, {"gateway": "10.0.0.256"}, {"mac": "zz"}]
)
def test_an_invalid_value_is_a_config_error_that_quotes_it(document):
    ((key, value),) = document.items()
    with pytest.raises(ConfigError, match=f"{key}.*{value}"):
        decode(Conf, document)


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1",
        "010.0.0.1/8",
        "10.0.0.1/33",
        "10.0.0.1/255.0.0.0",
        "fe80::1%eth0/64",
        "10.0.0.1/+8",
        "/8",
        "10.0.0.1/",
        "::ffff:10.0.0.1/64",
    ],
)
def test_what_is_no_address_with_prefix_length(text):
    with pytest.raises(ValueError, match=r"[a-z]"):
        parse_cidr(text)


def test_mapped_ipv6_is_ipv4():
    assert str(parse_ip("::ffff:10.0.0.1")) == "10.0.0.1"
    assert str(parse_cidr("::ffff:10.83.1.9/120")) == "10.83.1.9/24"


def test_host_bits_are_kept():
    assert str(parse_cidr("10.1.0.5/24")) == "10.1.0.5/24"


@pytest.mark.parametrize("text", ["02:00:00:00:00:AB", "02-00-00-00-00-ab", "0200.0000.00ab"])
def test_a_mac_is_written_lower_case_with_colons(text):
    assert parse_mac(text) == "02:00:00:00:00:ab"


RESULT = Result(
    interfaces=(
        Interface(name="br0", mac="02:00:00:00:00:01", mtu=1400),
        Interface(name="eth0", sandbox="/run/netns/c", socket_path="/s", pci_id="p"),
    ),
    ips=(
        IPConfig(address="192.0.2.5/24", gateway="192.0.2.1", interface=1),
        IPConfig(address="2001:db8::5/64"),
        IPConfig(address="192.0.2.6/24"),
    ),
    routes=(Route(dst="0.0.0.0/0", gw="192.0.2.1", mtu=1300, table=0), Route(dst="::/0")),
    dns=DNS(nameservers=("192.0.2.2",), search=("example.org",)),
)


def test_result_of_0_2_0_has_one_address_of_each_family_with_its_routes():
    assert json.loads(encode_result(RESULT, "0.2.0")) == {
        "cniVersion": "0.2.0",
        "ip4": {
            "ip": "192.0.2.5/24",
            "gateway": "192.0.2.1",
            "routes": [{"dst": "0.0.0.0/0", "gw": "192.0.2.1"}],
        },
        "ip6": {"ip": "2001:db8::5/64", "routes": [{"dst": "::/0"}]},
        "dns": {"nameservers": ["192.0.2.2"], "search": ["example.org"]},
    }


def test_result_of_0_3_1_has_ip_versions_and_no_new_interface_fields():
    document = json.loads(encode_result(RESULT, "0.3.1"))
    assert document["interfaces"][0] == {"name": "br0", "mac": "02:00:00:00:00:01"}
    assert document["ips"][0] == {
        "version": "4",
        "interface": 1,
        "address": "192.0.2.5/24",
        "gateway": "192.0.2.1",
    }
    assert document["routes"][0] == {
        "dst": "0.0.0.0/0",
        "gw": "192.0.2.1",
        "mtu": 1300,
        "table": 0,
    }


def test_result_of_1_0_0_is_sorted_and_has_every_field():
    text = encode_result(RESULT, "1.0.0").decode()
    document = json.loads(text)
    assert text == json.dumps(document, indent=4, sort_keys=True)
    assert document["interfaces"][1] == {
        "name": "eth0",
        "pciID": "p",
        "sandbox": "/run/netns/c",
        "socketPath": "/s",
    }
    assert "version" not in document["ips"][0]


def test_dns_is_always_there_up_to_0_4_0_and_not_when_empty_from_1_0_0():
    plain = Result(ips=(IPConfig(address="192.0.2.5/24"),))
    for version in ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0"):
        assert json.loads(encode_result(plain, version))["dns"] == {}
    assert "dns" not in json.loads(encode_result(plain, "1.0.0"))


def test_a_result_without_address_cannot_be_told_in_0_2_0():
    with pytest.raises(CniError, match="cannot convert"):
        encode_result(Result(), "0.2.0")


def test_missing_ip_versions_are_filled_in():
    result = decode_result({"ips": [{"address": "192.0.2.5/24"}]}, "0.4.0")
    assert json.loads(encode_result(result, "0.4.0"))["ips"][0]["version"] == "4"


def test_empty_texts_are_absent_and_stay_so():
    document = {"ips": [{"address": "192.0.2.5/24", "gateway": ""}], "routes": None}
    result = decode_result(document, "1.0.0")
    assert result.ips[0].gateway is None
    assert result.routes == ()


def test_an_old_prev_result_drops_what_its_version_does_not_know():
    result = decode_result({"interfaces": [{"name": "eth0", "mtu": 1400}]}, "0.4.0")
    assert result.interfaces[0].mtu == 0


def test_an_index_out_of_range_belongs_to_no_interface():
    for index in (-1, 2, None):
        assert RESULT.interface_of(IPConfig(address="192.0.2.5/24", interface=index)) is None
    assert RESULT.interface_of(RESULT.ips[0]).name == "eth0"


ADDRESSES = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map(IPv4Interface),
    st.tuples(
        st.ip_addresses(v=6).filter(lambda a: a.ipv4_mapped is None), st.integers(0, 128)
    ).map(IPv6Interface),
)
RESULTS = st.builds(
    Result,
    ips=st.lists(st.builds(IPConfig, address=ADDRESSES), max_size=4).map(tuple),
    routes=st.lists(
        st.builds(
            Route, dst=ADDRESSES, table=st.none() | st.integers(0, 9), mtu=st.integers(0, 9000)
        ),
        max_size=3,
    ).map(tuple),
)


@given(RESULTS, st.sampled_from(["0.3.0", "0.4.0", "1.0.0", "1.1.0"]))
def test_a_result_survives_the_way_through_a_chain(result, version):
    assert decode_result(json.loads(encode_result(result, version)), version) == result
