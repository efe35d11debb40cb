"""Who may hand a call over to cnid, and that the call then runs as if the caller ran it."""

import json
import marshal
import os
import socket
import stat
import subprocess
import sys

import pytest

from cnilib.cnid.client import PLACES, READY, SOCKET
from tests.frozen.cnid import children, listens, was_handed_over
from tests.lab.waiting import until
from tools.install import runtime_of

pytestmark = pytest.mark.frozen

CURIOUS = """#!/bin/sh
[ "$CNI_COMMAND" = DEL ] && exit 0
{ pwd; ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> .*/\\1/p' | xargs
  env | grep -v '^\\(PWD\\|CNI_NETNS\\|SHLVL\\|_\\|OLDPWD\\)=' | sort; } > /run/seen
touch /run/made
echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.9.0.2/24"}]}'
"""
"""An IPAM plugin that writes down what it was started with."""

OTHERS = {
    "another user namespace": ["unshare", "--user", "--map-root-user"],
    "another pid namespace": ["unshare", "--pid", "--fork"],
    "no root": ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
    "fewer capabilities": ["setpriv", "--bounding-set=-net_admin"],
    "one that wants to": ["env", "CNI_PLUGIN_CNID=off"],
}


@pytest.fixture
def curious(host):
    """ADD of a bridge through the IPAM plugin that looks around; what it saw."""
    host.write("/run/plugins/curious", CURIOUS)
    host.run("chmod", "+x", "/run/plugins/curious")
    conf = {"cniVersion": "1.0.0", "name": "n", "type": "bridge", "ipam": {"type": "curious"}}

    def run(container, *prefix, path="/run/plugins", **environ):
        done = subprocess.run(
            host.command(*prefix, f"{host.binaries}/bridge"),
            input=json.dumps(conf),
            env=host.environ("ADD", container, CNI_PATH=path, **environ),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done
        return host.read("/run/seen").splitlines()

    return run


@pytest.mark.parametrize("who", OTHERS)
def test_a_caller_that_cnid_cannot_stand_in_for_runs_by_itself(
    host, container, cnid, tmp_path, who
):
    tmp_path.chmod(0o777)
    assert not was_handed_over(host, container, tmp_path, *OTHERS[who])
    assert was_handed_over(host, container, tmp_path)


def test_a_program_under_another_plugin_s_name_is_what_it_was(
    host, container, cnid, tmp_path, copied
):
    (copied / "static").replace(copied / "host-local")
    assert was_handed_over(host, container, tmp_path, program=str(copied / "host-local"))


def test_a_caller_s_library_path_is_no_hindrance(host, container, cnid, tmp_path):
    assert was_handed_over(host, container, tmp_path, "env", "LD_LIBRARY_PATH=/nowhere")


def test_delegates_see_the_caller_s_directory_environment_and_descriptors(host, cnid, curious):
    prefix = ("sh", "-c", 'cd /run/netns && umask 027 && exec "$@"', "sh")
    warm = curious(host.container("c1"), *prefix, STRANGE="value")
    cnid.kill()
    cnid.wait()
    assert warm[0] == "/run/netns"
    assert "STRANGE=value" in warm
    assert warm == curious(host.container("c1"), *prefix, STRANGE="value")


def test_files_get_the_caller_s_mask(host, container, cnid, curious):
    curious(container, "sh", "-c", 'umask 027 && exec "$@"', "sh")
    mode = host.run("stat", "-c", "%a", "/run/made").strip()
    assert mode == f"{0o666 & ~0o027:o}"


def test_a_caller_s_own_mounts_are_seen(host, container, cnid, curious):
    hide = 'mount -t tmpfs none /mnt && cp -r /run/plugins /mnt/only-here && exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-c", hide, "sh")
    assert curious(container, *prefix, path="/mnt/only-here")


def test_a_caller_s_root_directory_is_its_root(host, container, cnid, curious):
    host.run("sh", "-c", "mkdir /run/jail && mount --rbind / /run/jail")
    host.run("sh", "-c", "mount -t tmpfs none /run/jail/mnt")
    host.run("cp", "-r", "/run/plugins", "/run/jail/mnt/in-jail")
    assert curious(container, "chroot", "/run/jail", path="/mnt/in-jail")


def test_systemd_may_hold_the_socket(host, container, suite, tmp_path):
    """The protocol of sd_listen_fds(3): descriptor 3, and LISTEN_PID is the server's own."""
    activate = (
        "import os, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        f"os.makedirs(os.path.dirname({SOCKET!r}), mode=0o700)\n"
        f"s.bind({SOCKET!r}); s.listen(64); os.dup2(s.fileno(), 3); os.set_inheritable(3, True)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    words = host.command(sys.executable, "-c", activate, f"{suite}/cnid")
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        until(lambda: listens(host))
        until(lambda: was_handed_over(host, container, tmp_path))
    finally:
        process.terminate()
        assert process.wait() == 0
    assert stat.S_ISSOCK(int(host.run("stat", "-c", "%f", SOCKET), 16)), "the socket is systemd's"


def test_10000_calls_leave_no_process_no_descriptor_and_no_memory(suite, host, cnid):
    speak = Speaker(runtime_of(str(suite / "static")), cnid.pid)
    speak.calls(200)
    before = speak.resident()
    speak.calls(10_000)
    until(lambda: children(cnid) == [])
    assert speak.descriptors() == before[0]
    assert speak.resident()[1] - before[1] < 1024, "KiB"


class Speaker:
    """Speaks to cnid as an executable does, without the start of one for each call."""

    def __init__(self, build, server):
        self._program, self._server = f"{build}/static".encode(), server

    def calls(self, count):
        """So many VERSION calls, which a child answers and ends."""
        request = marshal.dumps(({b"CNI_COMMAND": b"VERSION"}, 0o022))
        opened = [os.open(f"/proc/{self._server}/{place}", os.O_RDONLY) for place in self._places()]
        null = os.open(os.devnull, os.O_RDWR)
        for _ in range(count):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
                connection.connect(f"/proc/{self._server}/root{SOCKET}")
                connection.send(self._program)
                assert connection.recv(1) == READY
                socket.send_fds(connection, [request], [null, null, null, *opened])
                assert connection.recv(1) == b"\0"
        for descriptor in (*opened, null):
            os.close(descriptor)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self._server}/fd"))

    def resident(self):
        """Open descriptors, and KiB in memory."""
        with open(f"/proc/{self._server}/status") as file:
            fields = dict(line.split(":", 1) for line in file)
        return self.descriptors(), int(fields["VmRSS"].split()[0])

    @staticmethod
    def _places():
        names = {
            "/proc/self/ns/net": "ns/net",
            "/proc/self/ns/mnt": "ns/mnt",
            "/": "root",
            ".": "cwd",
        }
        return [names[place] for place in PLACES]
