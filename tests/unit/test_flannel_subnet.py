"""subnet.env: what flanneld writes, what an editor makes of it, and what is half of it."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnilib.errors import ConfigError, IoError
from plugins.meta.flannel.subnet import load_subnet, parse_subnet

WHOLE = """\
FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.3.1/24
FLANNEL_IPV6_NETWORK=fd44::/48
FLANNEL_IPV6_SUBNET=fd44:0:0:3::1/64
FLANNEL_MTU=1420
FLANNEL_IPMASQ=true
"""


def networks(*texts):
    return tuple(ip_network(text) for text in texts)


def test_a_whole_file():
    subnet = parse_subnet(WHOLE)
    assert subnet.networks == networks("10.244.0.0/16", "fd44::/48")
    assert subnet.subnets == networks("10.244.3.0/24", "fd44:0:0:3::/64")
    assert (subnet.mtu, subnet.masqueraded) == (1420, True)


@pytest.mark.parametrize(
    "text",
    [
        WHOLE.replace("\n", "\r\n"),
        WHOLE.rstrip("\n"),
        "# by hand\n\n" + WHOLE + "OTHER\nFLANNEL_OTHER=1\n",
        WHOLE.replace("=", " = ").replace("\n", " \n\t"),
        "".join(f"export {line}\n" for line in WHOLE.splitlines()),
        "".join("{}='{}'\n".format(*line.split("=")) for line in WHOLE.splitlines()),
        "".join('{}=" {} "\n'.format(*line.split("=")) for line in WHOLE.splitlines()),
        "FLANNEL_MTU=9\nFLANNEL_IPMASQ=false\n" + WHOLE,
    ],
    ids=["crlf", "no end", "others", "blanks", "export", "quotes", "double", "last counts"],
)
def test_the_same_in_other_spellings(text):
    assert parse_subnet(text) == parse_subnet(WHOLE)


def test_lists_keep_their_order_and_name_each_network_once():
    text = WHOLE.replace("10.244.0.0/16", "10.245.7.7/16, 10.244.0.0/16,10.245.0.0/16")
    expected = networks("10.245.0.0/16", "10.244.0.0/16", "fd44::/48")
    assert parse_subnet(text).networks == expected


@pytest.mark.parametrize("value", ["True", "1", "yes", "false", "", "tru"])
def test_only_true_is_true(value):
    assert not parse_subnet(WHOLE.replace("IPMASQ=true", f"IPMASQ={value}")).masqueraded


def without(*keys):
    lines = WHOLE.splitlines()
    return "\n".join(line for line in lines if line.partition("=")[0] not in keys)


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        (["FLANNEL_MTU"], ["FLANNEL_MTU"]),
        (["FLANNEL_IPMASQ", "FLANNEL_MTU"], ["FLANNEL_MTU", "FLANNEL_IPMASQ"]),
        (["FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"], ["FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"]),
        (["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"], ["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"]),
    ],
)
def test_everything_that_is_missing_is_named(keys, named):
    with pytest.raises(ValueError, match="missing") as error:
        parse_subnet(without(*keys))
    assert str(error.value) == f"is missing {', '.join(named)}"


def test_a_network_without_a_subnet_of_its_family_has_no_routes():
    assert parse_subnet(without("FLANNEL_IPV6_SUBNET")).routed == list(networks("10.244.0.0/16"))
    assert parse_subnet(without("FLANNEL_NETWORK")).routed == list(networks("fd44::/48"))


def test_families_that_do_not_meet_are_refused():
    with pytest.raises(ValueError, match="no IP family"):
        parse_subnet(without("FLANNEL_SUBNET", "FLANNEL_IPV6_NETWORK"))


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("FLANNEL_NETWORK=10.244.0.0", "prefix length"),
        ("FLANNEL_NETWORK=10.244.0.0/16,,", "''"),
        ("FLANNEL_NETWORK=fd44::/48", "IPv4"),
        ("FLANNEL_NETWORK=10.244.0.0/255.255.0.0", "10.244.0.0"),
        ("FLANNEL_SUBNET=10.244.3.1/33", "prefix length"),
        ("FLANNEL_SUBNET=10.244.3.1/24,10.244.4.1/24", "FLANNEL_SUBNET"),
        ("FLANNEL_SUBNET=", "FLANNEL_SUBNET"),
        ("FLANNEL_IPV6_SUBNET=10.244.3.1/24", "IPv6"),
        ("FLANNEL_MTU=-3", "-3"),
        ("FLANNEL_MTU=4294967296", "4294967296"),
        ("FLANNEL_MTU=١٤", "MTU"),
        ("FLANNEL_MTU", "FLANNEL_MTU in line 7"),
    ],
)
def test_a_wrong_line_is_told(line, word):
    with pytest.raises(ValueError, match=word.replace("(", r"\(")):
        parse_subnet(WHOLE + line)


@given(length=st.integers(0, len(WHOLE) - 1))
def test_half_a_file_is_refused_unless_only_the_last_value_is_cut(length):
    """flanneld renames a whole file into place; a half one was copied by somebody else."""
    text = WHOLE[:length]
    if "FLANNEL_IPMASQ=" in text:
        assert parse_subnet(text).mtu == 1420
    else:
        with pytest.raises(ValueError, match="FLANNEL_"):
            parse_subnet(text)


def test_errors_name_the_file_and_where_to_look(tmp_path):
    path = tmp_path / "subnet.env"
    with pytest.raises(IoError, match=f"open {path}: no such file or directory.*flannel pod log"):
        load_subnet(str(path))
    path.write_text(without("FLANNEL_MTU"))
    with pytest.raises(ConfigError, match=f"{path} is missing FLANNEL_MTU.*flannel pod log"):
        load_subnet(str(path))
    path.write_bytes(b"\xff\x00")
    with pytest.raises(ConfigError, match="missing"):
        load_subnet(str(path))
