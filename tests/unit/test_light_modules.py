"""Modules that frozen plugins have cut down: they do what the real ones do."""

import functools
import hashlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

LIGHT = Path(__file__).parents[2] / "tools/freeze/light"

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
STYLES = [
    {},
    {"indent": 1},
    {"indent": 4, "ensure_ascii": False},
    {"separators": (",", ":")},
    {"sort_keys": True, "indent": 4},
]


def light(name):
    spec = importlib.util.spec_from_file_location(f"light_{name}", LIGHT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


light_json, light_typing = light("json"), light("typing")


@given(VALUES, st.sampled_from(STYLES))
def test_json_is_written_as_the_real_module_writes_it(value, style):
    assert light_json.dumps(value, **style) == json.dumps(value, **style)


@given(VALUES)
def test_json_is_read_as_the_real_module_reads_it(value):
    text = json.dumps(value, ensure_ascii=False)
    assert light_json.loads(f" \n{text}\t") == value
    assert light_json.loads(json.dumps(value).encode()) == value


def outcome(loads, text):
    """The value, or the words of the refusal."""
    try:
        return loads(text)
    except json.JSONDecodeError as error:
        return str(error)


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \\u\ufeff'))
def test_json_refuses_what_the_real_module_refuses_in_the_same_words(text):
    assert outcome(light_json.loads, text) == outcome(json.loads, text)


def test_json_hooks_are_called():
    text = '{"a": [1, {"a": 2, "a": 3}]}'
    assert light_json.loads(text, object_pairs_hook=tuple) == json.loads(
        text, object_pairs_hook=tuple
    )
    assert light_json.loads("NaN", parse_constant=str.lower) == "nan"


class Real(NamedTuple):
    first: int
    second: str = "two"
    third: "list[int] | None" = None

    @property
    def both(self):
        return (self.first, self.second)

    def shout(self):
        return self.second.upper()


class Light(light_typing.NamedTuple):
    first: int
    second: str = "two"
    third: "list[int] | None" = None

    @property
    def both(self):
        return (self.first, self.second)

    def shout(self):
        return self.second.upper()


@pytest.mark.parametrize(
    ("values", "named"),
    [((1,), {}), ((1, "x"), {}), ((), {"first": 1}), ((1,), {"third": [3]}), ((1, "x", []), {})],
)
def test_a_named_tuple_is_built_and_used_like_the_real_one(values, named):
    real, cut = Real(*values, **named), Light(*values, **named)
    assert tuple(cut) == tuple(real)
    assert (cut.first, cut.second, cut.third) == (real.first, real.second, real.third)
    assert (cut.both, cut.shout()) == (real.both, real.shout())
    assert cut._replace(second="new") == real._replace(second="new")
    assert cut._asdict() == real._asdict()
    assert repr(cut).removeprefix("Light") == repr(real).removeprefix("Real")
    assert (Light._fields, Light._field_defaults) == (Real._fields, Real._field_defaults)


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), ((1, 2, 3, 4), {}), ((1,), {"first": 2}), ((1,), {"x": 2})]
)
def test_a_named_tuple_refuses_wrong_fields(values, named):
    for kind in (Real, Light):
        with pytest.raises(TypeError):
            kind(*values, **named)


def test_a_named_tuple_matches_by_place():
    match Light(1, "x"):
        case Light(first, second):
            assert (first, second) == (1, "x")


def test_names_of_annotations_may_be_used_as_such():
    assert light_typing.cast(int, "x") == "x"
    form = light_typing.Union[light_typing.Optional[int], None] | int
    assert None | form is not None

    class Child(light_typing.Generic[light_typing.TypeVar("T")]):
        pass

    assert Child.__mro__ == (Child, object)


