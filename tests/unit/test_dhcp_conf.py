"""dhcp: what the configuration and CNI_ARGS add up to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnilib.errors import ConfigError, DecodeError, EnvError
from cnilib.request import Request
from cnilib.types.base import decode
from plugins.ipam.dhcp.conf import Conf, TeardownConf, lenient_args, option_code


def conf(**ipam):
    return decode(Conf, {"name": "n", "ipam": {"type": "dhcp", **ipam}})


def request(args=""):
    return Request("dhcp", {"CNI_ARGS": args})


@given(st.integers(0, 255))
def test_an_option_is_a_number(code):
    assert option_code(str(code)) == code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("dhcp-client-identifier", 61),
        ("subnet-mask", 1),
        ("routers", 3),
        ("host-name", 12),
        ("user-class", 77),
        ("vendor-class-identifier", 60),
    ],
)
def test_some_options_have_a_name(name, code):
    assert option_code(name) == code


@pytest.mark.parametrize("text", ["256", "-1", "1.0", "fqdn", "", "Routers", "\u0661"])
def test_anything_else_is_no_option(text):
    with pytest.raises(ValueError, match="cannot parse option"):
        option_code(text)


@pytest.mark.parametrize(
    ("entries", "codes"),
    [
        ([], [1, 3, 6, 15, 26, 33, 119, 121]),
        ([{"option": "3"}, {"option": "2"}], [1, 2, 3, 6, 15, 26, 33, 119, 121]),
        ([{"option": "42", "skipDefault": True}, {"option": "subnet-mask"}], [1, 42]),
        ([{"skipDefault": True}], [1, 3, 6, 15]),
        ([{"option": "", "skipDefault": False}], [1, 3, 6, 15, 26, 33, 119, 121]),
    ],
)
def test_the_requested_options(entries, codes):
    assert conf(request=entries).requested() == codes


def test_a_value_of_cni_args_wins_over_the_configured_one():
    entries = [
        {"option": "12", "value": "spare", "fromArg": "POD"},
        {"option": "60", "value": "", "fromArg": "CLASS"},
        {"option": "77", "value": "x"},
    ]
    found = conf(provide=entries)
    assert found.provided(request("POD=web=1;junk")) == {12: b"web=1", 77: b"x"}
    assert found.provided(request()) == {12: b"spare", 77: b"x"}


def test_a_value_longer_than_an_option_is_refused():
    entries = [{"option": "12", "fromArg": "POD"}]
    assert len(conf(provide=entries).provided(request("POD=" + "x" * 255))[12]) == 255
    with pytest.raises(ConfigError, match="option 12"):
        conf(provide=entries).provided(request("POD=" + "x" * 256))


@pytest.mark.parametrize(
    ("ipam", "error"),
    [
        ({"request": "x"}, DecodeError),
        ({"request": [{"option": 60}]}, DecodeError),
        ({"provide": [{"option": "pad"}]}, ConfigError),
        ({"provide": [{"option": "255", "value": "x"}]}, ConfigError),
        ({"provide": [{"value": "x"}]}, ConfigError),
    ],
)
def test_what_cannot_be_meant_is_refused(ipam, error):
    with pytest.raises(error, match="ipam"):
        conf(**ipam)


def test_del_forgives_what_add_refuses():
    decode(TeardownConf, {"name": "n", "ipam": {"request": [{"option": "fqdn"}]}})
    assert decode(TeardownConf, {"name": "n"}).socket_path == "/run/cni/dhcp.sock"


def test_addresses_are_suggested_by_cni_args_first():
    document = {"ipam": {}, "runtimeConfig": {"ips": ["10.0.0.9/24", "fd00::9"]}}
    found = decode(Conf, document)
    assert found.suggestions(request("IP=10.0.0.8")) == ["10.0.0.8", "10.0.0.9", "fd00::9"]
    assert found.suggestions(request("junk;MAC=1")) == ["10.0.0.9", "fd00::9"]
    with pytest.raises(EnvError, match="IP in CNI_ARGS"):
        found.suggestions(request("IP=nine"))


def test_there_must_be_a_family():
    assert conf().families() == (4,)
    assert conf(ipv6=True).families() == (4, 6)
    with pytest.raises(ConfigError, match="nothing to get"):
        conf(ipv4=False).families()


@given(st.text(max_size=60))
def test_any_cni_args_are_read_without_failure(text):
    assert all(f"{key}=" in text for key in lenient_args(text))
