"""State files: locks that die with their holder, writes that are whole or not at all."""

import os
import subprocess
import sys
import time

import pytest

from cnilib import store
from cnilib.errors import IoError, TryAgain
from cnilib.store import create_exclusive, locked, read_file, remove_file, write_atomic

HOLD = """
import sys
from cnilib.store import locked
with locked(sys.argv[1]):
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock ``tmp_path/lock``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_a_lock_makes_its_directory(tmp_path):
    with locked(str(tmp_path / "a" / "b" / "lock")):
        assert (tmp_path / "a" / "b" / "lock").stat().st_mode & 0o777 == 0o600


def test_a_lock_that_stays_taken_names_its_holder(tmp_path, holder):
    with (
        pytest.raises(TryAgain, match=f"process {holder.pid}"),
        locked(str(tmp_path / "lock"), time.monotonic() + 0.05),
    ):
        pass


def test_a_killed_holder_leaves_no_lock_behind(tmp_path, holder):
    holder.kill()
    holder.wait()
    with locked(str(tmp_path / "lock"), time.monotonic() + 5):
        pass


def test_write_replaces_the_whole_content_and_leaves_no_other_file(tmp_path):
    path = str(tmp_path / "new" / "state")
    write_atomic(path, b"long old content")
    write_atomic(path, b"new")
    assert read_file(path) == b"new"
    assert os.listdir(tmp_path / "new") == ["state"]


def test_create_exclusive_keeps_what_is_there(tmp_path):
    path = str(tmp_path / "lease")
    assert create_exclusive(path, b"mine")
    assert not create_exclusive(path, b"yours")
    assert read_file(path) == b"mine"
    assert os.listdir(tmp_path) == ["lease"]


def test_a_failed_write_keeps_the_old_content_and_names_the_file(tmp_path):
    target = tmp_path / "directory"
    target.mkdir()
    with pytest.raises(IoError, match=str(target)):
        write_atomic(str(target), b"x")
    assert os.listdir(tmp_path) == ["directory"]


def test_what_is_missing_is_none_and_removing_it_is_fine(tmp_path):
    assert read_file(str(tmp_path / "no")) is None
    assert not remove_file(str(tmp_path / "no"))


def test_a_process_that_has_waited_long_leaves_undo_a_moment_to_wait(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(store, "_process_age", lambda: 3600.0)
    monkeypatch.setattr(store, "_LEAST_PATIENCE", 0.05)
    with pytest.raises(TryAgain, match=f"process {holder.pid}"), locked(str(tmp_path / "lock")):
        pass


def test_a_new_process_may_wait_almost_the_whole_time_of_a_call():
    left = (
        "from cnilib import store; import time; print(store.process_deadline() - time.monotonic())"
    )
    seconds = subprocess.check_output([sys.executable, "-c", left], text=True)
    assert 0 < float(seconds) <= 50