def test_json_refuses_before_the_real_decoder_is_loaded(tmp_path):
    """The compiled scanner finds its exception only where the decoder is loaded already."""
    shutil.copytree(Path(json.__file__).parent, tmp_path / "json")
    shutil.copy(LIGHT / "json.py", tmp_path / "json/__init__.py")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import json; json.loads('{{')"
    words = [sys.executable, "-S", "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "JSONDecodeError: Expecting property name" in done.stderr


def test_a_socket_accepts_and_receives_descriptors(tmp_path):
    cut = light("socket")
    path = str(tmp_path / "socket")
    with cut.socket(cut.AF_UNIX, cut.SOCK_SEQPACKET) as listening:
        listening.bind(path)
        listening.listen()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sender:
            sender.connect(path)
            connection, _ = listening.accept()
            with connection, (tmp_path / "sent").open("wb") as sent:
                socket.send_fds(sender, [b"two"], [sent.fileno(), sent.fileno()])
                data, descriptors, _, _ = cut.recv_fds(connection, 10, 3)
    assert data == b"two"
    assert [os.readlink(f"/proc/self/fd/{number}") for number in descriptors] == [
        str(tmp_path / "sent"),
        str(tmp_path / "sent"),
    ]
    for number in descriptors:
        os.close(number)


@pytest.mark.parametrize("module", [functools, light("functools")], ids=["real", "light"])
class TestFunctools:
    def test_a_wrapper_looks_like_what_it_wraps(self, module):
        def wrapped(number: int):
            """What it does."""

        wrapped.mark = "own"

        @module.wraps(wrapped)
        def wrapper():
            pass

        assert (wrapper.__name__, wrapper.__doc__, wrapper.mark) == (
            "wrapped",
            "What it does.",
            "own",
        )
        assert wrapper.__annotations__ == wrapped.__annotations__
        assert wrapper.__wrapped__ is wrapped

    def test_a_cached_function_is_called_once_for_each_argument(self, module):
        calls = []

        @module.lru_cache
        def bare(number):
            calls.append(number)
            return number + 1

        @module.lru_cache(maxsize=1)
        def small(number):
            calls.append(number)
            return number + 1

        assert [bare(1), bare(1), bare(2), small(1), small(2), small(1)] == [2, 2, 3, 2, 3, 2]
        assert calls == [1, 2, 1, 2, 1]
        assert tuple(small.cache_info())[:2] == (0, 3)
        assert small.__name__ == "small"

    def test_a_compiled_function_may_be_wrapped_and_cached(self, module):
        assert module.lru_cache(len)("abc") == 3
        wrapper = module.wraps(len, assigned=("__name__",), updated=())(lambda: None)
        assert (wrapper.__name__, wrapper.__doc__) == ("len", None)

    def test_a_cached_property_is_computed_once(self, module):
        class Thing:
            computed = 0

            @module.cached_property
            def value(self):
                """What it is."""
                self.computed += 1
                return 7

        thing = Thing()
        assert (thing.value, thing.value, thing.computed) == (7, 7, 1)
        assert Thing.value.__doc__ == "What it is."

    @given(st.integers(0, 3), st.integers(0, 3))
    def test_comparisons_follow_from_less_and_equal(self, module, one, other):
        @module.total_ordering
        class Number:
            def __init__(self, number):
                self.number = number

            def __eq__(self, other):
                return self.number == other.number

            __hash__ = None

            def __lt__(self, other):
                if not isinstance(other, Number):
                    return NotImplemented
                return self.number < other.number

        left, right = Number(one), Number(other)
        assert (left > right) == (one > other)
        assert (left <= right) == (one <= other)
        assert (left >= right) == (one >= other)
        with pytest.raises(TypeError):
            left > one  # noqa: B015


def test_importing_by_name_gives_what_the_real_module_gives():
    assert light("importlib").import_module("json.decoder") is json.decoder
    with pytest.raises(ModuleNotFoundError):
        light("importlib").import_module("json.no_such")


@pytest.mark.parametrize("name", ["sha256", "sha512"])
def test_digests_are_the_real_ones(name):
    cut, real = getattr(light("hashlib"), name), getattr(hashlib, name)
    assert cut(b"name").hexdigest() == real(b"name").hexdigest()
