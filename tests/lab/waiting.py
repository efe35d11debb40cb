"""Waiting for what comes some time after its cause."""

import time

import pytest

_TRIES, _PAUSE = 600, 0.05


def until(condition):
    """Wait until ``condition()`` holds; half a minute, and then it fails."""
    for _ in range(_TRIES):
        if condition():
            return
        time.sleep(_PAUSE)
    pytest.fail("it does not come to pass")
