"""portmap: CHECK, one owner for a port, and configurations that are refused (portmap.md)."""

import os

import pytest

from tests.lab.packets import HOST4, Servers, ask, outside_machine
from tests.scenarios.test_portmap import (
    BACKENDS,
    BRIDGE,
    ROUTE_LOCALNET,
    WEB,
    Site,
    forwards,
    network_of,
    newer,
)

REFERENCE = "/usr/lib/cni"


@pytest.fixture
def serve():
    """Start servers that end with the test."""
    servers = Servers()
    yield servers.start
    servers.close()


@pytest.fixture
def outside(host):
    return outside_machine(host)


@pytest.fixture
def web(host, container):
    """A container on the bridge that publishes nothing yet."""
    network = network_of(host)
    result = host.add(network.conf(BRIDGE), container).json
    network.results[container.id, "eth0"] = (result, {"portMappings": [WEB]})
    return Site(network, container)


def without_conf(conf, *names):
    return {name: value for name, value in conf.items() if name not in names}


@pytest.mark.ours("the reference looks for rules that it had no reason to make")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "keys",
    [{}, {"snat": False}, {"masqAll": True}, {"conditionsV4": ["-s", "192.0.2.50"]}],
    ids=["plain", "no snat", "masqAll", "conditions"],
)
def test_check_succeeds_after_add(host, web, backend, keys):
    conditions = keys.get("conditionsV4")
    if conditions and backend.get("backend") == "nftables":
        keys = {"conditionsV4": ["ip", "saddr", "192.0.2.50"]}
    conf = web.conf | backend | keys
    host.add(conf, web.container)
    answer = host.cni("CHECK", conf, web.container)
    assert (answer.status, answer.stdout) == (0, "")


DAMAGES = [
    ("iptables", "iptables -t nat -F CNI-HOSTPORT-DNAT"),
    ("iptables", "iptables -t nat -F"),
    pytest.param("nftables", "nft flush map ip cni_plugins hp_any", marks=newer),
    pytest.param("nftables", "nft flush chain ip cni_plugins nat_pre", marks=newer),
    pytest.param("nftables", "nft flush set ip cni_plugins snat_dst", marks=newer),
    pytest.param("nftables", "nft delete table ip6 cni_plugins", marks=newer),
    pytest.param("nftables", "nft flush ruleset", marks=newer),
]


@pytest.mark.parametrize(("backend", "damage"), DAMAGES)
def test_check_tells_lost_rules(host, web, backend, damage):
    conf = web.conf | {"backend": backend}
    host.add(conf, web.container)
    host.run(*damage.split())
    assert host.refused(conf, web.container, "CHECK").code == 999


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("damage", ["nft flush ruleset", "nft flush map ip cni_plugins hp_any"])
def test_del_and_add_work_after_lost_rules(host, web, outside, serve, backend, damage):
    conf = web.conf | backend
    host.add(conf, web.container)
    host.try_run(*damage.split())
    host.add(conf, web.container)
    serve(web.container, "web")
    assert ask(outside, HOST4, 18080).tag == "web"
    host.try_run(*damage.split())
    host.delete(conf, web.container)
    assert not forwards(host, "18080", "10.60.0.2")


@pytest.mark.parametrize("backend", BACKENDS)
def test_check_after_del_is_an_error(host, web, backend):
    conf = web.conf | backend
    host.add(conf, web.container)
    host.delete(conf, web.container)
    assert host.refused(conf, web.container, "CHECK").code == 999


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_mappings_nothing_is_touched(host, web, backend):
    before = host.run("nft", "list", "ruleset")
    for runtime in ({}, {"portMappings": []}, {"portMappings": None}):
        conf = web.conf | backend | {"runtimeConfig": runtime}
        assert host.add(conf, web.container).json == web.conf["prevResult"]
        assert host.cni("CHECK", conf, web.container).ok
        host.delete(conf, web.container)
    assert host.run("nft", "list", "ruleset") == before
    assert host.sysctl(ROUTE_LOCALNET) == "0"


@pytest.mark.ours("the newer one is never told, and never gets the port")
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_older_owner_keeps_a_port_that_the_newer_inherits(host, web, outside, serve, backend):
    network, newcomer = network_of(host, **backend), host.container()
    host.add(web.conf | backend, web.container)
    network.add(newcomer, runtime={"portMappings": [WEB]})
    claim = host.cni("ADD", Site(network, newcomer).conf, newcomer)
    assert f"published by {web.container.id} of network web" in claim.stderr
    serve(web.container, "older")
    serve(newcomer, "newer")
    assert ask(outside, HOST4, 18080).tag == "older"
    host.delete(web.conf | backend, web.container)
    assert ask(outside, HOST4, 18080).tag == "newer"
    network.delete(newcomer)
    assert not forwards(host, "18080")


