"""Waiting for what comes some time after its cause."""

import time


def until(condition, seconds=30.0):
    """What ``condition()`` gives, once it is true; fails the test otherwise."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, f"never came true: {condition}"
        time.sleep(0.05)
    return found
