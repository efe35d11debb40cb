"""What must not go wrong when something else does: many at once, killed, full, hostile."""

import json
import signal
import subprocess
import time

import pytest

from tests.lab.nerdctl import CHAIN, LEASES, published
from tests.lab.network import Network
from tests.scenarios.test_default_chain import nothing_left

MANY = 40


@pytest.fixture
def network(host):
    return Network(host, CHAIN, name="bridge")


def all_at_once(host, command, calls):
    """Run one plugin for many containers at the same time."""
    started = [host.start(command, conf, container) for container, conf in calls]
    return [host.finish(process) for process in started]


def test_many_containers_at_once_come_and_go(host, network):
    containers = [host.container() for _ in range(MANY)]
    results = dict.fromkeys(containers)
    for plugin in network.plugins:
        calls = [
            (container, network.conf(plugin, results[container], published(8000 + number, 80)))
            for number, container in enumerate(containers)
        ]
        answers = all_at_once(host, "ADD", calls)
        assert [answer.msg for answer in answers if not answer.ok] == []
        results = {c: answer.json for c, answer in zip(containers, answers, strict=True)}
    addresses = {result["ips"][0]["address"] for result in results.values()}
    assert len(addresses) == MANY
    assert containers[0].pings(results[containers[-1]]["ips"][0]["address"].split("/")[0])
    for plugin in reversed(network.plugins):
        calls = [
            (container, network.conf(plugin, results[container], published(8000 + number, 80)))
            for number, container in enumerate(containers)
        ]
        answers = all_at_once(host, "DEL", calls)
        assert [answer.msg for answer in answers if not answer.ok] == []
    nothing_left(host)
    assert "10.4.0." not in host.rules().replace("10.4.0.0/24", "")


@pytest.mark.ours("the reference leaves what it had made")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.2, 0.3])
def test_an_interrupted_add_is_undone_or_complete(host, network, number, delay):
    container = host.container()
    conf = network.conf(network.plugins[0])
    process = host.start("ADD", conf, container)
    time.sleep(delay)
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=30)
    if process.returncode == 0:
        assert container.addresses() == ["10.4.0.2/24"]
    else:
        assert container.links() == {"lo"}
        assert "10.4.0.2" not in host.rules()
    assert process.returncode in {0, 1, -number}, stdout


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.2, 0.3])
def test_a_killed_add_is_cleaned_by_del_and_blocks_nobody(host, network, delay):
    container, second = host.container(), host.container()
    process = host.start("ADD", network.conf(network.plugins[0]), container)
    time.sleep(delay)
    process.kill()
    process.communicate(timeout=30)
    network.delete(container, cached=False)
    network.add(second)
    network.delete(second)
    nothing_left(host)


@pytest.mark.ours("GC of the reference does nothing")
def test_gc_spares_what_was_added_after_it_had_started(host):
    """Its list of valid attachments is older than the container (two runtimes on one host)."""
    network = Network(host, CHAIN, name="bridge", version="1.1.0")
    lost, young = host.container(), host.container()
    network.add(lost, runtime=published(8081, 80))
    collectors = [(plugin, _waiting_for_stdin(host, plugin)) for plugin in network.plugins]
    network.add(young, runtime=published(8080, 80))
    for plugin, process in collectors:
        conf = network.conf(plugin) | {"cni.dev/valid-attachments": []}
        stdout, stderr = process.communicate(json.dumps(conf), timeout=30)
        assert (process.returncode, stdout) == (0, ""), stderr
    assert "10.4.0.2" not in host.listdir(LEASES)
    assert "8081" not in host.rules()
    assert network.check(young).ok


