"""What is in the built directory, and what is not."""

import marshal
import re
import subprocess

import pytest
from PyInstaller.archive.readers import CArchiveReader

from plugins.registry import PLUGINS
from tests.conftest import ROOT
from tools.install import runtime_of

pytestmark = pytest.mark.frozen

HOST_LIBRARIES = re.compile(r"(ld-linux.*|linux-vdso|lib(c|m|dl|rt|pthread|resolv))\.so")
MIB = 1 << 20


@pytest.fixture(scope="module")
def runtime(suite):
    return suite / runtime_of(str(suite / "bridge"))


@pytest.fixture(scope="module")
def modules(runtime):
    """The index of the module archive, and a function that gives a module's code."""
    archive = (runtime / "modules.bin").read_bytes()
    start = 8 + int.from_bytes(archive[:8], "little")
    index = marshal.loads(archive[8:start])

    def code(name):
        _, offset, size, _ = index[name]
        return marshal.loads(archive[start + offset : start + offset + size])

    return index, code


def test_one_executable_for_each_plugin_and_one_runtime_directory(suite, runtime):
    assert {entry.name for entry in suite.iterdir()} == {*PLUGINS, "cnid", runtime.name}
    assert {runtime_of(str(suite / name)) for name in PLUGINS} == {runtime.name}


def test_copied_suite_is_within_its_size_budget(copied):
    total = sum(entry.stat().st_size for entry in copied.rglob("*") if entry.is_file())
    assert total <= 60 * MIB


def test_an_executable_holds_no_modules_of_its_own(suite):
    for name in PLUGINS:
        assert (suite / name).stat().st_size <= MIB // 4


def test_no_runtime_hook_and_no_bootstrap_of_pyinstaller_runs(suite):
    for name in PLUGINS:
        code = {
            entry
            for entry, (*_, kind) in CArchiveReader(str(suite / name)).toc.items()
            if kind in "sm"
        }
        assert code == {"boot", f"program-{name}"}


def test_every_plugin_is_inside(modules):
    index, _ = modules
    assert {module for module, _ in PLUGINS.values()} <= set(index)


def test_package_of_pyroute2_imports_nothing(modules):
    index, code = modules
    if "pyroute2" not in index:
        pytest.skip("no plugin imports pyroute2")
    assert code("pyroute2").co_names == ()


def test_every_library_is_inside_or_belongs_to_glibc(runtime):
    missing = set()
    for library in [*runtime.rglob("*.so"), *runtime.rglob("*.so.*")]:
        listed = subprocess.run(
            ["ldd", library],
            env={"LD_LIBRARY_PATH": str(runtime)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for line in listed.splitlines():
            inside = f"=> {runtime}/" in line
            if not inside and not HOST_LIBRARIES.search(line) and "statically linked" not in line:
                missing.add(line.strip())
    assert not missing


def test_netfilter_library_is_inside(runtime):
    assert (runtime / "libnftables.so.1").is_file()


def test_no_path_of_the_build_is_inside(suite):
    needle = str(ROOT).encode()
    assert not [
        entry.name for entry in suite.rglob("*") if entry.is_file() and needle in entry.read_bytes()
    ]


def test_every_user_may_read_and_run_it(suite):
    for entry in [suite, *suite.rglob("*")]:
        wanted = 0o555 if entry.is_dir() or entry.parent == suite else 0o444
        assert entry.stat().st_mode & wanted == wanted, entry