@pytest.mark.ours("the reference has no portConflict")
def test_a_conflict_is_an_error_where_that_is_asked(host, web):
    network, newcomer = network_of(host, portConflict="fail"), host.container()
    host.add(web.conf, web.container)
    answer = network.try_add(newcomer, runtime={"portMappings": [WEB]})
    assert answer.code == 7
    assert f"published by {web.container.id} of network web" in answer.msg
    assert not forwards(host, "10.60.0.3")


def enter_by_127(container):
    """Send what goes to 127.0.0.1 to the host instead."""
    for words in (
        "route add table local local 10.99.0.1 dev lo",
        "route del table local local 127.0.0.0/8 dev lo",
        "route del table local local 127.0.0.1 dev lo",
        "route add 127.0.0.0/8 via 10.60.0.1 src 10.60.0.2",
    ):
        container.try_run("ip", *words.split())
    container.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet")


@pytest.mark.ours("the reference opens the host's localhost to the bridge")
@pytest.mark.parametrize("end", ["running", "DEL", "GC", "DEL without records"])
def test_route_localnet_opens_localhost_to_nobody(host, web, serve, end):
    serve(host, "host", 7777)
    host.add(web.conf, web.container)
    if "records" in end:
        host.run("rm", "-r", "/run/cni/cni_plugins")
    if "DEL" in end:
        host.delete(web.conf, web.container)
    elif end == "GC":
        assert host.cni("GC", web.conf | {"cniVersion": "1.1.0"}).ok
    enter_by_127(web.container)
    assert host.sysctl(ROUTE_LOCALNET) == "1"
    assert ask(web.container, "127.0.0.1", 7777) is None
    assert ask(host, "127.0.0.1", 7777).tag == "host"


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"])
def test_every_version_is_served(host, container, outside, serve, version):
    network = network_of(host, version=version)
    result = network.add(container, runtime={"portMappings": [WEB]})
    assert ("ip4" in result) == (version < "0.3")
    serve(container, "web")
    assert ask(outside, HOST4, 18080).tag == "web"
    network.delete(container)
    assert not forwards(host, "18080", "10.60.0.2")


@pytest.mark.parametrize(
    ("command", "version"),
    [("ADD", "9.0.0"), ("CHECK", "0.3.1"), pytest.param("GC", "1.0.0", marks=newer)],
)
def test_a_version_without_the_command_is_refused(host, web, command, version):
    conf = web.conf | {"cniVersion": version}
    assert host.refused(conf, web.container, command).code == 1


@newer
def test_status_has_nothing_to_say(host):
    answer = host.cni("STATUS", {"cniVersion": "1.1.0", "name": "web", "type": "portmap"})
    assert (answer.status, answer.stdout) == (0, "")


@pytest.mark.parametrize("command", ["ADD", "CHECK"])
@pytest.mark.parametrize("mappings", [[], [WEB]], ids=["no ports", "a port"])
def test_the_result_so_far_is_needed(host, web, command, mappings):
    conf = web.conf | {"runtimeConfig": {"portMappings": mappings}}
    host.refused(without_conf(conf, "prevResult"), web.container, command)


