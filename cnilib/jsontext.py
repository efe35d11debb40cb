"""JSON the way Go's ``encoding/json`` reads and writes it (protocol.md 2.3 and 5.2).

Runtimes rely on its habits: keys match in any case, of duplicate keys the last counts, broken
UTF-8 is replaced rather than refused, and ``<``, ``>`` and ``&`` are written as escapes.
"""

import json

from cnilib.errors import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_KEY_FOLDS = {"\u017f": "s", "\u212a": "k"}  # the non-ASCII letters that fold into ASCII


def load_object(text: bytes, what: str) -> "dict[str, Any]":
    """The one JSON object in ``text``; JSON ``null`` is an empty one.

    ``what`` names the document in errors.

    Raises:
        DecodeError: anything else.
    """
    try:
        value = json.loads(
            text.decode("utf-8", "replace"),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
        )
    except ValueError as error:
        raise DecodeError(f"error parsing {what}: {error}") from None
    except RecursionError:
        raise DecodeError(f"error parsing {what}: nested too deeply") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DecodeError(f"error parsing {what}: expected an object, found a {_kind(value)}")
    return value


def dump(document: "dict[str, Any]", *, sort_keys: bool = False, compact: bool = False) -> bytes:
    """``document`` in UTF-8 without trailing newline, indented by 4 spaces unless ``compact``."""
    layout: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 4}
    text = json.dumps(document, ensure_ascii=False, sort_keys=sort_keys, **layout)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode("utf-8", "replace")


def fold(key: str) -> str:
    """Unicode *simple* case folding: one character stays one character (``ß`` is not ``ss``)."""
    if key.isascii():
        return key.lower()
    return "".join(_KEY_FOLDS.get(char) or char.lower() for char in key)


def find(document: "dict[str, Any]", key: str) -> "Any":
    """The last value that is not null under ``key`` in any case; None when there is none."""
    wanted, found = fold(key), None
    for own, value in document.items():
        if value is not None and fold(own) == wanted:
            found = value
    return found


def has(document: "dict[str, Any]", key: str) -> bool:
    """Whether ``key`` is there in any case, null included."""
    wanted = fold(key)
    return any(fold(own) == wanted for own in document)


def _object(pairs: "Sequence[tuple[str, Any]]") -> "dict[str, Any]":
    """An object whose keys stand in the order of their last occurrence."""
    members: dict[str, Any] = {}
    for key, value in pairs:
        members.pop(key, None)
        members[key] = _well_formed(value) if isinstance(value, str) else value
    return members


def _well_formed(text: str) -> str:
    """A lone surrogate, which JSON can spell as an escape, becomes U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _kind(value: object) -> str:
    names = {str: "string", bool: "boolean", int: "number", float: "number", list: "list"}
    return names[type(value)]
