"""cnid: the same calls, run by a warm process; without it, nothing is different but the time."""

import json
import os
import shutil
import signal
import subprocess

import pytest

from cnilib.cnid.client import SOCKET
from tests.frozen.cnid import STATIC, children, listens, system_calls, was_handed_over
from tests.lab.nerdctl import CHAIN, published
from tests.lab.network import Network
from tests.lab.waiting import until

pytestmark = pytest.mark.frozen

SLOW_IPAM = """#!/bin/sh
echo $$ > /run/slow.pid
[ "$CNI_COMMAND" = DEL ] && exit 0
sleep 3
echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.9.0.2/24"}]}'
"""
SLOW = {"cniVersion": "1.0.0", "name": "n", "type": "bridge", "ipam": {"type": "slow"}}


def test_a_call_is_handed_over_and_answers_the_same(host, container, cnid, tmp_path):
    assert was_handed_over(host, container, tmp_path)
    warm = host.add(STATIC, container)
    cnid.terminate()
    cnid.wait()
    assert host.add(STATIC, container) == warm


def test_a_call_that_is_handed_over_starts_no_whole_interpreter(host, container, cnid, tmp_path):
    assert system_calls(host, container, tmp_path).count("execve(") == 1
    cnid.kill()
    cnid.wait()
    assert system_calls(host, container, tmp_path).count("execve(") == 2


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_a_stream_that_the_caller_has_closed_stays_closed(host, container, cnid, closed):
    def run():
        command = f'"{host.binaries}/static" {closed}; echo "status $?"'
        environ = host.environ("ADD", container)
        return host.run("sh", "-c", command, env=environ, input=json.dumps(STATIC))

    warm = run()
    cnid.kill()
    cnid.wait()
    assert run() == warm
    assert "status 1" in warm


def test_an_error_has_the_same_document_and_status(host, container, cnid):
    wrong = STATIC | {"ipam": {"addresses": "x"}}
    warm = host.cni("ADD", wrong, container)
    cnid.kill()
    cnid.wait()
    assert host.cni("ADD", wrong, container) == warm
    assert warm.status == 1


def test_the_socket_is_root_s_alone(host, cnid):
    modes = host.run("stat", "-c", "%a", os.path.dirname(SOCKET), SOCKET).split()
    assert modes == ["700", "600"]


def test_a_dead_socket_is_no_error(host, container, cnid):
    cnid.kill()
    cnid.wait()
    assert listens(host)
    host.add(STATIC, container)


def test_a_socket_nobody_accepts_on_is_no_error(host, container):
    host.run("mkdir", "-p", os.path.dirname(SOCKET))
    deaf = subprocess.Popen(
        host.command(
            *("python3", "-c"),
            "import socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
            f"s.bind({SOCKET!r}); s.listen(8); time.sleep(60)",
        )
    )
    try:
        until(lambda: listens(host))
        host.add(STATIC, container)
    finally:
        deaf.kill()
        deaf.wait()


def test_another_build_runs_its_own_plugins(host, container, start_cnid, copied):
    (old,) = (entry for entry in copied.iterdir() if entry.name.startswith("cni-runtime-"))
    old.rename(copied / "cni-runtime-000000000000")
    for program in copied.iterdir():
        if program.is_file():
            content = program.read_bytes().replace(old.name.encode(), b"cni-runtime-000000000000")
            program.write_bytes(content)
    start_cnid(program=str(copied / "cnid"))
    assert host.add(STATIC, container).addresses == ["10.1.0.2"]


def test_a_second_cnid_says_that_there_is_one(start_cnid):
    start_cnid()
    second = start_cnid()
    assert second.wait(timeout=10) == 1
    assert "another cnid listens" in second.stderr.read()


def test_it_ends_when_nobody_calls(host, start_cnid):
    process = start_cnid("--idle-exit", "1")
    assert process.wait(timeout=10) == 0
    assert not listens(host)


def test_it_steps_aside_when_its_files_are_replaced(host, container, start_cnid, copied):
    process = start_cnid(program=str(copied / "cnid"))
    shutil.copy(copied / "cnid", copied / "new")
    os.rename(copied / "new", copied / "cnid")
    host.add(STATIC, container)
    assert process.wait(timeout=10) == 0


def test_no_descriptor_and_no_zombie_is_left(host, container, cnid):
    before = set(os.listdir(f"/proc/{cnid.pid}/fd"))
    for _ in range(30):
        host.add(STATIC, container)
    until(lambda: children(cnid) == [])
    assert set(os.listdir(f"/proc/{cnid.pid}/fd")) == before


def test_200_calls_at_once_all_get_their_answer(host, container, cnid):
    started = [host.start("ADD", STATIC, container) for _ in range(200)]
    answers = {host.finish(process) for process in started}
    assert len(answers) == 1
    assert next(iter(answers)).addresses == ["10.1.0.2"]


@pytest.fixture
def slow_call(host, container, cnid):
    """A bridge ADD, handed over, whose IPAM plugin takes three seconds."""
    host.write("/run/slow/slow", SLOW_IPAM)
    host.run("chmod", "+x", "/run/slow/slow")
    process = host.start("ADD", SLOW, container, CNI_PATH="/run/slow")
    until(lambda: host.try_run("test", "-s", "/run/slow.pid").returncode == 0)
    return process


def test_a_call_goes_on_when_cnid_is_killed(host, container, cnid, slow_call):
    cnid.kill()
    cnid.wait()
    answer = host.finish(slow_call)
    assert answer.ok, answer
    assert container.addresses() == ["10.9.0.2/24"]


def test_a_call_whose_caller_is_killed_is_undone(host, container, cnid, slow_call):
    slow_call.kill()
    slow_call.communicate()
    until(lambda: children(cnid) == [])
    assert container.links() == {"lo"}
    assert host.ports("cni0") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_call_that_is_terminated_is_undone_before_it_ends(host, container, slow_call, number):
    slow_call.send_signal(number)
    answer = host.finish(slow_call)
    assert (answer.status, answer.code) == (1, 11), answer
    assert container.links() == {"lo"}


def test_a_killed_child_is_told_as_an_error(cnid, slow_call):
    (child,) = children(cnid)
    os.kill(int(child), signal.SIGKILL)
    stdout, _ = slow_call.communicate(timeout=20)
    assert slow_call.returncode == 1
    assert json.loads(stdout)["code"] == 11


def test_a_large_environment_runs_by_itself(host, container, cnid):
    for size in (100_000, 120_000, 130_000):
        assert host.add(STATIC, container, BIG="x" * size).addresses == ["10.1.0.2"]


def test_the_environment_of_one_call_does_not_reach_the_next(host, container, cnid):
    host.add(STATIC, container, CNI_ARGS="IP=10.1.0.9/24")
    assert host.add(STATIC, container).addresses == ["10.1.0.2"]


def test_the_default_chain_works_with_it(host, container, cnid):
    network = Network(host, CHAIN, name="bridge")
    network.add(container, runtime=published(8080, 80))
    assert network.check(container).ok
    network.delete(container, cached=False)
    assert container.links() == {"lo"}
    assert "8080" not in host.rules()
