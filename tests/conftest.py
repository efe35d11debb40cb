"""What every test may use, and the promise that the machine's own network stays as it is."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.lab.host import Host
from tools.install import runtime_of

ROOT = Path(__file__).parents[1]

_STATE = """
ip -o link; ip -o address | sed "s/valid_lft.*//"
ip route show table all; ip -6 route show table all
ip rule; ip netns; ls -A /run/cni /var/lib/cni /run/netns
nft list ruleset | sed "s/counter packets.*bytes [0-9]*//"
cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
"""


def _machine():
    done = subprocess.run(["sh", "-c", _STATE], capture_output=True, text=True, check=False)
    return done.stdout


@pytest.fixture(scope="session", autouse=True)
def machine_is_as_it_was():
    """No test leaves anything in the namespaces that it did not make."""
    before = _machine()
    yield
    assert _machine() == before


@pytest.fixture(scope="session")
def binaries():
    """The plugins under test: CNI_BIN, or what ``make build`` made."""
    place = Path(os.environ.get("CNI_BIN") or ROOT / "dist/cni/bin").resolve()
    if not (place / "bridge").exists():
        pytest.fail(f"{place} has no plugins: run make build first")
    return place


@pytest.fixture(scope="session")
def suite(binaries):
    """The plugins under test, where they are this project's frozen ones."""
    if not runtime_of(str(binaries / "bridge")):
        pytest.skip(f"{binaries} holds no frozen suite of ours")
    return binaries


@pytest.fixture
def host(binaries):
    """A throw-away host that has the plugins under test."""
    throw_away = Host(binaries)
    yield throw_away
    throw_away.close()
