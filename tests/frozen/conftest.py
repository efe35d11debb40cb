"""The built suite, and ways to run one of its executables."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.frozen.cnid import listens
from tests.lab.waiting import until


@pytest.fixture
def copied(suite, tmp_path) -> Path:
    """The suite as ``cp -r`` leaves it somewhere else."""
    target = tmp_path / "copied"
    shutil.copytree(suite, target)
    return target


def call(executable, env=None, **options):
    """Run an executable with nothing in its environment but ``env``."""
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(
        [str(executable)], env=env or {}, capture_output=True, timeout=60, check=False, **options
    )


def version(executable, **options):
    """Its answer to VERSION."""
    done = call(executable, {"CNI_COMMAND": "VERSION"}, **options)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def about(executable, **options):
    """The first line of what it says about itself: names the plugin it takes itself for."""
    done = call(executable, **options)
    assert (done.returncode, done.stdout) == (0, b"")
    return done.stderr.decode().splitlines()[0]


@pytest.fixture
def start_cnid(host, suite):
    """Start the server on the host; all that were started end with the test."""
    started = []

    def start(*arguments, program=f"{suite}/cnid"):
        process = subprocess.Popen(
            host.command(program, *arguments),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        until(lambda: process.poll() is not None or listens(host))
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def cnid(start_cnid):
    return start_cnid()
