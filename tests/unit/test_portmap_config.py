"""What portmap's configuration may hold, and which error says that it may not."""

import pytest

from cnilib.errors import ConfigError, DecodeError
from cnilib.types.base import decode
from plugins.meta.portmap.config import Conf, TeardownConf, kind_of

MAPPING = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}


def conf(*mappings, **keys):
    return decode(Conf, {"name": "web", "runtimeConfig": {"portMappings": list(mappings)}} | keys)


def mapping(**keys):
    return conf(MAPPING | keys).mappings[0]


def refusal(*mappings, **keys):
    with pytest.raises(ConfigError) as error:
        conf(*mappings, **keys)
    return error.value.msg


def test_the_spelling_of_containerd_is_understood():
    entry = {"HostPort": 18080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": ""}
    (only,) = conf(entry).mappings
    assert (only.host_port, only.container_port, only.host_address) == (18080, 80, None)


@pytest.mark.parametrize("missing", [{}, {"runtimeConfig": {}}, {"runtimeConfig": None}])
def test_no_mappings_is_a_valid_configuration(missing):
    assert decode(Conf, {"name": "web"} | missing).mappings == ()


def test_null_mappings_are_none():
    assert decode(Conf, {"runtimeConfig": {"portMappings": None}}).mappings == ()


@pytest.mark.parametrize("key", ["hostPort", "containerPort"])
@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_outside_1_to_65535_is_refused_by_name(key, port):
    side = key.removesuffix("Port")
    assert f"Invalid {side} port number: {port}" in refusal(MAPPING | {key: port})


def test_a_missing_port_is_refused_like_0():
    assert "Invalid host port number: 0" in refusal({"containerPort": 80})


def test_the_message_says_which_mapping_is_wrong():
    assert "runtimeConfig.portMappings[1]" in refusal(MAPPING, {"hostPort": 0, "containerPort": 1})


@pytest.mark.parametrize("value", ["8080", 80.5, True, [80]])
def test_a_port_of_another_json_type_cannot_be_decoded(value):
    with pytest.raises(DecodeError):
        conf(MAPPING | {"hostPort": value})


@pytest.mark.parametrize(
    ("text", "protocol"), [("TCP", "tcp"), ("Udp", "udp"), ("sctp", "sctp"), ("", "tcp")]
)
def test_protocols_are_taken_in_any_case(text, protocol):
    assert mapping(protocol=text).protocol == protocol


def test_a_missing_protocol_is_tcp():
    assert conf({"hostPort": 1, "containerPort": 1}).mappings[0].protocol == "tcp"


def test_an_unknown_protocol_is_refused():
    assert "icmp" in refusal(MAPPING | {"protocol": "icmp"})


@pytest.mark.parametrize("text", ["localhost", "10.0.0", "10.0.0.1/24", "fe80::1%eth0"])
def test_a_host_ip_that_is_no_address_is_refused(text):
    assert text in refusal(MAPPING | {"hostIP": text})


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("", {4, 6}),
        ("0.0.0.0", {4}),
        ("::", {6}),
        ("192.0.2.1", {4}),
        ("2001:db8::1", {6}),
        ("::ffff:192.0.2.1", {4}),
    ],
)
def test_a_host_ip_chooses_the_ip_version(text, versions):
    only = mapping(hostIP=text)
    assert {version for version in (4, 6) if only.fits(version)} == versions


@pytest.mark.parametrize("text", ["", "0.0.0.0", "::"])
def test_a_wildcard_host_ip_is_no_address(text):
    assert mapping(hostIP=text).host_address is None


def test_a_range_has_a_length():
    assert mapping(hostPortEnd=8089, containerPortEnd=89).length == 10


def test_the_end_of_the_container_range_may_be_left_out():
    assert mapping(hostPortEnd=8089).length == 10


@pytest.mark.parametrize(
    "keys",
    [
        {"hostPortEnd": 8079},
        {"hostPortEnd": 65536},
        {"hostPortEnd": 8081, "containerPortEnd": 82},
        {"containerPortEnd": 81},
        {"hostPortEnd": 8090, "containerPort": 65530},
    ],
)
def test_an_impossible_range_is_refused(keys):
    assert "range" in refusal(MAPPING | keys)


@pytest.mark.parametrize("bit", [-1, 32, 40])
def test_a_mark_bit_outside_of_0_to_31_is_refused(bit):
    assert "markMasqBit" in refusal(markMasqBit=bit)


@pytest.mark.parametrize(("keys", "bit"), [({}, 13), ({"markMasqBit": 0}, 0)])
def test_the_mark_bit_is_13_by_default(keys, bit):
    assert conf(**keys).mark_bit == bit


def test_a_mark_bit_and_a_foreign_mark_chain_exclude_each_other():
    text = refusal(markMasqBit=13, externalSetMarkChain="KUBE-MARK-MASQ")
    assert "cannot specify both" in text


@pytest.mark.parametrize("name", ["x" * 29, "A B", "A;B"])
def test_a_chain_name_that_iptables_would_refuse_is_refused(name):
    assert "chain name" in refusal(externalSetMarkChain=name)


@pytest.mark.parametrize("backend", ["pf", "firewalld", "NFTABLES"])
def test_an_unknown_backend_is_refused(backend):
    assert "unrecognized backend" in refusal(backend=backend)


def test_an_unknown_way_with_conflicts_is_refused():
    assert "portConflict" in refusal(portConflict="steal")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("-s", "192.0.2.0/24"), "iptables"),
        (("!", "-s", "192.0.2.0/24"), "iptables"),
        (("ip", "saddr", "192.0.2.0/24"), "nftables"),
    ],
)
def test_the_first_character_tells_the_syntax(words, kind):
    assert kind_of(words) == kind


@pytest.mark.parametrize(
    ("keys", "offending"),
    [
        ({"backend": "nftables", "conditionsV4": ["-s", "192.0.2.1"]}, "conditionsV4"),
        ({"backend": "nftables", "externalSetMarkChain": "X"}, "externalSetMarkChain"),
        ({"backend": "iptables", "conditionsV6": ["ip6", "saddr", "::1"]}, "conditionsV6"),
    ],
)
def test_options_of_the_other_backend_are_named(keys, offending):
    text = refusal(**keys)
    assert f"{keys['backend']} backend was requested" in text
    assert f"[{offending}]" in text


def test_options_of_both_backends_are_refused():
    assert "two backends" in refusal(
        conditionsV4=["-s", "192.0.2.1"], conditionsV6=["ip6", "saddr", "::1"]
    )


@pytest.mark.parametrize("word", ["", "a\nb", "accept; flush ruleset", "# comment"])
def test_a_condition_cannot_smuggle_in_a_second_rule(word):
    assert "is not a word" in refusal(conditionsV4=["ip", word])


def test_del_accepts_what_add_refuses():
    teardown = decode(
        TeardownConf,
        {
            "backend": "pf",
            "markMasqBit": 99,
            "runtimeConfig": {"portMappings": [{"hostPort": 0}, MAPPING, {"hostPort": "x"}]},
        },
    )
    assert [mapping.host_port for mapping in teardown.mappings] == [8080]


@pytest.mark.parametrize("value", [None, 5, "x", {"portMappings": 7}, {"portMappings": [7]}])
def test_del_does_not_care_for_a_broken_runtime_config(value):
    assert decode(TeardownConf, {"runtimeConfig": value}).mappings == []
