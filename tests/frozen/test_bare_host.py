"""On a host that has glibc and zlib and nothing else: no Python, no nftables, no shell even."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.frozen,
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

GLIBC_AND_ZLIB = r"(/\S+/(?:ld-linux[\w-]*|lib(?:c|m|z|dl|rt|pthread))\.so\S*)"
MOUNTS = """
set -e
for place in proc sys; do mount --rbind /$place "$0/$place"; done
mount -t sysfs sysfs "$0/sys"
echo ready
exec sleep 600
"""
CHAIN = [
    {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.22.0.0/24"}]]},
    },
    {
        "type": "portmap",
        "runtimeConfig": {
            "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
        },
    },
    {"type": "firewall", "ingressPolicy": "same-bridge"},
    {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}},
]


class BareHost:
    """A root directory with the suite and the C library, in a network of its own."""

    def __init__(self, root: Path, suite: Path) -> None:
        self.root = root
        shutil.copytree(suite, root / "opt/cni/bin")
        for directory in ("proc", "sys", "run", "tmp", "var/lib"):
            (root / directory).mkdir(parents=True)
        self._add_c_library(suite)
        self._host = _sleeper(["unshare", "--net", "--mount", "sh", "-c", MOUNTS, str(root)])
        self._container = _sleeper(["unshare", "--net", "sh", "-c", "echo ready; exec sleep 600"])

    def _add_c_library(self, suite: Path) -> None:
        """What the boot loader and the libraries of the runtime directory need of the host."""
        binaries = [suite / "bridge", *suite.rglob("*.so"), *suite.rglob("*.so.*")]
        for binary in binaries:
            listed = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True)
            for path in re.findall(GLIBC_AND_ZLIB, listed.stdout):
                target = self.root / path.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)

    def plugin(self, command: str, document: dict) -> dict:
        """Run a plugin there; the document it answered with."""
        environ = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": "c1",
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": f"/proc/{self._container.pid}/ns/net",
            "CNI_PATH": "/opt/cni/bin",
        }
        done = subprocess.run(
            [
                *("nsenter", "-t", str(self._host.pid), "--net", "--mount"),
                *("chroot", self.root, f"/opt/cni/bin/{document['type']}"),
            ],
            input=json.dumps(document).encode(),
            env=environ | {"PATH": os.environ["PATH"]},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (done.stdout, done.stderr)
        return json.loads(done.stdout or b"null")

    def ruleset(self) -> str:
        """What the machine's nft sees in the bare host's network."""
        command = ["nsenter", f"--net=/proc/{self._host.pid}/ns/net", "nft", "list", "ruleset"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def stop(self) -> None:
        """End both; their namespaces and mounts go with them."""
        for process in (self._host, self._container):
            process.kill()
            process.wait()
            process.stdout.close()


def _sleeper(command: list[str]) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.fixture
def bare_host(suite, tmp_path):
    host = BareHost(tmp_path / "root", suite)
    yield host
    host.stop()


def configuration(plugin: dict, prev_result: dict | None) -> dict:
    document = {"cniVersion": "1.0.0", "name": "bare", **plugin}
    return document | ({"prevResult": prev_result} if prev_result else {})


def test_there_is_neither_python_nor_nftables(bare_host):
    names = {path.name for path in bare_host.root.glob("*/**/*") if "/opt/" not in str(path)}
    assert not [name for name in names if re.match(r"python|libpython|nft|libnftables", name)]


def test_every_plugin_answers(bare_host):
    for name in ("bridge", "portmap", "loopback"):
        answer = bare_host.plugin("VERSION", {"type": name})
        assert answer["cniVersion"] == "1.1.0"


def test_the_default_chain_adds_and_deletes_a_container(bare_host):
    result = None
    for plugin in CHAIN:
        result = bare_host.plugin("ADD", configuration(plugin, result))
    assert result["ips"][0]["address"] == "10.22.0.2/24"
    assert "8080" in bare_host.ruleset()
    for plugin in reversed(CHAIN):
        bare_host.plugin("DEL", configuration(plugin, result))
    assert "8080" not in bare_host.ruleset()


def test_the_netfilter_library_loaded_is_the_bundled_one(suite, tmp_path, host, container):
    """Also where the host has one of its own, of whatever version."""
    (runtime,) = suite.glob("cni-runtime-*")
    previous = {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "eth0", "sandbox": container.netns}],
        "ips": [{"address": "10.22.0.2/24", "interface": 0}],
    }
    conf = configuration({"type": "firewall"}, previous)
    log = {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(tmp_path / "loaded")}
    host.add(conf, container, **log)
    loaded = "".join(path.read_text() for path in tmp_path.glob("loaded.*"))
    found = set(re.findall(r"calling init: (\S*libnftables\S*)", loaded))
    assert found == {str(runtime / "libnftables.so.1")}
