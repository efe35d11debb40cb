"""tuning: CHECK, DEL and GC, and what is refused (tuning.md)."""

import json
import os

import pytest

from tests.scenarios.test_tuning import (
    ATTRIBUTES,
    DATA,
    MAC,
    SOMAXCONN,
    attributes,
    backups,
    conf,
    newer,
    sysctl,
    with_eth0,
)

REFERENCE = "/usr/lib/cni"


@pytest.fixture
def container(host):
    return with_eth0(host)


@pytest.fixture
def tune(host, container):
    """ADD with these keys; its configuration."""

    def add(*, environ=None, **keys):
        given = conf(container, **keys)
        host.add(given, container, **environ or {})
        return given

    return add


@pytest.fixture
def checked(host, container, tune):
    """Tune with these keys; then whether CHECK succeeds after a command inside."""

    def check(keys, *damage):
        given = tune(**keys)
        if damage:
            container.run(*damage)
        return host.cni("CHECK", given, container)

    return check


@pytest.mark.parametrize(
    "keys",
    [
        *ATTRIBUTES,
        {"sysctl": {SOMAXCONN: "500"}},
        {"mtu": 1300, "args": {"cni": {"mtu": 1200}}},
        pytest.param(
            {"mac": MAC.upper()}, marks=pytest.mark.ours("the reference compares the text")
        ),
        pytest.param(
            {"sysctl": {"net.ipv4.ip_local_port_range": " 1100  65000"}},
            marks=pytest.mark.ours("the reference compares the text"),
        ),
    ],
)
def test_check_succeeds_after_add(checked, keys):
    answer = checked(keys)
    assert (answer.status, answer.stdout) == (0, "")


@pytest.mark.parametrize(
    ("keys", "damage"),
    [
        ({"mac": MAC}, "ip link set eth0 address 02:00:00:00:00:77"),
        ({"mtu": 1300}, "ip link set eth0 mtu 1400"),
        ({"promisc": True}, "ip link set eth0 promisc off"),
        ({"allmulti": True}, "ip link set eth0 allmulticast off"),
        ({"allmulti": False}, "ip link set eth0 allmulticast on"),
        pytest.param({"txQLen": 555}, "ip link set eth0 txqueuelen 500", marks=newer),
        ({"sysctl": {SOMAXCONN: "500"}}, "sysctl -qw net.core.somaxconn=501"),
        ({"mtu": 1300}, "ip link del eth0"),
    ],
)
def test_check_tells_what_somebody_has_changed(checked, keys, damage):
    answer = checked(keys, *damage.split())
    assert (answer.status, answer.code) == (1, 999)


@pytest.mark.ours("the reference wants promiscuous mode off unless it was asked for")
def test_check_does_not_mind_a_capture_running(checked):
    assert checked({"mtu": 1300}, "ip", "link", "set", "eth0", "promisc", "on").ok


@pytest.mark.ours("the reference does not restore sysctls")
def test_del_restores_sysctls(host, container, tune):
    keys = (SOMAXCONN, "net.ipv4.conf.eth0.arp_filter")
    before = [sysctl(container, key) for key in keys]
    given = tune(sysctl=dict.fromkeys(keys, "1"))
    host.delete(given, container)
    assert [sysctl(container, key) for key in keys] == before


@pytest.mark.ours("the reference saves its own values the second time")
def test_a_repeated_add_keeps_the_first_values(host, container, tune):
    before = attributes(container)
    tune(mtu=1300)
    given = tune(mtu=1200, allmulti=True)
    host.delete(given, container)
    assert attributes(container) == before


