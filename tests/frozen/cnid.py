"""What tests of cnid share: a call for it, and looking at who ran one."""

import json
import os
import re
import subprocess

from cnilib.cnid.client import SOCKET

STATIC = {
    "cniVersion": "1.0.0",
    "name": "n",
    "type": "static",
    "ipam": {"addresses": [{"address": "10.1.0.2/24"}]},
}


def listens(host):
    return host.try_run("test", "-S", SOCKET).returncode == 0


def children(process):
    """Processes that cnid has forked and that are still there."""
    tasks = f"/proc/{process.pid}/task/{process.pid}/children"
    with open(tasks) as file:
        return file.read().split()


def was_handed_over(host, container, directory, *prefix, program="static"):
    """Whether cnid takes a call; ``prefix`` are words to start the executable by.

    The server's readiness is the one byte that the executable reads from it before its end.
    """
    calls = system_calls(host, container, directory, *prefix, program=program)
    return re.search(r'recvfrom\(\d+, "\+", 1', calls) is not None


def system_calls(host, container, directory, *prefix, program="static"):
    """What an ADD of ``static`` executes, connects to and receives, as strace writes it."""
    trace = directory / "trace"
    words = ["strace", "-f", "-qq", "-e", "trace=execve,recvfrom,connect", "-o", str(trace)]
    done = subprocess.run(
        host.command(*words, *prefix, os.path.join(host.binaries, program)),
        input=json.dumps(STATIC),
        env=host.environ("ADD", container),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["ips"] == [{"address": "10.1.0.2/24"}]
    return trace.read_text()
