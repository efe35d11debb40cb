"""``make install``: what tools/install.py does to a directory that a runtime is using."""

import os
import shutil
import subprocess
import sys
import threading

import pytest

from tests.conftest import ROOT
from tests.frozen.conftest import about, version
from tools.install import install, runtime_of, uninstall

pytestmark = pytest.mark.frozen


@pytest.fixture
def other_build(copied):
    """The same suite under another build id, as a change to the source would give it."""
    old = runtime_of(str(copied / "bridge"))
    new = "cni-runtime-" + old.removeprefix("cni-runtime-")[::-1]
    assert new != old
    (copied / old).rename(copied / new)
    for entry in copied.iterdir():
        if entry.is_file():
            entry.write_bytes(entry.read_bytes().replace(old.encode(), new.encode()))
    return copied


@pytest.fixture
def target(tmp_path):
    return tmp_path / "opt" / "cni" / "bin"


def runtimes(directory):
    return {entry.name for entry in directory.iterdir() if entry.is_dir()}


def test_installed_suite_works(suite, target):
    install(str(suite), str(target))
    assert {entry.name for entry in target.iterdir()} == {entry.name for entry in suite.iterdir()}
    assert about(target / "portmap").startswith("CNI portmap plugin v")


def test_modes_do_not_depend_on_the_umask(suite, target):
    command = f'umask 077; exec "{sys.executable}" -m tools.install "{suite}" "{target}"'
    subprocess.run(["sh", "-c", command], cwd=ROOT, check=True)
    assert {(target / name).stat().st_mode & 0o777 for name in os.listdir(target)} == {0o755}
    assert all(entry.stat().st_mode & 0o444 == 0o444 for entry in target.rglob("*"))


def test_foreign_files_stay(suite, target):
    target.mkdir(parents=True)
    (target / "flannel-of-somebody").write_text("#!/bin/sh\n")
    (target / "directory").mkdir()
    install(str(suite), str(target))
    assert (target / "flannel-of-somebody").read_text() == "#!/bin/sh\n"
    assert (target / "directory").is_dir()


def test_replaces_the_reference_plugin_of_the_same_name(suite, target, tmp_path):
    target.mkdir(parents=True)
    reference = tmp_path / "reference"
    reference.write_text("the reference plugin")
    (target / "bridge").symlink_to(reference)
    (target / "static").write_text("another one")
    install(str(suite), str(target))
    assert about(target / "bridge").startswith("CNI bridge plugin v")
    assert about(target / "static").startswith("CNI static plugin v")
    assert reference.read_text() == "the reference plugin"


def test_former_runtime_stays_until_the_next_install(suite, other_build, target):
    """A process that was started just before the swap still loads from it."""
    install(str(suite), str(target))
    install(str(other_build), str(target))
    assert runtimes(target) == runtimes(suite) | runtimes(other_build)
    install(str(other_build), str(target))
    assert runtimes(target) == runtimes(other_build)
    assert version(target / "static")


def test_prune_removes_the_former_runtime_at_once(suite, other_build, target):
    install(str(suite), str(target))
    install(str(other_build), str(target), prune=True)
    assert runtimes(target) == runtimes(other_build)


def test_a_damaged_runtime_is_replaced(suite, target):
    install(str(suite), str(target))
    (target / runtime_of(str(suite / "bridge")) / "modules.bin").unlink()
    install(str(suite), str(target))
    assert version(target / "static")


def test_uninstall_removes_ours_only(suite, target):
    target.mkdir(parents=True)
    (target / "somebody's").write_text("x")
    install(str(suite), str(target))
    uninstall(str(target))
    assert os.listdir(target) == ["somebody's"]


def test_a_source_without_a_suite_is_refused(tmp_path, target):
    tmp_path.mkdir(exist_ok=True)
    with pytest.raises(SystemExit, match="make build"):
        install(str(tmp_path), str(target))


def test_every_start_during_a_replacement_succeeds(suite, other_build, target):
    """A runtime may exec a plugin at any moment of an installation."""
    install(str(suite), str(target))
    expected = version(target / "static")
    done, answers = threading.Event(), []

    def keep_calling():
        while not done.is_set():
            answers.append(version(target / "static"))

    caller = threading.Thread(target=keep_calling)
    caller.start()
    try:
        for source in (other_build, suite, other_build, suite):
            _install_in_a_process(source, target)
    finally:
        done.set()
        caller.join()
    assert answers
    assert set(answers) == {expected}


def _install_in_a_process(source, target):
    """As make does it; a thread's fork could hold a file open for writing, which exec refuses."""
    subprocess.run([sys.executable, "-m", "tools.install", source, target], cwd=ROOT, check=True)


def test_a_failed_install_leaves_what_was_there(suite, other_build, target, monkeypatch):
    install(str(suite), str(target))
    monkeypatch.setattr(shutil, "copytree", _disk_full)
    with pytest.raises(OSError, match="No space"):
        install(str(other_build), str(target))
    assert {entry.name for entry in target.iterdir()} == {entry.name for entry in suite.iterdir()}
    assert version(target / "static")


def _disk_full(*_):
    raise OSError(28, "No space left on device")


def test_units_name_the_place_of_the_executables(suite, target, tmp_path):
    words = ("--units", tmp_path / "units", "--bindir", "/opt/cni/bin", suite, target)
    subprocess.run([sys.executable, "-m", "tools.install", *words], cwd=ROOT, check=True)
    service = (tmp_path / "units/cni-cnid.service").read_text()
    assert "ExecStart=/opt/cni/bin/cnid\n" in service
    assert (tmp_path / "units/cni-cnid.socket").stat().st_mode & 0o777 == 0o644
    words = ("--uninstall", "--units", tmp_path / "units", target)
    subprocess.run([sys.executable, "-m", "tools.install", *words], cwd=ROOT, check=True)
    assert list((tmp_path / "units").iterdir()) == []
