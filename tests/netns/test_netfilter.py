"""What attachments have in our nftables tables, in a throw-away namespace."""

import subprocess
import sys
import time
from ipaddress import ip_interface

import pytest

from cnilib.attachment import Attachment, ValidAttachments
from cnilib.errors import CheckFailed, ConfigError
from cnilib.netfilter import (
    installing,
    mac_spoof,
    masquerade,
    nft,
    records,
    ruleset,
    withdrawing,
)
from cnilib.netfilter.ruleset import BridgeUse, Element, Owner, Rule, Wanted

pytestmark = pytest.mark.netns

A, B, C = (Attachment("web", name, "eth0") for name in ("a", "b", "c"))


@pytest.fixture(autouse=True)
def _inside(host, tmp_path, monkeypatch):
    """Each test runs in a namespace of its own, with records of its own."""
    monkeypatch.setattr(records, "ROOT", str(tmp_path / "records"))
    monkeypatch.setattr(records, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(nft._Context, "nft", None)
    with host.entered():
        yield


def portmap(attachment):
    return Owner(attachment, "portmap")


def port(number, address, *more):
    data = (address, 80)
    return Wanted((Element("ip", "hp_any", ("tcp", number), data), *more))


def listed():
    """The ruleset without the constant parts: lines with elements and rules of attachments."""
    command = ["nft", "list", "ruleset"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_first_element_makes_the_tables_and_the_last_leaves_no_element():
    ruleset.apply(
        portmap(A), port(8080, "10.1.0.2", Element("ip", "hp_own24", ("10.1.0.2", "10.1.0.0")))
    )
    assert "tcp . 8080" in listed()
    assert "@hp_own24 masquerade" in listed()
    assert "id: a" in listed()
    ruleset.check(portmap(A), port(8080, "10.1.0.2"))
    assert ruleset.withdraw(portmap(A)).elements
    assert "elements" not in listed()
    assert ruleset.withdraw(portmap(A)) is None


def test_a_new_prefix_length_keeps_the_rules_of_the_others():
    for prefix in (24, 16, 8):
        owner = portmap(Attachment("web", f"c{prefix}", "eth0"))
        ruleset.apply(owner, Wanted((Element("ip", f"hp_own{prefix}", ("10.1.0.2", "10.0.0.0")),)))
    for prefix in (24, 16, 8):
        assert listed().count(f"@hp_own{prefix} masquerade") == 1


def test_a_repeated_add_replaces_what_is_no_longer_wanted():
    ruleset.apply(portmap(A), port(8080, "10.1.0.2"))
    ruleset.apply(portmap(A), port(8081, "10.1.0.2"))
    assert "8080" not in listed()
    assert listed().count("8081") == 1


def test_a_taken_port_stays_with_its_owner_until_that_one_goes():
    ruleset.apply(portmap(A), port(8080, "10.1.0.2"))
    (conflict,) = ruleset.apply(portmap(B), port(8080, "10.1.0.3"))
    assert conflict.holder == A
    assert "10.1.0.2 . 80" in listed()
    ruleset.withdraw(portmap(A))
    assert "10.1.0.3 . 80" in listed()
    assert "id: b" in listed()
    ruleset.check(portmap(B), port(8080, "10.1.0.3"))
    ruleset.withdraw(portmap(B))
    assert "elements" not in listed()


def test_the_oldest_claim_gets_the_port_and_a_withdrawn_one_does_not():
    ruleset.apply(portmap(A), port(8080, "10.1.0.2"))
    ruleset.apply(portmap(B), port(8080, "10.1.0.3"))
    ruleset.apply(portmap(C), port(8080, "10.1.0.4"))
    ruleset.withdraw(portmap(B))
    ruleset.withdraw(portmap(A))
    assert "10.1.0.4 . 80" in listed()


def test_a_conflict_can_be_an_error_that_changes_nothing():
    ruleset.apply(portmap(A), port(8080, "10.1.0.2"))
    wanted = port(8080, "10.1.0.3", Element("ip", "snat_dst", ("10.1.0.3",)))
    with pytest.raises(ConfigError, match="8080/tcp is published by a of network web"):
        ruleset.apply(portmap(B), wanted, fail_on_conflict=True)
    assert "10.1.0.3" not in listed()
    assert ruleset.withdraw(portmap(B)) is None


def test_a_dead_container_of_the_same_address_loses_its_ports():
    ruleset.apply(portmap(A), port(8080, "10.1.0.2"))
    assert ruleset.apply(portmap(B), port(8080, "10.1.0.2")) == []
    assert "id: b" in listed()
    assert ruleset.withdraw(portmap(A)) is None
    assert "tcp . 8080" in listed()


def test_an_address_given_on_stays_with_its_new_owner():
    element = Element("ip", "fw_addr", ("10.1.0.2",))
    ruleset.apply(Owner(A, "firewall"), Wanted((element,)))
    ruleset.apply(Owner(B, "firewall"), Wanted((element,)))
    ruleset.withdraw(Owner(A, "firewall"))
    assert "id: b" in listed()
    ruleset.withdraw(Owner(B, "firewall"))
    assert "10.1.0.2" not in listed()


def test_rules_of_an_attachment_come_and_go_with_it():
    rule = Rule("ip", "hostports_cond", "ip saddr 192.0.2.50 tcp dport 8080 dnat to 10.1.0.2:80")
    ruleset.apply(portmap(A), Wanted(rules=(rule,)))
    ruleset.apply(portmap(A), Wanted(rules=(rule,)))
    assert listed().count("192.0.2.50") == 1
    ruleset.check(portmap(A), Wanted(rules=(rule,)))
    ruleset.withdraw(portmap(A))
    assert "192.0.2.50" not in listed()


def test_after_a_flush_check_fails_and_the_next_add_restores_everything():
    ruleset.apply(portmap(A), port(8080, "10.1.0.2"))
    nft.run("flush ruleset")
    with pytest.raises(CheckFailed, match="missing"):
        ruleset.check(portmap(A), port(8080, "10.1.0.2"))
    ruleset.apply(portmap(B), port(8081, "10.1.0.3"))
    assert "tcp . 8080" in listed()
    ruleset.check(portmap(A), port(8080, "10.1.0.2"))


def test_restore_replays_the_records():
    ruleset.apply(portmap(A), port(8080, "10.1.0.2"))
    before = listed()
    nft.run("flush ruleset")
    assert ruleset.restore() == 1
    assert listed() == before


def test_check_notices_a_rule_of_the_layout_that_is_gone():
    ruleset.apply(portmap(A), port(8080, "10.1.0.2"))
    nft.run("flush chain ip cni_plugins hostports")
    with pytest.raises(CheckFailed, match="chain hostports"):
        ruleset.check(portmap(A), port(8080, "10.1.0.2"))


def test_lost_records_are_found_by_the_comments(tmp_path, monkeypatch):
    ruleset.apply(portmap(A), port(8080, "10.1.0.2"))
    ruleset.apply(portmap(B), port(8081, "10.1.0.3"))
    monkeypatch.setattr(records, "ROOT", str(tmp_path / "lost"))
    assert ruleset.withdraw(portmap(A)) is not None
    assert "8080" not in listed()
    assert "8081" in listed()


def test_gc_keeps_valid_attachments_and_other_networks():
    other = Attachment("other", "a", "eth0")
    for number, attachment in enumerate((A, B, other)):
        ruleset.apply(portmap(attachment), port(8080 + number, f"10.1.0.{number + 2}"))
    gone = ruleset.collect("portmap", "web", ValidAttachments({("b", "eth0")}))
    assert [record.owner.attachment for record in gone] == [A]
    assert "8080" not in listed()
    assert "8081" in listed()
    assert "8082" in listed()


def test_what_a_killed_add_has_put_in_goes_with_its_record(monkeypatch):
    """Killed after the transaction and before the index says whose the elements are."""
    guard = Element("ip", "localnet", ("br0",))
    with monkeypatch.context() as patched:
        patched.setattr(installing.Application, "_index", lambda *_: sys.exit())
        with pytest.raises(SystemExit):
            ruleset.apply(portmap(A), port(8080, "10.1.0.2", guard))
    assert "8080" in listed()
    ruleset.withdraw(portmap(A))
    assert "8080" not in listed()
    assert "br0" in listed()  # as long as its device, which others may use


def test_a_port_that_was_granted_by_a_killed_del_goes_as_well(monkeypatch):
    for number, attachment in enumerate((A, B)):
        ruleset.apply(portmap(attachment), port(8080, f"10.1.0.{number + 2}"))
    with monkeypatch.context() as patched:
        patched.setattr(withdrawing, "_grant", lambda *_: sys.exit())
        with pytest.raises(SystemExit):
            ruleset.withdraw(portmap(A))
    assert "10.1.0.3" in listed()
    ruleset.withdraw(portmap(B))
    assert "8080" not in listed()


def test_gc_spares_what_is_younger_than_itself():
    ruleset.apply(portmap(A), port(8080, "10.1.0.2"))
    assert ruleset.collect("portmap", "web", ValidAttachments(set(), time.time() - 60)) == []
    ruleset.check(portmap(A), port(8080, "10.1.0.2"))


def test_gc_takes_a_port_from_everybody_who_waits_for_it():
    for number, attachment in enumerate((A, B, C)):
        ruleset.apply(portmap(attachment), port(8080, f"10.1.0.{number + 2}"))
    assert len(ruleset.collect("portmap", "web", ValidAttachments(set()))) == 3
    assert "8080" not in listed()


def firewall(attachment, address, policy):
    wanted = Wanted((Element("ip", "fw_addr", (address,)),), bridge=BridgeUse("br0", policy))
    ruleset.apply(Owner(attachment, "firewall"), wanted)
    return wanted


def test_a_bridge_has_its_rules_as_long_as_somebody_wants_them():
    wanted = firewall(A, "10.1.0.2", "isolated")
    firewall(B, "10.1.0.3", "isolated")
    ruleset.check(Owner(A, "firewall"), wanted)
    assert 'oifname "br0" drop' in listed()
    ruleset.withdraw(Owner(A, "firewall"))
    assert 'oifname "br0" drop' in listed()
    ruleset.withdraw(Owner(B, "firewall"))
    assert "br0" not in listed()


def test_a_changed_policy_replaces_the_rules_of_the_bridge():
    firewall(A, "10.1.0.2", "isolated")
    firewall(A, "10.1.0.2", "same-bridge")
    assert 'oifname "br0" drop' not in listed()
    assert "jump isolation_2" in listed()
    firewall(A, "10.1.0.2", "open")
    assert "iso_br0" not in listed()
    ruleset.withdraw(Owner(A, "firewall"))
    assert "br0" not in listed()


@pytest.mark.parametrize("backend", ["", "nftables", "iptables"])
def test_masquerade_comes_and_goes(backend):
    interfaces = (ip_interface("10.1.0.2/24"), ip_interface("fd00::2/64"))
    masquerade.ensure_masquerade(A, interfaces, backend)
    masquerade.ensure_masquerade(A, interfaces, backend)
    masquerade.check_masquerade(A, interfaces, backend)
    assert "10.1.0.2" in listed()
    assert "fd00::2" in listed()
    masquerade.remove_masquerade(A)
    masquerade.remove_masquerade(A)
    assert "10.1.0.2" not in listed()
    assert "fd00::2" not in listed()
    with pytest.raises(CheckFailed):
        masquerade.check_masquerade(A, interfaces, backend)


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_gc_of_masquerade_takes_both_backends(backend):
    for attachment, address in ((A, "10.1.0.2/24"), (B, "10.1.0.3/24")):
        masquerade.ensure_masquerade(attachment, (ip_interface(address),), backend)
    masquerade.collect_masquerade("web", ValidAttachments({("b", "eth0")}))
    assert "10.1.0.2" not in listed()
    assert "10.1.0.3" in listed()


def test_an_unknown_masquerade_backend_is_named():
    with pytest.raises(ConfigError, match="pf"):
        masquerade.ensure_masquerade(A, (ip_interface("10.1.0.2/24"),), "pf")


def test_mac_spoof_checks_come_and_go():
    long = Attachment("web", "x" * 150, "eth0")
    for attachment in (A, B, long):
        mac_spoof.ensure_mac_spoof_check(attachment, "veth0", "02:00:00:00:00:01")
        mac_spoof.ensure_mac_spoof_check(attachment, "veth0", "02:00:00:00:00:01")
    assert listed().count("jump cni-br-iface-a-eth0 ") == 1
    mac_spoof.remove_mac_spoof_check(long)
    mac_spoof.collect_mac_spoof_checks("web", ValidAttachments({("b", "eth0")}))
    assert "cni-br-iface-a-eth0" not in listed()
    assert "cni-br-iface-b-eth0-mac" in listed()
    mac_spoof.remove_mac_spoof_check(B)
    mac_spoof.remove_mac_spoof_check(B)
    assert "cni-br-iface" not in listed()
