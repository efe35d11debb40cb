"""What every test may use, and the promise that the machine's own network stays as it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plugins.registry import PLUGINS
from tests.lab.host import Host
from tools.install import runtime_of

ROOT = Path(__file__).parents[1]

_STATE = """
ip -o link; ip -o address | sed "s/valid_lft.*//"
ip route show table all; ip -6 route show table all
ip rule; ls -A /run/cni /var/lib/cni
ls -A /run/netns | grep -v "^cnitest-"  # those of tests that run beside us
nft list ruleset | sed "s/counter packets.*bytes [0-9]*//"
cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
"""


_FEATURES = {
    "bridge VLAN filtering": "ip link add name br9 type bridge vlan_filtering 1",
}
"""What a kernel may lack, and a command that fails without it in an empty network namespace."""


def pytest_collection_modifyitems(items):
    """Tests marked with a kernel feature are skipped where it is missing."""
    wanted = {item: marker.args[0] for item in items for marker in item.iter_markers("kernel")}
    missing = {feature for feature in set(wanted.values()) if not _has(feature)}
    for item, feature in wanted.items():
        if feature in missing:
            reason = f"this kernel has no {feature}: run under tools/uml.sh"
            item.add_marker(pytest.mark.skip(reason=reason))


def _has(feature):
    words = ["unshare", "--net", "sh", "-c", _FEATURES[feature]]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _machine():
    done = subprocess.run(["sh", "-c", _STATE], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


@pytest.fixture(scope="session", autouse=True)
def machine_is_as_it_was():
    """No test leaves anything in the namespaces that it did not make."""
    before = _machine()
    yield
    assert _machine() == before


def pytest_addoption(parser):
    parser.addoption(
        "--from-source", action="store_true", help="run the plugins without building them"
    )
    parser.addoption(
        "--with-cnid", action="store_true", help="run the plugin server on every throw-away host"
    )


def pytest_configure(config):
    Host.with_cnid = config.getoption("with_cnid")


@pytest.fixture(scope="session")
def binaries(request, tmp_path_factory):
    """The plugins under test: CNI_BIN, or what ``make build`` made, or the source itself."""
    if request.config.getoption("from_source"):
        return _wrappers(tmp_path_factory.mktemp("bin"))
    place = Path(os.environ.get("CNI_BIN") or ROOT / "dist/cni/bin").resolve()
    if not (place / "bridge").exists():
        pytest.fail(f"{place} has no plugins: run make build first")
    return place


def _wrappers(directory):
    for name in PLUGINS:
        run = f"from plugins.launch import run; run({name!r})"
        wrapper = f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -c "{run}"\n'
        (directory / name).write_text(wrapper)
        (directory / name).chmod(0o755)
    return directory


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


@pytest.fixture
def container(host):
    """An empty container of the host."""
    return host.container()
