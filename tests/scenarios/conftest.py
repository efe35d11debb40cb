"""Scenarios run on any directory of plugins; some on ours only, for a reason that they give."""

import os
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools.install import runtime_of


def pytest_collection_modifyitems(items):
    binaries = Path(os.environ.get("CNI_BIN") or ROOT / "dist/cni/bin")
    if runtime_of(str(binaries / "bridge")):
        return
    for item in items:
        for marker in item.iter_markers("ours"):
            (reason,) = marker.args
            item.add_marker(pytest.mark.skip(reason=f"we differ: {reason}"))
