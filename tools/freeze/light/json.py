"""The compiled halves of json; the real module's Python half needs ``re`` and ``enum``.

A document with an error takes the long way: the exception is that of ``json.decoder``.
"""

import _json
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

_WHITE_SPACE = " \t\n\r"
_FLOATS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class _Context:
    """What the compiled scanner reads its options from."""

    strict = True
    object_hook = None

    def __init__(
        self,
        object_pairs_hook: "Callable[[list[tuple[str, Any]]], Any] | None",
        parse_constant: "Callable[[str], Any] | None",
    ) -> None:
        self.object_pairs_hook = object_pairs_hook
        self.parse_constant = parse_constant or _FLOATS.__getitem__
        self.parse_float, self.parse_int = float, int


def loads(
    text: "str | bytes",
    *,
    object_pairs_hook: "Callable[[list[tuple[str, Any]]], Any] | None" = None,
    parse_constant: "Callable[[str], Any] | None" = None,
) -> "Any":
    """The value that ``text`` (bytes: UTF-8) holds."""
    if not isinstance(text, str):
        text = bytes(text).decode("utf-8", "surrogatepass")
    if text.startswith("\ufeff"):
        _refuse("Unexpected UTF-8 BOM (decode using utf-8-sig)", text, 0)
    scan = _json.make_scanner(_Context(object_pairs_hook, parse_constant))
    start = len(text) - len(text.lstrip(_WHITE_SPACE))
    try:
        value, end = _scanned(scan, text, start)
    except StopIteration as stop:
        _refuse("Expecting value", text, stop.value)
    rest = text[end:].lstrip(_WHITE_SPACE)
    if rest:
        _refuse("Extra data", text, len(text) - len(rest))
    return value


def _scanned(scan: "Any", text: str, start: int) -> "tuple[Any, int]":
    try:
        found: tuple[Any, int] = scan(text, start)
    except SystemError:  # the scanner takes its exception from json.decoder only if that is loaded
        import_module("json.decoder")
        found = scan(text, start)
    return found


def _refuse(what: str, text: str, place: int) -> "NoReturn":
    from json.decoder import JSONDecodeError

    raise JSONDecodeError(what, text, place)


def dumps(
    value: "Any",
    *,
    ensure_ascii: bool = True,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """``value`` as text."""
    string = _json.encode_basestring_ascii if ensure_ascii else _json.encode_basestring
    comma, colon = separators or (", " if indent is None else ",", ": ")
    return "".join(_pieces(value, string, indent, (comma, colon), "\n", sort_keys))


def _pieces(
    value: "Any",
    string: "Callable[[str], str]",
    indent: int | None,
    separators: tuple[str, str],
    line: str,
    sort_keys: bool,  # noqa: FBT001
) -> "Iterator[str]":
    comma, colon = separators
    if isinstance(value, str):
        yield string(value)
    elif isinstance(value, (dict, list, tuple)) and value:
        inner = line + " " * (indent or 0)
        start = inner if indent is not None else ""
        between = comma + start
        is_object = isinstance(value, dict)
        yield ("{" if is_object else "[") + start
        for number, item in enumerate(_items(value, sort_keys)):
            prefix = between if number else ""
            yield f"{prefix}{string(_key(item[0]))}{colon}" if is_object else prefix
            part = item[1] if is_object else item
            yield from _pieces(part, string, indent, separators, inner, sort_keys)
        yield (line if indent is not None else "") + ("}" if is_object else "]")
    else:
        yield _scalar(value)


def _items(value: "Any", sort_keys: bool) -> "Any":  # noqa: FBT001
    if not isinstance(value, dict):
        return value
    return sorted(value.items()) if sort_keys else value.items()


def _key(key: "Any") -> str:
    return key if isinstance(key, str) else _scalar(key)


def _scalar(value: "Any") -> str:
    """What is not a string and holds nothing."""
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float) and value - value == 0:
        return float.__repr__(value)
    if isinstance(value, (dict, list, tuple)):
        return "{}" if isinstance(value, dict) else "[]"
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def __getattr__(name: str) -> object:
    if name in {"decoder", "encoder", "scanner"}:  # submodules: the import system finds them
        raise AttributeError(name)
    return __loader__.real(__name__, name)
