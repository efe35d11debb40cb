"""firewall: what passes a closed FORWARD chain, and what the administrator says (firewall.md)."""

import os
import re
import shutil

import pytest

from tests.lab.network import Network
from tests.lab.packets import HOST4, OUTSIDE4, OUTSIDE6, Servers, ask, outside_machine

PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}}
PUBLISHED = {"portMappings": [{"hostPort": 18090, "containerPort": 7000, "protocol": "tcp"}]}
BACKENDS = ["iptables", pytest.param("nftables", marks=pytest.mark.ours("no such backend there"))]

newer = pytest.mark.ours("Debian's release of the reference is older")


def bridge(name="cni-red", number=61, **keys):
    """The first plugin of a network on 10.<number>.0.0/24 and fd<number>::/64."""
    ranges = [[{"subnet": f"10.{number}.0.0/24"}], [{"subnet": f"fd{number}::/64"}]]
    ipam = {"type": "host-local", "ranges": ranges}
    ipam["routes"] = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    return {"type": "bridge", "bridge": name, "isGateway": True, "ipam": ipam} | keys


def network(host, *plugins, version="1.0.0", **keys):
    """Network red: bridge, plugins and firewall with these keys."""
    firewall = {"type": "firewall"} | keys
    return Network(host, [bridge(), *plugins, firewall], name="red", version=version)


def rules_with(host, word):
    """The lines of all rules in which a word is."""
    return [line.strip() for line in host.rules().splitlines() if word in line]


def policy(host, target):
    for tool in ("iptables", "ip6tables"):
        host.run(tool, "-P", "FORWARD", target)


@pytest.fixture
def serve():
    """Start servers that end with the test."""
    servers = Servers()
    yield servers.start
    servers.close()


@pytest.fixture
def outside(host):
    """A machine beyond the host, which forwards nothing by itself."""
    machine = outside_machine(host)
    policy(host, "DROP")
    return machine


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def test_a_closed_host_lets_the_container_out_and_nobody_in(host, container, outside, backend):
    red = network(host, backend=backend)
    closed = Network(host, red.plugins[:1], name="red")
    closed.add(container)
    assert not container.pings(OUTSIDE4)
    closed.delete(container)
    red.add(container)
    assert container.addresses() == ["10.61.0.3/24", "fd61::3/64"]
    for inner, outer in (("10.61.0.3", OUTSIDE4), ("fd61::3", OUTSIDE6)):
        assert container.pings(outer)
        assert not outside.pings(inner)


@pytest.mark.ours("the reference accepts replies only (plugins#430)")
def test_a_closed_host_lets_published_ports_in(host, container, outside, serve, backend):
    network(host, PORTMAP, backend=backend).add(container, runtime=PUBLISHED)
    serve(container, "red")
    assert ask(outside, HOST4, 18090) == ("red", OUTSIDE4)
    assert ask(outside, "10.61.0.2", 7000) is None


def test_del_closes_the_firewall(host, container, outside, backend):
    red = network(host, backend=backend)
    result = red.add(container)
    firewall = red.conf(red.plugins[-1], result)
    for _ in range(2):
        host.delete(firewall, container)
        assert not container.pings(OUTSIDE4)
        assert rules_with(host, "10.61.0.2") == []
        assert rules_with(host, "fd61::2") == []


@pytest.mark.parametrize("netns", ["", "/run/netns/gone"])
def test_del_needs_no_namespace(host, container, backend, netns):
    red = network(host, backend=backend)
    result = red.add(container)
    container.vanish()
    host.delete(red.conf(red.plugins[-1], result), container, CNI_NETNS=netns)
    assert rules_with(host, "10.61.0.2") == []


@pytest.mark.ours("the reference finds its rules by prevResult alone")
def test_del_needs_no_result(host, container, backend):
    red = network(host, backend=backend)
    red.add(container)
    host.delete(red.conf(red.plugins[-1]), container)
    assert rules_with(host, "10.61.0.2") == []


@pytest.mark.ours("rules are of an address there, not of a container")
def test_del_spares_the_container_that_has_the_address_now(host, container, outside, backend):
    red = network(host, backend=backend)
    result = red.add(container)
    conf = red.conf(red.plugins[-1], result)
    dead = host.container()
    host.add(conf, dead)
    host.add(conf, container)
    host.delete(conf, dead)
    assert container.pings(OUTSIDE4)
    assert host.cni("CHECK", conf, container).ok


def test_all_addresses_of_the_result_are_opened(host, container, backend):
    red = network(host, backend=backend)
    result = red.add(container)
    more = {"address": "10.61.0.77/24"}
    host.add(red.conf(red.plugins[-1], result | {"ips": [*result["ips"], more]}), container)
    assert rules_with(host, "10.61.0.77") != []