def _waiting_for_stdin(host, plugin):
    process = subprocess.Popen(
        host.command(f"{host.binaries}/{plugin['type']}"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=host.environ("GC"),
    )
    for _ in range(200):
        with open(f"/proc/{process.pid}/wchan", encoding="ascii") as file:
            asleep_in = file.read()  # a function of the kernel, proc(5)
        if "pipe" in asleep_in or "unix" in asleep_in:  # cnid's client waits on a socket
            break
        time.sleep(0.01)
    return process


@pytest.mark.ours("the reference leaves links behind when the address cannot be written down")
def test_a_full_disk_is_an_error_that_leaves_nothing(host, network):
    host.run("mkdir", "-p", "/var/lib/cni/networks")
    host.run("mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=3", "tmpfs", "/var/lib/cni/networks")
    container = host.container()
    answer = network.try_add(container)
    assert not answer.ok
    assert "space" in answer.msg.lower() + answer.json.get("details", "").lower()
    assert container.links() == {"lo"}
    host.run("umount", "/var/lib/cni/networks")
    network.add(container)


@pytest.mark.ours("the reference keeps no records")
def test_a_full_run_directory_is_an_error_that_leaves_nothing(host, network):
    host.run("mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=2", "tmpfs", "/run/cni")
    container = host.container()
    answer = network.try_add(container, runtime=published(8080, 80))
    assert not answer.ok
    assert "/run/cni" in answer.msg + answer.json.get("details", "")
    host.run("umount", "/run/cni")
    network.delete(container, cached=False)
    nothing_left(host)


@pytest.mark.parametrize("name", ["../x", "a/b", "", "x\ny", "x\0y", " ", "-x", "ü"])
@pytest.mark.parametrize("plugin", ["bridge", "host-local", "portmap", "firewall", "tuning"])
def test_a_hostile_network_name_is_refused(host, plugin, name):
    conf = {"cniVersion": "1.0.0", "name": name, "type": plugin}
    answer = host.cni("ADD", conf, host.container())
    assert answer.code == 7


@pytest.mark.parametrize("container_id", ["../x", "a/b", "", "x\ny", ".x", "ü"])
@pytest.mark.parametrize("plugin", ["bridge", "host-local", "loopback"])
def test_a_hostile_container_id_is_refused(host, plugin, container_id):
    conf = {"cniVersion": "1.0.0", "name": "n", "type": plugin}
    answer = host.cni("ADD", conf, host.container(), CNI_CONTAINERID=container_id)
    assert answer.code == 4


@pytest.mark.parametrize("ifname", ["..", "a/b", "", "x\ny", "a:b", "x" * 16, "x" * 300])
def test_a_hostile_interface_name_is_refused(host, ifname):
    conf = {"cniVersion": "1.0.0", "name": "n", "type": "bridge"}
    answer = host.cni("ADD", conf, host.container(), ifname=ifname)
    assert answer.code == 4


@pytest.mark.ours("the reference takes what its decoder can make of it")
@pytest.mark.parametrize("stdin", ["", "{", "[]", "null", "7", '"x"', "\x00", '{"name": "n"} x'])
@pytest.mark.parametrize("plugin", ["bridge", "host-local", "portmap"])
def test_input_that_is_no_object_is_an_error_document(host, plugin, stdin):
    answer = host.cni("ADD", stdin, host.container(), plugin=plugin)
    assert answer.code in {6, 7}


@pytest.mark.ours("the reference has no limit")
def test_names_of_the_longest_length_work(host):
    container = host.container("c" * 128)
    conf = CHAIN[0] | {"macspoofchk": True}
    network = Network(host, [conf, *CHAIN[1:]], name="n" * 128)
    network.add(container, runtime=published(8080, 80))
    assert network.check(container).ok
    network.delete(container)
    assert "c" * 100 not in host.rules()


def test_leases_survive_a_del_that_fails_elsewhere(host, network):
    """DEL goes on after a failure: the address is released although the namespace is a file."""
    container = host.container()
    network.add(container)
    host.write("/run/no-namespace", "")
    conf = network.conf(network.plugins[0])
    answer = host.cni("DEL", conf, container, CNI_NETNS="/run/no-namespace")
    assert not answer.ok
    assert "/run/no-namespace" in answer.msg
    host.delete(conf, container)
    assert host.listdir(LEASES) <= {"lock", "last_reserved_ip.0"}
