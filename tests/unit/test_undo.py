"""ADD is all or nothing; DEL goes on and reports everything."""

import pytest

from cnilib.errors import CniError, ConfigError, IoError
from cnilib.undo import ErrorList, Undo


def fail(message):
    raise CniError(message)


def test_steps_are_undone_last_first_when_the_block_fails():
    done = []
    with pytest.raises(ConfigError), Undo() as undo:
        undo.add("a", done.append, "a")
        undo.add("b", done.append, "b")
        raise ConfigError("no")
    assert done == ["b", "a"]


def test_nothing_is_undone_when_the_block_succeeds():
    done = []
    with Undo() as undo:
        undo.add("a", done.append, "a")
    assert done == []


def test_a_step_that_fails_is_told_and_the_rest_still_runs(capfd):
    done = []
    with pytest.raises(ConfigError, match="first"), Undo() as undo:
        undo.add("a", done.append, "a")
        undo.add("remove b", fail, "stuck")
        raise ConfigError("first")
    assert done == ["a"]
    assert capfd.readouterr().err == "undo: failed to remove b: stuck\n"


def test_one_failure_keeps_its_code_and_details():
    errors = ErrorList()
    with errors:
        raise IoError("disk", "full")
    with pytest.raises(IoError) as raised:
        errors.raise_any()
    assert (raised.value.msg, raised.value.details) == ("disk", "full")


def test_several_failures_are_joined_under_the_first_code():
    errors = ErrorList()
    for error in (IoError("one"), ConfigError("two")):
        with errors:
            raise error
    with pytest.raises(CniError) as raised:
        errors.raise_any()
    assert (raised.value.code, raised.value.msg) == (5, "one; two")


def test_a_bug_is_not_collected():
    with pytest.raises(KeyError), ErrorList():
        raise KeyError("bug")


def test_a_signal_during_undo_does_not_end_it():
    done, signals = [], [SystemExit]

    def interrupted():
        if signals:
            raise signals.pop()
        done.append("second")

    undo = Undo()
    undo.add("undo the first", done.append, "first")
    undo.add("undo the second", interrupted)
    with pytest.raises(SystemExit):
        undo.run()
    assert done == ["second", "first"]
