"""Another plugin of the same build is called in the process; everything else is started."""

import json
import os
import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.frozen

CONF = {
    "cniVersion": "1.0.0",
    "name": "net",
    "type": "bridge",
    "ipam": {"type": "static", "addresses": [{"address": "10.1.0.2/24"}]},
}
FOREIGN = """#!/bin/sh
echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.9.0.2/24"}]}'
"""


@pytest.fixture
def started(host, tmp_path):
    """Add a container with the plugins of some directories; what was started for it."""

    def add(*directories, conf=CONF):
        trace = tmp_path / "trace"
        container = host.container()
        words = ["strace", "-f", "-qq", "-e", "trace=execve", "-o", str(trace)]
        done = subprocess.run(
            host.command(*words, f"{host.binaries}/{conf['type']}"),
            input=json.dumps(conf),
            env=host.environ("ADD", container, CNI_PATH=":".join(map(str, directories))),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done
        executables = set(re.findall(r'execve\("([^"]+)"', trace.read_text()))
        return container.addresses(), {os.path.basename(name) for name in executables}

    return add


def test_an_ipam_plugin_of_this_build_is_not_started(suite, started):
    assert started(suite) == (["10.1.0.2/24"], {"bridge"})


def test_a_delegate_of_this_build_and_its_ipam_plugin_are_not_started(suite, host, started):
    lines = ("NETWORK=10.244.0.0/16", "SUBNET=10.244.3.1/24", "MTU=1450", "IPMASQ=true")
    host.write("/run/flannel/subnet.env", "".join(f"FLANNEL_{line}\n" for line in lines))
    conf = {"cniVersion": "1.0.0", "name": "cbr0", "type": "flannel"}
    assert started(suite, conf=conf) == (["10.244.3.2/24"], {"flannel"})


def test_an_ipam_plugin_behind_a_symlink_is_not_started(suite, started, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/static").symlink_to(suite / "static")
    assert started(tmp_path / "bin") == (["10.1.0.2/24"], {"bridge"})


def test_a_foreign_plugin_of_our_name_is_started(started, tmp_path):
    (tmp_path / "static").write_text(FOREIGN)
    (tmp_path / "static").chmod(0o755)
    assert started(tmp_path) == (["10.9.0.2/24"], {"bridge", "static"})


def test_an_ipam_plugin_of_another_build_is_started(suite, started, tmp_path):
    for name in os.listdir(suite):
        if name.startswith("cni-runtime-"):
            shutil.copytree(suite / name, tmp_path / "cni-runtime-000000000000")
            ours = (suite / "static").read_bytes()
            (tmp_path / "static").write_bytes(
                ours.replace(name.encode(), b"cni-runtime-000000000000")
            )
    (tmp_path / "static").chmod(0o755)
    assert started(tmp_path) == (["10.1.0.2/24"], {"bridge", "static"})
