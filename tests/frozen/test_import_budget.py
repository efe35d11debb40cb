"""What each command of each plugin loads: start-up is a feature, and imports are what it costs.

A frozen plugin reads the byte code of each module at its place in one archive, so the system calls
of a process tell which modules it loaded (``tools/freeze/boot.py``).
"""

import json
import marshal
import re
import subprocess

import pytest

from plugins.registry import PLUGINS
from tests.scenarios.test_hostile_values import BASES
from tools.install import runtime_of

pytestmark = pytest.mark.frozen

NEVER = {
    *("argparse", "ast", "asyncio", "collections", "concurrent.futures", "dataclasses", "email"),
    *("enum", "functools", "importlib", "importlib.metadata", "inspect", "json.decoder"),
    *("operator", "pathlib", "pkgutil", "random", "re", "selectors", "shutil", "signal", "socket"),
    *("subprocess", "tempfile", "threading", "typing", "urllib", "warnings"),
}
"""Modules that no ADD and no DEL that succeeds may load; each costs 0.3 to 60 ms."""

MOST = {
    "bridge": 126,
    "ptp": 118,
    "portmap": 111,
    "host-device": 107,
    **dict.fromkeys(("macvlan", "ipvlan", "vlan", "dummy", "tap", "flannel"), 105),
    **dict.fromkeys(("sbr", "vrf", "tuning", "bandwidth"), 95),
    "loopback": 83,
    "firewall": 72,
    **dict.fromkeys(("dhcp", "host-local", "static"), 47),
}
"""How many modules ADD or DEL of a plugin may load: five more than now. Who needs more says why."""


class Archive:
    """Which module lies where in a suite's archive."""

    def __init__(self, suite):
        path = suite / runtime_of(str(suite / "bridge")) / "modules.bin"
        content = path.read_bytes()
        head = int.from_bytes(content[:8], "little")
        index = marshal.loads(content[8 : 8 + head])
        self._names = {
            8 + head + offset: name for name, (_, offset, size, _) in index.items() if size
        }

    def loaded(self, trace):
        """The modules a process has read, by what strace says of it."""
        places = re.findall(r"pread64\(\d+, .*, \d+, (\d+)\)", trace)
        return {self._names[int(place)] for place in places if int(place) in self._names}


@pytest.fixture(scope="module")
def archive(suite):
    return Archive(suite)


@pytest.fixture
def modules(host, container, archive, tmp_path):
    """The modules that a call of a plugin loads; whether the kernel grants it does not matter."""
    host.run("ip", "link", "add", "eno1", "type", "veth", "peer", "name", "wire")
    trace = tmp_path / "trace"

    def call(command, plugin):
        conf = {"cniVersion": "1.0.0", "name": "n", "type": plugin} | BASES[plugin]
        words = ["strace", "-f", "-qq", "-s", "0", "-e", "trace=pread64", "-o", str(trace)]
        done = subprocess.run(
            host.command(*words, f"{host.binaries}/{plugin}"),
            input=json.dumps(conf),
            env=host.environ(command, container),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or "code" in done.stdout, done
        return archive.loaded(trace.read_text())

    return call


@pytest.mark.parametrize("command", ["ADD", "DEL"])
@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_command_loads_little(modules, plugin, command):
    loaded = modules(command, plugin)
    assert "cnilib.plugin" in loaded
    assert loaded & NEVER == set()
    assert len(loaded) <= MOST[plugin], sorted(loaded)
