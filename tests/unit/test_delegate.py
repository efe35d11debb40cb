"""Running another plugin: what it gets, what comes back, and every way it can fail."""

import os
import signal
import stat
import threading
import time

import pytest

from cnilib.delegate import (
    delegate_add,
    delegate_status,
    find_plugin,
    ipam_add,
    ipam_gc,
    ipam_status,
    run_delegate,
)
from cnilib.errors import CniError, DecodeError, DelegateError, NotAvailable, TryAgain
from cnilib.request import Request
from cnilib.undo import Undo

STDIN = b'{"cniVersion": "1.0.0",\n "name":"n", "odd":   "spacing"}'


class Delegate:
    """A plugin as a shell script in a directory of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.path = directory / "ipam"

    def script(self, body):
        self.path.write_text(f"#!/bin/sh\ncd {self.directory}\n{body}\n")
        self.path.chmod(0o755)

    def request(self, command="ADD", *, seconds=50.0, builtin=lambda _path: None):
        environ = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": "k1",
            "CNI_NETNS": "/run/netns/missing",
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": "A=b",
            "CNI_PATH": f"/nonexistent:{self.directory}",
            "PATH": "/usr/bin:/bin",
        }
        document = {"cniVersion": "1.0.0", "name": "n"}
        return Request(
            "bridge",
            environ,
            STDIN,
            document,
            deadline=time.monotonic() + seconds,
            builtin=builtin,
        )

    def read(self, name):
        return (self.directory / name).read_bytes()


@pytest.fixture
def ipam(tmp_path):
    return Delegate(tmp_path)


def test_the_delegate_gets_our_bytes_and_environment_under_its_command(ipam):
    ipam.script('cat > in; echo "$CNI_COMMAND $CNI_ARGS $CNI_NETNS" > env')
    run_delegate(ipam.request("ADD"), "DEL", "ipam")
    assert ipam.read("in") == STDIN
    assert ipam.read("env") == b"DEL A=b /run/netns/missing\n"


def test_a_result_of_an_older_version_is_understood(ipam):
    ipam.script("""echo '{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.5/24","gateway":"10.1.0.1"}}'""")
    (ip,) = delegate_add(ipam.request(), "ipam").ips
    assert (str(ip.address), str(ip.gateway)) == ("10.1.0.5/24", "10.1.0.1")


def test_a_result_without_version_has_that_of_the_configuration(ipam):
    ipam.script("""echo '{"ips":[{"address":"10.1.0.5/24"}]}'""")
    assert len(delegate_add(ipam.request(), "ipam").ips) == 1


@pytest.mark.parametrize("answer", ["", "hello", "[]", '{"ips":1}', '{"cniVersion":"9.9.9"}'])
def test_an_answer_that_is_no_result_is_a_decode_error(ipam, answer):
    ipam.script(f"echo '{answer}'")
    with pytest.raises(DecodeError):
        delegate_add(ipam.request(), "ipam")


def test_an_error_object_is_passed_on_unchanged(ipam, capfd):
    ipam.script("""echo note >&2; echo '{"code":123,"msg":"m","details":"d"}'; exit 3""")
    with pytest.raises(DelegateError) as error:
        run_delegate(ipam.request(), "ADD", "ipam")
    assert (error.value.code, error.value.msg, error.value.details) == (123, "m", "d")
    assert capfd.readouterr().err == "note\n"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("echo nonsense; exit 1", "'nonsense'"),
        ("echo broken >&2; exit 1", "broken"),
        ("exit 7", "exit status 7"),
        ("kill -9 $$", "signal 9"),
    ],
)
def test_a_failure_without_error_object_tells_what_is_known(ipam, body, told):
    ipam.script(body)
    with pytest.raises(CniError) as error:
        run_delegate(ipam.request(), "ADD", "ipam")
    assert told in error.value.msg
    assert error.value.code == 999


def test_code_zero_in_an_error_object_is_unspecified(ipam):
    ipam.script("""echo '{"code":0,"msg":"m"}'; exit 1""")
    with pytest.raises(CniError) as error:
        run_delegate(ipam.request(), "ADD", "ipam")
    assert error.value.code == 999


def test_an_ipam_result_without_address_is_an_error_and_released(ipam):
    ipam.script('echo $CNI_COMMAND >> calls; echo "{}"')
    with pytest.raises(CniError, match="missing IP config"), Undo() as undo:
        ipam_add(ipam.request(), "ipam", undo)
    assert ipam.read("calls") == b"ADD\nDEL\n"


def test_a_failed_ipam_add_is_released_too_and_its_error_kept(ipam):
    ipam.script("""echo $CNI_COMMAND >> calls; echo '{"code":11,"msg":"later"}'; exit 1""")
    with pytest.raises(DelegateError, match="later"), Undo() as undo:
        ipam_add(ipam.request(), "ipam", undo)
    assert ipam.read("calls") == b"ADD\nDEL\n"


@pytest.mark.parametrize("code", [1, 4])
def test_a_delegate_that_knows_no_gc_is_fine(ipam, code):
    ipam.script(f"""echo '{{"code":{code},"msg":"no GC"}}'; exit 1""")
    ipam_gc(ipam.request("GC"), "ipam")


@pytest.mark.parametrize("code", [1, 4])
def test_a_delegate_that_knows_no_status_is_fine_but_an_ipam_plugin_is_not(ipam, code):
    ipam.script(f"""echo '{{"code":{code},"msg":"no STATUS"}}'; exit 1""")
    delegate_status(ipam.request("STATUS"), "ipam")
    with pytest.raises(DelegateError, match="no STATUS"):
        ipam_status(ipam.request("STATUS"), "ipam")


def test_a_delegate_that_is_not_ready_says_so(ipam):
    ipam.script("""echo '{"code":50,"msg":"wait"}'; exit 1""")
    with pytest.raises(DelegateError, match="wait"):
        delegate_status(ipam.request("STATUS"), "ipam")
    with pytest.raises(NotAvailable, match="failed to find plugin"):
        delegate_status(ipam.request("STATUS"), "other")


def test_another_error_of_gc_is_passed_on(ipam):
    ipam.script("""echo '{"code":5,"msg":"disk"}'; exit 1""")
    with pytest.raises(DelegateError, match="disk"):
        ipam_gc(ipam.request("GC"), "ipam")


def test_status_of_a_delegate_that_is_not_installed_is_not_available(ipam):
    with pytest.raises(NotAvailable, match="failed to find plugin"):
        ipam_status(ipam.request("STATUS"), "ipam")


def test_a_delegate_that_hangs_is_stopped_at_the_deadline(ipam):
    ipam.script("echo $$ > pid; exec sleep 100")
    with pytest.raises(TryAgain, match="did not answer in time"):
        run_delegate(ipam.request(seconds=0.5), "ADD", "ipam")
    with pytest.raises(ProcessLookupError):
        os.kill(int(ipam.read("pid")), 0)


def test_a_file_that_is_being_replaced_is_tried_again(ipam):
    ipam.script("exit 0")
    writing = ipam.path.open("ab")
    threading.Timer(0.3, writing.close).start()
    run_delegate(ipam.request(), "DEL", "ipam")


def test_a_file_that_is_not_executable_is_named(ipam):
    ipam.script("exit 0")
    ipam.path.chmod(stat.S_IRUSR)
    ipam.path.write_bytes(b"no program")
    with pytest.raises(CniError, match=str(ipam.path)):
        run_delegate(ipam.request(), "DEL", "ipam")


def test_a_broken_pipe_signal_is_not_inherited_as_ignored(ipam):
    ipam.script("grep SigIgn /proc/self/status > ignored")
    run_delegate(ipam.request(), "DEL", "ipam")
    ignored = int(ipam.read("ignored").split()[1], 16)
    assert not ignored & 1 << signal.SIGPIPE - 1


def test_a_plugin_of_this_build_is_called_in_this_process(ipam):
    ipam.script("exit 1")
    asked = []

    def call(req):
        asked.append((req.plugin, req.command, req.stdin, req.environ["CNI_ARGS"]))
        return b""

    run_delegate(ipam.request("ADD", builtin=lambda _path: call), "DEL", "ipam")
    assert asked == [("ipam", "DEL", STDIN, "A=b")]


@pytest.mark.parametrize(
    ("name", "told"),
    [("", "no plugin name"), ("../x", "invalid plugin name"), ("a/b", "invalid plugin name")],
)
def test_names_that_are_no_plugin_names_are_refused(name, told):
    with pytest.raises(CniError, match=told):
        find_plugin(name, "/opt/cni/bin")


def test_the_first_regular_file_of_the_path_is_found(tmp_path):
    for directory in ("a", "b", "c"):
        (tmp_path / directory).mkdir()
    (tmp_path / "a" / "x").mkdir()
    (tmp_path / "c" / "x").touch()
    (tmp_path / "b" / "x").symlink_to(tmp_path / "c" / "x")
    path = ":".join(str(tmp_path / directory) for directory in ("a", "missing", "b", "c"))
    assert find_plugin("x", path) == str(tmp_path / "b" / "x")


def test_a_plugin_that_is_not_found_is_quoted_with_the_path():
    with pytest.raises(CniError, match=r'failed to find plugin "x" in path \[.*/nowhere'):
        find_plugin("x", "/nowhere")