@pytest.mark.parametrize("name", ["CNI-ADMIN", "MY-RULES"])
def test_the_administrator_s_chain_wins_and_survives(host, container, outside, backend, name):
    keys = {} if name == "CNI-ADMIN" else {"iptablesAdminChainName": name}
    red = network(host, backend=backend, **keys)
    red.add(container)
    host.run("iptables", "-I", name, "-p", "icmp", "-d", OUTSIDE4, "-j", "DROP")
    assert not container.pings(OUTSIDE4)
    red.delete(container)
    red.add(container)
    assert not container.pings(OUTSIDE4)
    host.run("iptables", "-F", name)
    assert container.pings(OUTSIDE4)


def test_a_chain_of_the_administrator_that_is_there_is_kept(host, container, outside, backend):
    host.run("iptables", "-N", "CNI-ADMIN")
    host.run("iptables", "-A", "CNI-ADMIN", "-p", "icmp", "-d", OUTSIDE4, "-j", "DROP")
    network(host, backend=backend).add(container)
    assert not container.pings(OUTSIDE4)
    assert OUTSIDE4 in host.run("iptables", "-S", "CNI-ADMIN")


def test_an_administrator_s_accept_lets_others_in(host, container, outside, backend):
    network(host, backend=backend).add(container)
    assert not outside.pings("10.61.0.2")
    host.run("iptables", "-I", "CNI-ADMIN", "-d", "10.61.0.2", "-j", "ACCEPT")
    assert outside.pings("10.61.0.2")


def test_every_tool_can_still_read_the_rules(host, container, backend):
    red = network(host, PORTMAP, backend=backend, ingressPolicy="same-bridge")
    red.add(container, runtime=PUBLISHED)
    for tool in ("iptables-save", "ip6tables-save"):
        done = host.try_run(tool)
        assert done.returncode == 0
        assert "incompatible" not in done.stdout + done.stderr
    host.run("nft", "list", "ruleset")


@pytest.fixture
def checked(host, container, backend):
    """A network with a container in it that was checked once."""
    red = network(host, backend=backend)
    red.add(container)
    answer = red.check(container)
    assert (answer.ok, answer.stdout) == (True, "")
    return red


@pytest.mark.parametrize(
    "damage", ["iptables -F", "iptables -F FORWARD", "iptables -F CNI-FORWARD"]
)
def test_check_tells_lost_jumps_and_makes_none(host, checked, container, damage):
    host.run(*damage.split())
    before = host.run("iptables", "-S")
    assert checked.check(container).code == 999
    assert host.run("iptables", "-S") == before


@pytest.mark.ours("the reference has no tables of its own")
def test_check_tells_a_lost_table(host, checked, container):
    host.run("nft", "delete", "table", "ip", "cni_plugins")
    assert checked.check(container).code == 999


def test_check_after_del_is_an_error(host, checked, container):
    result, _ = checked.results[container.id, "eth0"]
    conf = checked.conf(checked.plugins[-1], result)
    host.delete(conf, container)
    assert host.cni("CHECK", conf, container).code == 999


def test_add_repairs_what_somebody_flushed(host, checked, container, outside):
    host.run("iptables", "-F")
    result, _ = checked.results[container.id, "eth0"]
    host.add(checked.conf(checked.plugins[-1], result), container)
    assert container.pings(OUTSIDE4)
    assert checked.check(container).ok


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
def test_the_result_so_far_is_handed_on(host, container, version):
    red = network(host, version=version)
    before = host.add(red.conf(red.plugins[0]), container).json
    assert host.add(red.conf(red.plugins[-1], before), container).json == before


@pytest.mark.ours("GC of the reference does nothing")
def test_gc_closes_what_has_no_container(host, outside, backend):
    red = network(host, backend=backend, version="1.1.0")
    other = Network(host, [bridge("cni-blue", 62), red.plugins[-1]], name="blue", version="1.1.0")
    kept, lost, blue = host.container(), host.container(), host.container()
    red.add(lost)
    red.add(kept)
    other.add(blue)
    red.collect(kept)
    assert rules_with(host, "10.61.0.2") == []
    assert kept.pings(OUTSIDE4)
    assert blue.pings(OUTSIDE4)


@newer
def test_status_has_nothing_to_say(host):
    answer = host.cni("STATUS", {"cniVersion": "1.1.0", "name": "red", "type": "firewall"})
    assert (answer.status, answer.stdout) == (0, "")


@pytest.mark.parametrize("version", ["0.3.1", "0.2.0", "9.0.0"])
@pytest.mark.parametrize("command", ["ADD", "CHECK", "DEL"])
def test_a_version_without_a_result_at_del_is_refused(host, container, command, version):
    conf = {"cniVersion": version, "name": "red", "type": "firewall"}
    assert host.refused(conf, container, command).code == 1


