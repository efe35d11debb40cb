"""Scenarios run on any directory of plugins; some on ours only, for a reason that they give."""

import os
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.lab.dhcp import Lan
from tools.install import runtime_of


def pytest_collection_modifyitems(items):
    binaries = Path(os.environ.get("CNI_BIN") or ROOT / "dist/cni/bin")
    if runtime_of(str(binaries / "bridge")):
        return
    for item in items:
        for marker in item.iter_markers("ours"):
            (reason,) = marker.args
            item.add_marker(pytest.mark.skip(reason=f"we differ: {reason}"))


@pytest.fixture
def outside(host):
    """A machine that reaches the host at 192.0.2.1 and nothing behind it."""
    machine = host.container("outside")
    pair = ("link", "add", "out0", "type", "veth", "peer", "name", "out0", "netns", machine.name)
    host.run("ip", *pair)
    for place, address in ((host, "192.0.2.1/24"), (machine, "192.0.2.9/24")):
        place.run("ip", "address", "add", address, "dev", "out0")
        place.run("ip", "link", "set", "out0", "up")
    return machine


@pytest.fixture
def idle(host, tmp_path):
    """A container with an unconfigured link to the host, where a DHCP server and daemon may run."""
    lan = Lan(host, tmp_path)
    yield lan
    lan.close()


@pytest.fixture
def lan(idle):
    """The same with the daemon running."""
    idle.start_daemon()
    return idle