@pytest.mark.ours("the reference keeps what it did before it failed")
@pytest.mark.parametrize(
    "keys",
    [
        {"mac": MAC, "mtu": 20},
        {"mtu": 1300, "mac": "01:00:5e:00:00:01", "sysctl": {SOMAXCONN: "500"}},
        {"mtu": 1300, "sysctl": {SOMAXCONN: "500", "net.ipv4.nope": "1"}},
    ],
    ids=["mtu", "mac", "sysctl"],
)
def test_a_failed_add_is_undone(host, container, keys):
    before = attributes(container), sysctl(container, SOMAXCONN)
    assert host.refused(conf(container, **keys), container).code == 999
    assert (attributes(container), sysctl(container, SOMAXCONN)) == before
    assert backups(host) == set()


@pytest.mark.ours("the reference leaves the file for ever")
@pytest.mark.parametrize("gone", ["namespace", "link"])
def test_del_without_anything_to_restore_removes_the_file(host, container, tune, gone):
    given = tune(mtu=1300)
    if gone == "link":
        container.run("ip", "link", "del", "eth0")
    else:
        container.vanish()
    host.delete(given, container)
    assert backups(host) == set()


@pytest.mark.parametrize("netns", ["", "/run/netns/gone"])
def test_del_without_a_namespace_succeeds(host, container, tune, netns):
    host.delete(tune(mtu=1300), container, CNI_NETNS=netns)


def test_del_needs_no_result_and_no_add(host, container, tune):
    before = attributes(container)
    given = tune(mtu=1300)
    del given["prevResult"]
    for _ in range(2):
        host.delete(given, container)
        assert attributes(container) == before


def test_del_ignores_a_file_that_it_cannot_read(host, container, tune):
    given = tune(mtu=1300)
    host.write(f"{DATA}/{container.id}_eth0.json", "{")
    host.delete(given, container)


@pytest.mark.skipif(not os.path.exists(f"{REFERENCE}/tuning"), reason="no reference plugins")
@pytest.mark.parametrize("upgrade", [True, False], ids=["upgrade", "downgrade"])
@pytest.mark.ours("it is about a node that switches")
def test_either_restores_what_the_other_saved(host, container, tune, upgrade):
    before = attributes(container)
    ways = [host.binaries, REFERENCE]
    host.binaries = ways[upgrade]
    given = tune(mac=MAC, mtu=1300, promisc=True, allmulti=True)
    host.binaries = ways[not upgrade]
    host.delete(given, container)
    assert attributes(container) == before
    assert backups(host) == set()


@pytest.mark.ours("GC of the reference does nothing")
def test_gc_removes_files_of_lost_attachments_of_this_network(host, container):
    for container_id, name in (("kept", "t"), ("lost", "t"), ("other", "u"), ("lost_2", "t")):
        given = conf(container, "1.1.0", name=name, mtu=1300)
        host.add(given, container, CNI_CONTAINERID=container_id)
    host.write(f"{DATA}/reference_eth0.json", '{"mtu": 1500}')
    valid = [{"containerID": "kept", "ifname": "eth0"}]
    answer = host.cni("GC", conf(container, "1.1.0") | {"cni.dev/valid-attachments": valid})
    assert (answer.status, answer.stdout) == (0, "")
    assert backups(host) == {"kept_eth0.json", "other_eth0.json", "reference_eth0.json"}


@newer
def test_status_has_nothing_to_say(host, container):
    answer = host.cni("STATUS", conf(container, "1.1.0"))
    assert (answer.status, answer.stdout) == (0, "")


@pytest.mark.parametrize(
    ("command", "version"),
    [
        ("ADD", "0.5.0"),
        ("CHECK", "0.3.1"),
        ("DEL", "9.0.0"),
        pytest.param("GC", "1.0.0", marks=newer),
    ],
)
def test_a_version_without_the_command_is_refused(host, container, command, version):
    given = conf(container, "1.0.0", mtu=1300) | {"cniVersion": version}
    assert host.refused(given, container, command).code == 1


@pytest.mark.parametrize("command", ["ADD", "CHECK"])
def test_the_result_so_far_and_the_namespace_are_needed(host, container, command):
    given = conf(container, mtu=1300)
    host.refused(given, container, command, CNI_NETNS="/run/netns/none")
    del given["prevResult"]
    assert "prevResult" in host.refused(given, container, command).msg