def test_version_tells_what_it_can(host):
    versions = host.cni("VERSION", {"cniVersion": "1.0.0"}, plugin="firewall").json
    assert versions["supportedVersions"][:2] == ["0.4.0", "1.0.0"]


PREVIOUS = {
    "cniVersion": "1.0.0",
    "interfaces": [{"name": "cni-red"}, {"name": "eth0", "sandbox": "/run/netns/x"}],
    "ips": [{"address": "10.61.0.2/24", "interface": 1}],
}


@pytest.mark.parametrize("command", ["ADD", "CHECK"])
def test_the_result_so_far_is_needed(host, container, command):
    conf = {"cniVersion": "1.0.0", "name": "red", "type": "firewall"}
    host.refused(conf, container, command)


@pytest.mark.ours("the reference notices after it has written rules")
@pytest.mark.parametrize(
    ("code", "keys"),
    [
        (7, {"ingressPolicy": "green"}),
        (7, {"ingressPolicy": "isolated\n"}),
        (7, {"ingressPolicy": "same-bridge", "prevResult": PREVIOUS | {"interfaces": []}}),
        (7, {"iptablesAdminChainName": "x" * 29}),
        (7, {"iptablesAdminChainName": "x" * 300}),
        (7, {"iptablesAdminChainName": "A\nB"}),
        (7, {"iptablesAdminChainName": "A\0B"}),
        (7, {"iptablesAdminChainName": "A B; flush ruleset"}),
        (6, {"iptablesAdminChainName": 7}),
        (6, {"ingressPolicy": ["open"]}),
        (6, {"backend": {}}),
        (6, {"prevResult": "none"}),
        (6, {"prevResult": PREVIOUS | {"ips": [{"address": 7}]}}),
        (7, {"prevResult": PREVIOUS | {"ips": [{"address": "10.61.0.2/24\n"}]}}),
    ],
    ids=str,
)
def test_a_bad_configuration_opens_nothing_and_does_not_block_del(host, container, code, keys):
    before = host.run("nft", "list", "ruleset")
    conf = {"cniVersion": "1.0.0", "name": "red", "type": "firewall", "prevResult": PREVIOUS} | keys
    assert host.refused(conf, container).code == code
    assert host.run("nft", "list", "ruleset") == before
    if "prevResult" not in keys:
        host.delete(conf, container)


@pytest.mark.parametrize(
    "backend", ["", "iptabels", "x\0\n" * 100], ids=["none", "typo", "hostile"]
)
def test_an_unknown_backend_is_chosen_for_the_host(host, container, outside, backend):
    network(host, backend=backend).add(container)
    assert container.pings(OUTSIDE4)


@pytest.mark.ours("both iptables tools are needed there (plugins#461)")
def test_a_host_whose_iptables_is_broken_is_no_obstacle(host, container, outside):
    for program in {os.path.realpath(shutil.which(name)) for name in ("iptables", "ip6tables")}:
        host.run("mount", "--bind", "/dev/null", program)
    red = network(host)
    red.add(container)
    assert container.pings(OUTSIDE4)
    assert red.check(container).ok
    red.delete(container)
    assert "10.61.0.2" not in host.run("nft", "list", "ruleset")


@pytest.mark.ours("iptables refuses such a table (plugins#461)")
def test_rules_that_iptables_cannot_read_are_no_obstacle(host, container, outside):
    host.run("nft", "add rule ip filter FORWARD ct state invalid counter")
    network(host).add(container)
    assert container.pings(OUTSIDE4)


@pytest.mark.ours("nerdctl reads a version that knows all policies")
def test_without_an_environment_the_version_is_told_to_nerdctl(host):
    everything = dict.fromkeys(host.environ("ADD"))
    answer = host.cni("ADD", "", plugin="firewall", **everything)
    (version,) = re.findall(r"CNI firewall plugin v(\d+)\.(\d+)\.(\d+)", answer.stderr)
    assert tuple(map(int, version)) >= (1, 9, 1)


def test_names_of_any_length_are_opened_and_forgotten(host, container, outside):
    red = network(host)
    conf = red.conf(red.plugins[-1], host.add(red.conf(red.plugins[0]), container).json)
    conf, environ = conf | {"name": "n" * 300}, {"CNI_CONTAINERID": "c" * 300}
    host.add(conf, container, **environ)
    assert container.pings(OUTSIDE4)
    host.delete(conf, container, **environ)
    assert [rules_with(host, word) for word in ("10.61.0.2", "ccccc", "nnnnn")] == [[], [], []]
