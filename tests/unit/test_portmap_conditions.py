"""iptables conditions in nft's words."""

import pytest

from cnilib.errors import ConfigError
from plugins.meta.portmap.conditions import translated


@pytest.mark.parametrize(
    ("words", "nft"),
    [
        ("-s 192.0.2.0/24", "ip saddr 192.0.2.0/24"),
        ("! -s 192.0.2.0/24", "ip saddr != 192.0.2.0/24"),
        ("--source 192.0.2.1,192.0.2.2", "ip saddr { 192.0.2.1,192.0.2.2 }"),
        ("-d 192.0.2.1", "ip daddr 192.0.2.1"),
        ("-i eth0", 'iifname "eth0"'),
        ("! -i veth+", 'iifname != "veth*"'),
        ("-o eth1", 'oifname "eth1"'),
        ("-p tcp -m tcp --sport 1024:2048", "meta l4proto tcp tcp sport 1024-2048"),
        ("-p udp ! --dport 53", "meta l4proto udp udp dport != 53"),
        ("-m mark --mark 0x1/0x1", "meta mark & 0x1 == 0x1"),
        ("-m mark ! --mark 0x1/0x1", "meta mark & 0x1 != 0x1"),
        ("-m mark --mark 5", "meta mark 5"),
    ],
)
def test_the_common_matches_have_a_translation(words, nft):
    assert " ".join(translated(words.split(), "ip")) == nft


def test_addresses_are_of_the_rules_own_family():
    assert translated(["-s", "2001:db8::1"], "ip6") == ("ip6", "saddr", "2001:db8::1")


@pytest.mark.parametrize(
    "words", ["-m conntrack --ctstate NEW", "-m comment", "--uid-owner 0", "-s", "!", "! -m tcp"]
)
def test_what_has_no_translation_is_refused_with_advice(words):
    with pytest.raises(ConfigError) as error:
        translated(words.split(), "ip")
    assert "install iptables" in error.value.msg