TWICE = '{"net.core.somaxconn": "1", "net.core.somaxconn": "2"}'


@newer
@pytest.mark.parametrize("command", ["ADD", "CHECK"])
def test_a_sysctl_that_stands_twice_is_refused(host, container, command):
    text = json.dumps(conf(container, sysctl="TWICE")).replace('"TWICE"', TWICE)
    answer = host.refused(text, container, command, plugin="tuning")
    assert "duplicated sysctl keys" in answer.msg


@pytest.mark.parametrize(
    "keys",
    [
        {"sysctl": {"kernel.shmmax": "1"}},
        {"sysctl": {"net/../kernel/shmmax": "1"}},
        {"sysctl": {"net": "1"}},
        {"sysctl": {"net.ipv4.nope": "1"}},
        {"sysctl": {SOMAXCONN: "-1"}},
        {"sysctl": {SOMAXCONN: 500}},
        {"sysctl": {SOMAXCONN: "5\u0000"}},
        {"sysctl": {SOMAXCONN + "\u0000": "5"}},
        {"sysctl": {"net.core.some\nthing": "5"}},
        {"sysctl": {"net.core." + "x" * 300: "5"}},
        {"sysctl": ["x"]},
        {"mac": "c2:00:00:00:01"},
        {"mac": "01:00:5e:00:00:01"},
        {"mac": "c2:11:22:33:44:55\n"},
        {"mac": "c2:11:22:33:44:55\u0000"},
        {"mac": "c" * 300},
        {"mac": 7},
        {"mtu": 20},
        {"mtu": "1300"},
        {"mtu": 1300.5},
        {"mtu": 1 << 40},
        {"promisc": "yes"},
        {"allmulti": 1},
        {"dataDir": 7},
        {"args": {"cni": {"mtu": "1300"}}},
        {"runtimeConfig": {"mac": "zz"}},
        {"prevResult": "none"},
    ],
    ids=str,
)
def test_what_cannot_be_done_is_an_error_that_changes_nothing(host, container, keys):
    before = attributes(container), sysctl(container, SOMAXCONN)
    host.refused(conf(container, **keys), container)
    assert (attributes(container), sysctl(container, SOMAXCONN)) == before


@pytest.mark.ours("the reference lets them pass, or has one code for everything")
@pytest.mark.parametrize(
    ("code", "keys"),
    [
        (7, {"txQLen": -1}),
        (7, {"txQLen": 1 << 40}),
        (7, {"mtu": -1}),
        (7, {"mac": "c2:00:00:00:01"}),
        (7, {"sysctl": {"kernel.shmmax": "1"}}),
        (6, {"txQLen": "many"}),
        (6, {"mtu": True}),
        (6, {"sysctl": {SOMAXCONN: 500}}),
        (7, {"dataDir": "/run/x\u0000y"}),
        (5, {"dataDir": "/run/" + "x" * 300}),
        (5, {"dataDir": "/proc/version"}),
    ],
    ids=str,
)
def test_the_code_tells_what_kind_of_error_it_is(host, container, code, keys):
    before = attributes(container)
    assert host.refused(conf(container, **{"mtu": 1300} | keys), container).code == code
    assert attributes(container) == before


@pytest.mark.parametrize("data", ["/run/" + "x" * 300, "/proc/version"], ids=["long", "file"])
def test_del_with_an_impossible_directory_succeeds(host, container, data):
    host.delete(conf(container, mtu=1300, dataDir=data), container)


def test_an_id_that_is_too_long_for_a_file_is_an_error_that_changes_nothing(host, container):
    before = attributes(container)
    host.refused(conf(container, mtu=1300), container, CNI_CONTAINERID="c" * 300)
    assert attributes(container) == before
