"""Throw-away network namespaces for tests of single modules."""

import os
import subprocess
from itertools import count

import pytest

from cnilib.kernel import nfnetlink

_NUMBERS = count()


@pytest.fixture(autouse=True)
def _no_conversation_keeps_a_namespace():
    """Tests call netfilter in this very process, in one namespace after the other."""
    yield
    nfnetlink.close_all()


@pytest.fixture
def make_namespace():
    """Make a named network namespace and return its path; all go with the test."""
    names = []

    def make():
        name = f"cnitest-{os.getpid()}-{next(_NUMBERS)}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        names.append(name)
        return f"/run/netns/{name}"

    yield make
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.fixture
def host(make_namespace):
    """An open namespace that plays the host."""
    from cnilib.kernel.netns import Namespace

    with Namespace.open(make_namespace()) as namespace:
        yield namespace


@pytest.fixture
def container(make_namespace):
    """An open namespace that plays the container."""
    from cnilib.kernel.netns import Namespace

    with Namespace.open(make_namespace()) as namespace:
        yield namespace


@pytest.fixture
def ip():
    """Run ``ip`` in a namespace; its output."""

    def run(namespace, *words):
        command = ["ip", "-n", os.path.basename(namespace.path), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    return run
