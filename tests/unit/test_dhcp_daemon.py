"""dhcp daemon: the arithmetic of its timers, its flags, what it stores."""

import contextlib
import itertools
from ipaddress import IPv4Address, IPv4Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnilib.attachment import Attachment
from plugins.ipam.dhcp.daemon import times
from plugins.ipam.dhcp.daemon.client import Wishes
from plugins.ipam.dhcp.daemon.flags import Flags, UsageError, parse_duration, parse_flags
from plugins.ipam.dhcp.daemon.grant import Grant, result_of
from plugins.ipam.dhcp.daemon.lease import Record
from plugins.ipam.dhcp.daemon.place import Place
from plugins.ipam.dhcp.daemon.store import Store
from plugins.ipam.dhcp.daemon.times import Times, next_try, pauses

SECONDS = st.integers(0, times.INFINITE)
LENGTHS = st.integers(1, times.INFINITE)
POINTS = st.floats(0, 1e9)
RATIOS = (0.5, 0.85)


# timers


@given(LENGTHS, SECONDS, SECONDS)
def test_t1_t2_and_the_end_come_in_order(length, t1, t2):
    found = Times.of(length, t1, t2, ratios=RATIOS)
    assert 0 < found.t1 <= found.t2 <= found.length == length
    assert found.obtained < found.renew_at <= found.rebind_at <= found.expires_at


@given(st.integers(4, times.INFINITE), st.data())
def test_what_the_server_says_is_kept_where_it_makes_sense(length, data):
    t2 = data.draw(st.integers(2, length - 1))
    t1 = data.draw(st.integers(1, t2))
    assert Times.of(length, t1, t2, ratios=RATIOS)[1:] == (t1, t2, length)


def test_what_the_server_leaves_out_is_a_part_of_the_length():
    assert Times.of(1000, 0, 0, ratios=RATIOS)[1:] == (500, 850, 1000)
    assert Times.of(1000, 0, 300, ratios=RATIOS)[1:] == (300, 300, 1000)
    assert Times.of(1000, 700, 0, ratios=RATIOS)[1:] == (700, 850, 1000)


@given(POINTS, st.floats(0, 1e6), st.floats(0, 1e4))
def test_the_next_try_is_never_late_and_never_at_once(moment, left, longest):
    limit = moment + left
    found = next_try(moment, limit, longest)
    assert moment <= found <= limit + 1e-6
    assert found - moment <= max(longest, 1) + 1e-3
    if left > 1:
        assert found - moment >= 1 - 1e-3


@given(st.floats(1, 1e6))
def test_tries_come_to_an_end(longest):
    moment, limit, tries = 0.0, 1e3, 0
    while moment < limit:
        moment = next_try(moment, limit, longest)
        tries += 1
    assert tries <= 1e3 + 1


@given(st.floats(0, 1000))
def test_pauses_grow_up_to_the_longest(longest):
    found = list(itertools.islice(pauses(longest), 12))
    for attempt, pause in enumerate(found):
        wanted = min(2 * 2 ** max(attempt - 3, 0), longest)
        assert pause >= 0
        assert wanted - 1 <= pause <= wanted + 1


# flags


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300ms", 0.3),
        ("1.5s", 1.5),
        ("2m", 120),
        ("1h30m", 5400),
        ("0", 0),
        ("1m2s3ms", 62.003),
        (".5s", 0.5),
        ("5us", 5e-6),
    ],
)
def test_durations_are_go_s(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "soon", "-1s", "1 s", "1x", "s", ".s", "1.2.3s", "1sm"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@given(st.text("0123456789.smhun", max_size=12))
def test_any_text_is_a_duration_or_refused(text):
    with contextlib.suppress(ValueError):
        assert parse_duration(text) >= 0


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ([], {}),
        (["-timeout", "3s"], {"timeout": 3.0}),
        (["--timeout=3s", "-broadcast"], {"timeout": 3.0, "broadcast": True}),
        (["-broadcast=false", "-socketpath=/x=y"], {"socketpath": "/x=y"}),
        (["-broadcast", "word", "-timeout", "3s"], {"broadcast": True}),
        (["--", "-bogus"], {}),
    ],
)
def test_flags_are_read_as_go_reads_them(words, changes):
    assert parse_flags(words) == Flags()._replace(**changes)


@pytest.mark.parametrize(
    "words", [["-bogus"], ["-timeout"], ["-timeout", "x"], ["-broadcast=maybe"]], ids=str
)
def test_wrong_flags_are_refused(words):
    with pytest.raises(UsageError, match=words[0].split("=")[0].lstrip("-")):
        parse_flags(words)


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_a_usage_without_complaint(word):
    with pytest.raises(UsageError) as caught:
        parse_flags([word])
    assert str(caught.value) == ""


# the store

GRANT = Grant(
    address=IPv4Interface("10.0.0.7/24"),
    gateway=IPv4Address("10.0.0.1"),
    routes=[{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}],
    dns={"nameservers": ["10.0.0.53"]},
    server="10.0.0.1",
    server_mac="02:00:00:00:00:01",
    times=Times(1000.0, 300.0, 500.0, 600.0),
)
RECORD = Record(
    Attachment("lan", "c1", "eth0"),
    4,
    Place("/run/netns/c1", 4026531840, "eth0", "02:00:00:00:00:02"),
    Wishes(b"\0c1/lan/eth0", (1, 3), {12: b"\xffhost"}, "10.0.0.7"),
    GRANT,
)


def test_a_stored_lease_is_read_again(tmp_path):
    store = Store(str(tmp_path / "leases"))
    store.write(RECORD)
    (file,) = (tmp_path / "leases").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert store.read() == [RECORD]
    store.remove(RECORD)
    assert store.read() == []


def test_both_families_of_an_attachment_are_stored(tmp_path):
    store = Store(str(tmp_path))
    store.write(RECORD)
    store.write(RECORD._replace(family=6))
    assert sorted(record.family for record in store.read()) == [4, 6]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"boot": "another"}', '{"boot": 7, "attachment": []}'], ids=str
)
def test_a_file_that_is_no_lease_of_this_boot_is_removed(tmp_path, text):
    (tmp_path / "x.4.json").write_text(text)
    assert Store(str(tmp_path)).read() == []
    assert list(tmp_path.iterdir()) == []


def test_a_lease_of_another_boot_is_removed(tmp_path):
    store = Store(str(tmp_path))
    store.write(RECORD)
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text().replace('"boot": "', '"boot": "x'))
    assert store.read() == []
    assert list(tmp_path.iterdir()) == []


def test_the_result_of_two_families_is_one():
    other = GRANT._replace(routes=[], dns={"nameservers": ["10.0.0.53", "fd00::1"], "domain": "d"})
    result = result_of([GRANT, other])
    assert [ip["address"] for ip in result["ips"]] == ["10.0.0.7/24"] * 2
    assert result["routes"] == GRANT.routes
    assert result["dns"] == {"nameservers": ["10.0.0.53", "fd00::1"], "search": [], "domain": "d"}
