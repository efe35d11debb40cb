"""The process: one document on stdout, the exit status, and nothing else whatever happens."""

import json
import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, time
from cnilib.plugin import plugin, serve
from cnilib.types.config import NetConf
from cnilib.types.result import Interface, Result

class Panic(BaseException):
    pass

class Conf(NetConf):
    act: str = ""

def add(req, conf, undo):
    undo.add("x", os.write, 2, b"undone\\n")
    print("noise of a library", flush=True)
    os.system("echo noise of a child")
    if conf.act == "bug":
        raise KeyError("bug")
    if conf.act == "wait":
        os.write(2, b"waiting\\n")
        time.sleep(60)
    if conf.act == "wait in a library":
        try:
            os.write(2, b"waiting\\n")
            time.sleep(60)
        except BaseException:
            raise Panic("a module cannot be loaded")
    return Result(interfaces=(Interface(name=req.ifname),))

def load():
    return plugin("fake", Conf, add=add, delete=lambda req, conf, errors: None)

serve("fake", "0.3.0", load, dict(os.environ), lambda path: None)
"""
ENVIRON = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "k1",
    "CNI_NETNS": "/run/netns/missing",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
}


def start(environ, **options):
    environ = {"PYTHONPATH": os.getcwd(), "PATH": "/usr/bin:/bin"} | environ
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environ, stdin=subprocess.PIPE, **options
    )


def serve(conf=None, **changes):
    """(exit status, stdout, stderr) of one call."""
    process = start(ENVIRON | changes)
    document = {"cniVersion": "1.0.0", "name": "n"} | (conf or {})
    stdout, stderr = process.communicate(json.dumps(document).encode())
    return process.returncode, stdout, stderr.decode()


def test_add_prints_the_result_and_nothing_of_what_others_print():
    status, stdout, stderr = serve()
    assert status == 0
    assert json.loads(stdout) == {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0"}]}
    assert "noise of a library" in stderr
    assert "noise of a child" in stderr


def test_del_prints_nothing():
    status, stdout, _ = serve(CNI_COMMAND="DEL")
    assert (status, stdout) == (0, b"")


def test_an_error_is_an_indented_object_without_newline():
    status, stdout, stderr = serve(CNI_IFNAME="")
    assert status == 1
    assert stdout == (
        b'{\n    "code": 4,\n    "msg": "required environment variables are missing: '
        b'[CNI_IFNAME]"\n}'
    )
    assert stderr == ""


def test_a_bug_is_code_999_and_its_traceback_goes_to_stderr():
    status, stdout, stderr = serve({"act": "bug"})
    assert status == 1
    assert json.loads(stdout) == {"code": 999, "msg": "KeyError: 'bug'"}
    assert "Traceback" in stderr
    assert "undone" in stderr


@pytest.mark.parametrize("act", [b"wait", b"wait in a library"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_terminated_add_is_undone_and_may_be_tried_again(number, act):
    process = start(ENVIRON)
    process.stdin.write(b'{"cniVersion":"1.0.0","name":"n","act":"%s"}' % act)
    process.stdin.close()
    while process.stderr.readline() != b"waiting\n":
        pass
    process.send_signal(number)
    assert process.stderr.readline() == b"undone\n"
    assert json.loads(process.stdout.read())["code"] == 11
    assert process.wait() == 1
    process.stdout.close()
    process.stderr.close()


def test_a_closed_stdout_is_exit_status_1_without_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    process = start(ENVIRON, stdout=writer)
    os.close(writer)
    _, stderr = process.communicate(b'{"cniVersion":"1.0.0","name":"n"}')
    assert process.returncode == 1
    assert b"Traceback" not in stderr
    assert b"undone" not in stderr


def test_without_a_command_the_about_text_goes_to_stderr():
    process = start({})
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (0, b"")
    assert stderr.decode().splitlines() == [
        "CNI fake plugin v2.0.0",
        "CNI protocol versions supported: 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0",
    ]


def test_version_answers_while_stdin_stays_open():
    process = start({"CNI_COMMAND": "VERSION"})
    assert json.loads(process.stdout.read())["cniVersion"] == "1.1.0"
    assert process.wait() == 0
    process.communicate()


def test_megabytes_of_unknown_keys_are_read_and_ignored():
    status, _, _ = serve({"padding": ["x" * 1000] * 5000})
    assert status == 0


def test_a_call_log_gets_one_line_a_call_with_the_trace_of_the_runtime(tmp_path):
    log = tmp_path / "log"
    serve(CNI_PLUGIN_LOG=str(log), TRACEPARENT="00-abc")
    serve({"name": "a b"}, CNI_PLUGIN_LOG=str(log))
    good, bad = map(json.loads, log.read_text().splitlines())
    assert (good["command"], good["network"], good["code"]) == ("ADD", "n", 0)
    assert good["traceparent"] == "00-abc"
    assert bad["code"] == 7


def test_a_call_log_that_cannot_be_written_fails_no_call(tmp_path):
    status, stdout, stderr = serve(CNI_PLUGIN_LOG=str(tmp_path))
    assert status == 0
    assert json.loads(stdout)
    assert "call log" in stderr