@pytest.mark.parametrize("name", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"])
def test_a_missing_variable_is_named(host, web, name):
    answer = host.refused(web.conf, web.container, **{name: None})
    assert answer.code == 4
    assert name in answer.msg + answer.json.get("details", "")


@pytest.mark.parametrize("plugin", ["portmap", "firewall", "tuning"])
@pytest.mark.parametrize("container_id", ["../x", "a/b", "", "x\ny", ".x", "ü"])
def test_a_hostile_container_id_is_refused(host, web, plugin, container_id):
    environ = {"CNI_CONTAINERID": container_id, "plugin": plugin}
    assert host.refused(web.conf, web.container, **environ).code == 4


def test_names_of_any_length_are_served_and_forgotten(host, web, outside, serve):
    conf, environ = web.conf | {"name": "n" * 300}, {"CNI_CONTAINERID": "c" * 300}
    host.add(conf, web.container, **environ)
    serve(web.container, "web")
    assert ask(outside, HOST4, 18080).tag == "web"
    host.delete(conf, web.container, **environ)
    assert not forwards(host, "18080", "10.60.0.2", "ccccc")


def mapping(**keys):
    return {"runtimeConfig": {"portMappings": [WEB | keys]}}


BAD = [
    {"markMasqBit": 40},
    {"markMasqBit": -1},
    {"markMasqBit": 3, "externalSetMarkChain": "MARK-IT"},
    {"externalSetMarkChain": "MISSING"},
    mapping(hostPort=0),
    mapping(hostPort=-1),
    mapping(containerPort=0),
    mapping(hostPort="18080"),
    mapping(hostPort=18080.5),
    mapping(protocol="icmp"),
    mapping(protocol="tcp\n"),
    mapping(protocol="t" * 300),
    {"runtimeConfig": {"portMappings": {"hostPort": 1}}},
    {"runtimeConfig": {"portMappings": [7]}},
    {"conditionsV4": "-s 192.0.2.50"},
    {"snat": "no"},
    {"prevResult": {"cniVersion": "1.0.0", "ips": [{"address": "10.60.0.2\0"}]}},
]


@pytest.mark.parametrize("keys", BAD, ids=str)
def test_what_cannot_be_published_is_an_error(host, web, keys):
    host.refused(web.conf | keys, web.container)


@pytest.mark.ours("the reference lets it pass, leaves rules, or has one code for everything")
@pytest.mark.parametrize(
    ("code", "keys"),
    [
        (7, {"backend": "pf"}),
        (7, {"backend": "iptables\0"}),
        (7, {"backend": "nftables", "conditionsV4": ["-s", "192.0.2.50"]}),
        (7, {"backend": "iptables", "conditionsV4": ["ip", "saddr", "192.0.2.50"]}),
        (7, {"conditionsV4": ["-s", "192.0.2.50"], "conditionsV6": ["ip6", "saddr", "fd00::1"]}),
        (7, {"conditionsV4": ["ip", "saddr", "192.0.2.50; flush ruleset"]}),
        (7, {"conditionsV4": ["-s", "192.0.2.50\n-A INPUT -j DROP"]}),
        (7, {"conditionsV4": ["-s", "x\0y"]}),
        (7, {"conditionsV4": [""]}),
        (7, {"externalSetMarkChain": "x" * 300}),
        (7, {"externalSetMarkChain": "A\nB"}),
        (7, {"markMasqBit": 40}),
        (7, mapping(hostPort=0)),
        (7, mapping(hostPort=65536)),
        (7, mapping(containerPort=70000)),
        (7, mapping(hostIP="nowhere")),
        (7, mapping(hostIP="192.0.2.1\n")),
        (7, mapping(hostIP="1\0")),
        (7, mapping(hostIP="x" * 300)),
        (7, mapping(protocol="icmp")),
        (6, mapping(hostPort="18080")),
        (6, mapping(hostPort=True)),
        (6, {"runtimeConfig": {"portMappings": [7]}}),
        (6, {"conditionsV4": "-s 192.0.2.50"}),
        (6, {"snat": "no"}),
        (6, {"markMasqBit": "13"}),
    ],
    ids=str,
)
def test_a_bad_configuration_publishes_nothing_and_does_not_block_del(host, web, code, keys):
    before = host.run("nft", "list", "ruleset")
    assert host.refused(web.conf | keys, web.container).code == code
    assert host.run("nft", "list", "ruleset") == before
    assert host.sysctl(ROUTE_LOCALNET) == "0"
    host.delete(web.conf | keys, web.container)


@pytest.mark.ours("the reference has no default for a protocol, and some of its backends a case")
@pytest.mark.parametrize("protocol", ["", "TCP", "Tcp"])
def test_a_protocol_is_tcp_in_any_case(host, web, outside, serve, protocol):
    host.add(web.conf | mapping(protocol=protocol), web.container)
    serve(web.container, "web")
    assert ask(outside, HOST4, 18080).tag == "web"


@pytest.mark.ours("the reference keeps silent")
def test_a_mapping_that_fits_no_address_is_told(host, container):
    network = network_of(host)
    ipam = {"type": "host-local", "subnet": "10.60.0.0/24"}
    before = host.add(network.conf(BRIDGE | {"ipam": ipam}), container).json
    conf = network.conf(network.plugins[-1], before) | mapping(hostIP="::")
    assert "18080" in host.add(conf, container).stderr


@pytest.mark.skipif(not os.path.exists(f"{REFERENCE}/portmap"), reason="no reference plugins")
@pytest.mark.ours("it is about a node that switches")
def test_what_the_reference_published_is_taken_back(host, web, outside, serve):
    ours, host.binaries = host.binaries, REFERENCE
    host.add(web.conf, web.container)
    serve(web.container, "web")
    assert ask(outside, HOST4, 18080).tag == "web"
    host.binaries = ours
    host.delete(web.conf, web.container, CNI_NETNS="")
    assert ask(outside, HOST4, 18080) is None
    assert not forwards(host, "18080", "10.60.0.2", "fd60::2", "CNI-DN-")
