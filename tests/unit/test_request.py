"""The environment and stdin, and which error comes first."""

import json

import pytest

from cnilib.errors import CniError, ConfigError, DecodeError, EnvError
from cnilib.request import Request, check_interface_name, parse_cni_args, read_request

CONF = b'{"cniVersion":"1.0.0","name":"n"}'
ENVIRON = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "k1",
    "CNI_NETNS": "/run/netns/c",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
}


def read(stdin=CONF, **changes):
    return read_request("static", ENVIRON | changes, lambda: stdin, lambda _path: None)


def test_a_request_holds_what_the_runtime_said():
    req = read(CNI_ARGS="A=b")
    assert (req.command, req.container_id, req.netns, req.ifname, req.args) == (
        "ADD",
        "k1",
        "/run/netns/c",
        "eth0",
        "A=b",
    )
    assert req.attachment == ("n", "k1", "eth0")


def test_all_missing_variables_are_named_in_table_order():
    with pytest.raises(EnvError) as error:
        read(CNI_CONTAINERID="", CNI_NETNS="", CNI_IFNAME="", CNI_PATH="")
    assert "[CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH]" in error.value.msg


def test_an_invalid_variable_comes_before_missing_ones():
    with pytest.raises(EnvError) as error:
        read(CNI_CONTAINERID="../x", CNI_IFNAME="", CNI_PATH="")
    assert error.value.details == "../x"


@pytest.mark.parametrize("container_id", ["a\n", "-a", "a b", "é", "a/b"])
def test_illegal_container_ids_are_refused(container_id):
    with pytest.raises(EnvError):
        read(CNI_CONTAINERID=container_id)


def test_a_container_id_has_no_length_limit():
    assert read(CNI_CONTAINERID="a" * 5000).container_id == "a" * 5000


@pytest.mark.parametrize(
    "ifname", ["", ".", "..", "a/b", "a:b", "a b", "a\u2003b", "x" * 16, "ä" * 8, "a\n"]
)
def test_names_the_kernel_refuses_are_no_interface_names(ifname):
    with pytest.raises(ValueError, match="interface name"):
        check_interface_name(ifname)


def test_gc_does_not_look_at_the_interface_name():
    assert read(CNI_COMMAND="GC", CNI_IFNAME="a/b").command == "GC"


def test_del_needs_no_netns():
    assert read(CNI_COMMAND="DEL", CNI_NETNS="").netns == ""


def test_unknown_command_with_bad_json_is_a_decode_error():
    with pytest.raises(DecodeError):
        read(b"{", CNI_COMMAND="NOPE")


def test_unknown_command_with_a_bad_name_is_a_config_error():
    with pytest.raises(ConfigError):
        read(b'{"name":"a b"}', CNI_COMMAND="NOPE")


def test_unknown_command_is_an_environment_error_that_names_it():
    with pytest.raises(EnvError, match="add"):
        read(CNI_COMMAND="add")


@pytest.mark.parametrize("stdin", [b"null", b"{}", b'{"name":""}', b'{"name":null}'])
def test_no_network_name_is_a_config_error(stdin):
    with pytest.raises(ConfigError, match="network name"):
        read(stdin)


@pytest.mark.parametrize("name", ["a b", "../x", "a\n", "-a", "a\0"])
def test_an_illegal_network_name_is_in_the_details(name):
    with pytest.raises(ConfigError) as error:
        read(json.dumps({"name": name}).encode())
    assert error.value.details == name


@pytest.mark.parametrize("stdin", [b'{"name":1}', b'{"name":"n","cniVersion":1}'])
def test_name_and_version_of_another_type_are_decode_errors(stdin):
    with pytest.raises(DecodeError):
        read(stdin)


def test_a_missing_version_means_the_first():
    assert read(b'{"name":"n"}').cni_version == "0.1.0"


def test_cni_args_are_pairs_of_known_keys():
    assert parse_cni_args("IP=10.0.0.1/8;MAC=x", {"IP", "MAC"}) == {"IP": "10.0.0.1/8", "MAC": "x"}


@pytest.mark.parametrize("text", ["foo", "a=b=c", "IP=1;", ";", "IP=1;;IP=2"])
def test_malformed_cni_args_are_refused(text):
    with pytest.raises(EnvError):
        parse_cni_args(text, {"IP", "a"})


def test_unknown_cni_args_pass_with_ignore_unknown_anywhere():
    assert parse_cni_args("K8S_POD=x;IgnoreUnknown=TRUE", {"IP"}) == {}
    with pytest.raises(EnvError, match="K8S_POD"):
        parse_cni_args("K8S_POD=x;IgnoreUnknown=0", {"IP"})
    with pytest.raises(EnvError, match="IgnoreUnknown"):
        parse_cni_args("IgnoreUnknown=yes", {"IP"})


def request(document, command="ADD", version="1.0.0"):
    return Request(
        "static", ENVIRON | {"CNI_COMMAND": command}, b"", {"cniVersion": version} | document
    )


def test_prev_result_of_the_configured_family_is_decoded():
    req = request({"prevResult": {"cniVersion": "1.1.0", "ips": [{"address": "192.0.2.5/24"}]}})
    assert str(req.prev_result.ips[0].address) == "192.0.2.5/24"


def test_null_is_no_prev_result_and_an_empty_object_is_one():
    assert request({"prevResult": None}).prev_result is None
    assert request({"prevResult": {}}).prev_result is not None


@pytest.mark.parametrize("prev", [[], "x", {"cniVersion": "0.4.0"}, {"ips": [{"address": "x"}]}])
def test_a_bad_prev_result_is_an_error_on_add_and_absent_on_del(prev):
    with pytest.raises(CniError):
        _ = request({"prevResult": prev}).prev_result
    assert request({"prevResult": prev}, "DEL").prev_result is None
