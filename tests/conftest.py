"""What every test may use, and the promise that the machine's own network stays as it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plugins.registry import PLUGINS
from tests.lab.features import missing
from tests.lab.host import Host
from tools.install import runtime_of

ROOT = Path(__file__).parents[1]
_KERNEL = f"this kernel ({os.uname().release})"

_STATE = """
ip -o link; ip -o address | sed "s/valid_lft.*//"
ip route show table all; ip -6 route show table all
ip rule; ls -A /run/cni /var/lib/cni
ls -A /run/netns | grep -v "^cnitest-"  # those of tests that run beside us
nft list ruleset | sed "s/counter packets.*bytes [0-9]*//"
cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
"""


def pytest_addoption(parser):
    parser.addoption(
        "--from-source", action="store_true", help="run the plugins without building them"
    )
    parser.addoption(
        "--with-cnid", action="store_true", help="run the plugin server on every throw-away host"
    )
    parser.addoption(
        "--needing",
        metavar="FEATURES",
        help="only the tests that need one of these kernel features (comma-separated)",
    )
    parser.addoption("--not-needing", metavar="FEATURES", help="all tests but those")


def pytest_configure(config):
    Host.with_cnid = config.getoption("with_cnid")


def pytest_report_header():
    return f"kernel: {os.uname().release}"


def pytest_collection_modifyitems(config, items):
    """Tests marked with a kernel feature are skipped where it is missing."""
    needed = {item: _features(item) for item in items}
    for option, wanted in (("needing", True), ("not_needing", False)):
        asked = set((config.getoption(option) or "").split(",")) - {""}
        if asked:
            left = [item for item in items if bool(needed[item] & asked) != wanted]
            config.hook.pytest_deselected(items=left)
            items[:] = [item for item in items if item not in left]
    lacking = missing(set().union(*needed.values()))
    for item in items:
        if needed[item] & lacking:
            names = ", ".join(sorted(needed[item] & lacking))
            reason = f"{_KERNEL} has no {names}: run under tools/uml.sh"
            item.add_marker(pytest.mark.skip(reason=reason))


def _features(item):
    return {feature for marker in item.iter_markers("kernel") for feature in marker.args}


def _machine():
    done = subprocess.run(["sh", "-c", _STATE], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


@pytest.fixture(scope="session", autouse=True)
def machine_is_as_it_was():
    """No test leaves anything in the namespaces that it did not make."""
    before = _machine()
    yield
    assert _machine() == before


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
        wrapper = f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -c "{run}" "$@"\n'
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
