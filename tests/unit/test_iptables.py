"""Lines for iptables-restore, and what ``iptables -S`` says back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnilib.attachment import Attachment
from cnilib.errors import ConfigError, TryAgain
from cnilib.netfilter import iptables

LISTED = """\
-P PREROUTING ACCEPT
-N CNI-DN-1
-N CNI-DN-10
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"a\\" id: \\"b\\"" -j CNI-DN-1
-A CNI-HOSTPORT-DNAT -p udp -j CNI-DN-10
-A CNI-HOSTPORT-DNAT -p sctp -g CNI-DN-1
""".splitlines()


@pytest.fixture
def listing():
    return iptables.Listing(LISTED)


def test_a_listing_knows_base_chains_and_empty_ones(listing):
    assert "PREROUTING" in listing
    assert listing.rules("CNI-DN-1") == []
    assert "CNI-DN-2" not in listing


def test_rules_of_a_missing_chain_are_none(listing):
    assert listing.rules("NOWHERE") == []


def test_jumps_are_told_by_the_whole_name_of_their_target(listing):
    assert listing.jumps("CNI-HOSTPORT-DNAT", "CNI-DN-1") == [LISTED[4], LISTED[6]]
    assert listing.jumps("CNI-HOSTPORT-DNAT", "CNI-DN-10") == [LISTED[5]]


def test_what_was_appended_is_deleted_by_the_same_words():
    assert iptables.deletion("-A X -s 10.0.0.1/32 -j Y") == "-D X -s 10.0.0.1/32 -j Y"


def test_plain_words_stay_as_they_are():
    assert iptables.words("-A", "X", "--to-destination", "[fd00::1]:80") == (
        "-A X --to-destination [fd00::1]:80"
    )


def test_a_comment_is_quoted_as_iptables_restore_reads_it():
    line = iptables.words("--comment", 'name: "a" \\')
    assert line == '--comment "name: \\"a\\" \\\\"'


@given(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126)))
def test_a_quoted_word_reads_back_as_itself(word):
    line = iptables.words(word)
    assert _read(line) == word


def _read(line):
    """One word, by the rules of add_argv in xtables' xshared.c."""
    if not line.startswith('"'):
        assert " " not in line
        return line
    text, escaped = "", False
    for char in line[1:-1]:
        if char == "\\" and not escaped:
            escaped = True
            continue
        text, escaped = text + char, False
    return text


@pytest.mark.parametrize("word", ["a\nb", "a\rb", "a\0b"])
def test_a_line_break_cannot_get_into_a_rule(word):
    with pytest.raises(ConfigError):
        iptables.words("-A", word)


def test_a_comment_ends_with_its_interface():
    assert iptables.comment('name: "a"', "eth0") == 'name: "a" if: "eth0"'


def test_a_long_comment_is_cut_before_its_interface():
    text = iptables.comment("ä" * 300, "eth0")
    assert len(text.encode()) <= 255
    assert text.endswith('ä if: "eth0"')


def test_chain_names_are_those_of_the_reference():
    attachment = Attachment("net", "cid", "eth0")
    name = iptables.reference_chain("CNI-DN-", attachment)
    assert len(name) == 28
    assert name == iptables.reference_chain("CNI-DN-", attachment._replace(ifname="eth1"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Error occurred at line: 3\nTry `iptables-restore -h'", 3),
        ("iptables-restore: line 12 failed\n", 12),
        ("ip6tables-restore v1.8.9: line 4: CHAIN_ADD failed", 4),
        ("something else", 0),
    ],
)
def test_the_failing_line_is_read_from_the_tools_complaint(text, line):
    assert iptables._failed_line(text) == line


def test_a_missing_binary_is_told_with_advice(monkeypatch):
    monkeypatch.setattr(iptables, "find_program", lambda _name: None)
    with pytest.raises(ConfigError) as error:
        iptables.restore("ip", "nat", ["-N X"])
    assert "install iptables" in error.value.msg
    assert not iptables.available("ip")


def test_no_lines_start_no_process(monkeypatch):
    monkeypatch.setattr(iptables, "_run", None)
    iptables.restore("ip", "nat", [])
    assert iptables.missing_rule("ip", "nat", []) is None


def test_binaries_are_found_without_sbin_in_the_path(monkeypatch, tmp_path):
    tool = tmp_path / "iptables"
    tool.touch(mode=0o755)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(iptables, "_DIRECTORIES", (str(tmp_path),))
    assert iptables.find_program("iptables") == str(tool)


def test_a_lock_that_another_program_keeps_is_worth_another_try(monkeypatch):
    complaint = "Another app is currently holding the xtables lock. Stopped waiting after 30s.\n"
    monkeypatch.setattr(iptables, "_binary", lambda _family, suffix: f"iptables{suffix}")
    monkeypatch.setattr(iptables, "_run", lambda *_: (4, "", complaint))
    with pytest.raises(TryAgain, match="xtables lock"):
        iptables.listing("ip", "nat")
