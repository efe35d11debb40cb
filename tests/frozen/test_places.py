"""Where and how the executables may be run: a drop-in suite cannot choose."""

import json
import os
import subprocess

import pytest

from plugins.registry import PLUGINS
from tests.frozen.conftest import about, call, version

pytestmark = pytest.mark.frozen

READ_ONLY = """
mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && ! touch "$0/x" 2>&- || exit 9
CNI_COMMAND=VERSION "$0/static"
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.mark.parametrize("name", PLUGINS)
def test_every_executable_is_the_plugin_it_is_named_after(suite, name):
    assert about(suite / name).startswith(f"CNI {name} plugin v")


def test_works_after_cp_r(suite, tmp_path):
    subprocess.run(["cp", "-r", suite, tmp_path / "elsewhere"], check=True)
    assert version(tmp_path / "elsewhere" / "static") == version(suite / "static")


def test_works_through_a_symlink_from_elsewhere(suite, tmp_path):
    link = tmp_path / "host-local"
    link.symlink_to(suite / "host-local")
    assert about(link).startswith("CNI host-local plugin v")


def test_works_through_a_symlink_of_another_name(suite, tmp_path):
    link = tmp_path / "whatever"
    link.symlink_to(suite / "host-local")
    assert about(link).startswith("CNI host-local plugin v")


def test_works_through_a_symlinked_directory(suite, tmp_path):
    (tmp_path / "bin").symlink_to(suite)
    assert about(tmp_path / "bin" / "static").startswith("CNI static plugin v")


@pytest.mark.parametrize("argv0", ["strange", "/usr/bin/bridge", "", "bridge"])
def test_argv0_does_not_decide_which_plugin_it_is(suite, argv0):
    done = subprocess.run(
        [argv0], executable=suite / "static", env={}, capture_output=True, timeout=60, check=False
    )
    assert done.stderr.startswith(b"CNI static plugin v")


def test_works_by_a_relative_path(suite):
    done = subprocess.run(
        ["./static"], cwd=suite, env={}, capture_output=True, timeout=60, check=False
    )
    assert done.stderr.startswith(b"CNI static plugin v")


def test_works_in_a_directory_that_was_deleted(suite, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["sh", "-c", f'rmdir "{gone}"; CNI_COMMAND=VERSION exec "{suite}/static"'],
        cwd=gone,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, version(suite / "static"))


@pytest.mark.parametrize(
    "environ",
    [
        {"PATH": ""},
        {"LC_ALL": "C"},
        {"LC_ALL": "en_US.ISO-8859-1", "LANG": "tr_TR"},
        {"PYTHONHOME": "/nonexistent", "PYTHONPATH": "/nonexistent", "PYTHONVERBOSE": "1"},
        {"LD_LIBRARY_PATH": "/nonexistent"},
        {"TMPDIR": "/nonexistent", "HOME": "/nonexistent"},
    ],
    ids="+".join,
)
def test_environment_of_the_caller_does_not_matter(suite, environ):
    done = call(suite / "static", {"CNI_COMMAND": "VERSION", **environ})
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["cniVersion"] == "1.1.0"


def test_environment_need_not_be_utf8(suite):
    done = call(suite / "static", {b"CNI_COMMAND": b"VERSION", b"LANG": b"\xff", b"X": b"\xfe\xff"})
    assert done.returncode == 0


@pytest.mark.parametrize("descriptor", [0, 1, 2])
def test_a_closed_standard_descriptor_is_no_crash(suite, descriptor):
    done = subprocess.run(
        ["sh", "-c", f'CNI_COMMAND=VERSION "{suite}/static" {descriptor}>&-; echo "status $?"'],
        capture_output=True,
        timeout=60,
        check=False,
        text=True,
    )
    assert f"status {int(descriptor == 1)}" in done.stdout
    assert "Traceback" not in done.stderr


@needs_root
def test_works_in_a_read_only_directory(copied):
    before = sorted(copied.rglob("*"))
    done = subprocess.run(
        [
            *("unshare", "--mount", "--propagation", "private", "sh", "-c"),
            READ_ONLY,
            copied,
        ],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, version(copied / "static"))
    assert sorted(copied.rglob("*")) == before
