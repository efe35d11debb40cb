"""What a call loads that needs no plugin: VERSION, the about text, a wrong environment.

Some runtimes start every plugin with VERSION on each command of theirs, so these paths may load
neither pydantic, pyroute2 and nftables nor much of the standard library.
"""

import os
import re
import subprocess
import sys

import pytest

from plugins.registry import PLUGINS
from tests.conftest import ROOT
from tests.frozen.conftest import call

ALLOWED = {
    *("_collections_abc", "_stat", "genericpath", "os", "posixpath", "stat"),
    *("_signal", "cnilib", "cnilib.errors", "cnilib.log", "cnilib.negotiation", "cnilib.plugin"),
    *("cnilib.request", "cnilib.undo", "errno", "itertools", "plugins", "plugins.launch"),
    *("plugins.registry", "time"),
}
"""Modules that VERSION and the about text may import from source, over a bare interpreter's."""

ALLOWED_FOR_ERRORS = {
    *("_json", "json", "json.decoder", "json.encoder", "json.scanner", "cnilib.jsontext"),
    *("cnilib.calllog", "_sre", "re", "re._casefix", "re._compiler", "re._constants"),
    *("re._parser", "_functools", "_collections", "_operator", "collections", "copyreg", "enum"),
    *("functools", "keyword", "operator", "reprlib", "signal", "types"),
}
"""What may come on top where an error document is written."""

HEAVY = re.compile(rb"_pydantic_core|_asyncio|_ctypes|_ssl|libnftables|libffi|libcrypto")

LIGHT_CALLS = {
    "VERSION": {"CNI_COMMAND": "VERSION"},
    "about text": {},
    "about text, empty command": {"CNI_COMMAND": ""},
}
WRONG_CALLS = {
    "ADD without variables": {"CNI_COMMAND": "ADD"},
    "ADD with a bad interface name": {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "c",
        "CNI_NETNS": "/proc/self/ns/net",
        "CNI_IFNAME": "a/b",
        "CNI_PATH": "/",
    },
    "DEL without variables": {"CNI_COMMAND": "DEL"},
}
CALLS = LIGHT_CALLS | WRONG_CALLS
RUN_BRIDGE = ["-c", "from plugins.launch import run; run('bridge')"]
PYTHON = [sys.executable, "-E", "-s", "-S", "-X", "importtime"]


def imported(arguments, env):
    """The modules an interpreter imports, by its own report on stderr."""
    done = subprocess.run(
        [*PYTHON, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    return set(re.findall(r"^import time: .*\| +([\w.]+)$", done.stderr, re.MULTILINE))


@pytest.fixture(scope="module")
def bare():
    """What an interpreter imports that does nothing."""
    return imported(["-c", "pass"], {})


@pytest.mark.parametrize("call_name", LIGHT_CALLS)
def test_a_question_about_the_plugin_imports_next_to_nothing(bare, call_name):
    modules = imported(RUN_BRIDGE, LIGHT_CALLS[call_name])
    assert "cnilib.negotiation" in modules
    assert modules - bare <= ALLOWED


@pytest.mark.parametrize("call_name", WRONG_CALLS)
def test_an_error_of_the_environment_imports_little(bare, call_name):
    modules = imported(RUN_BRIDGE, WRONG_CALLS[call_name])
    assert "cnilib.request" in modules
    assert modules - bare <= ALLOWED | ALLOWED_FOR_ERRORS


@pytest.mark.frozen
@pytest.mark.parametrize("call_name", CALLS)
@pytest.mark.parametrize("plugin", PLUGINS)
def test_frozen_plugin_loads_no_heavy_library(suite, tmp_path, plugin, call_name):
    """The dynamic loader's own log names each library that a process loads."""
    log = {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(tmp_path / "loaded")}
    done = call(suite / plugin, CALLS[call_name] | log)
    assert done.returncode == int(call_name in WRONG_CALLS), done
    loaded = b"".join((tmp_path / name).read_bytes() for name in os.listdir(tmp_path))
    assert b"libpython" in loaded
    assert not HEAVY.findall(loaded)


@pytest.mark.frozen
def test_version_reads_no_stdin(suite):
    """A caller may keep stdin open."""
    reader, writer = os.pipe()
    try:
        done = call(suite / "bridge", {"CNI_COMMAND": "VERSION"}, stdin=reader)
    finally:
        os.close(reader)
        os.close(writer)
    assert done.returncode == 0
