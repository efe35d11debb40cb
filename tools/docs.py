"""Writes the table of keys in ``docs/<plugin>.md`` from the plugin's configuration model.

The prose of a page is written by hand; what stands between the two marker lines is replaced.
``--check`` changes nothing and fails when a page is not what the models say.
"""

import sys
import types
import typing
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from plugins.launch import load
from plugins.registry import PLUGINS

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- keys: written by `make docs` -->", "<!-- end of keys -->"
NAMES = {str: "string", int: "integer", bool: "boolean", dict: "object", float: "number"}


def main(arguments: list[str]) -> int:
    """Write or check all pages; the exit status."""
    stale = []
    for name in PLUGINS:
        page = ROOT / "docs" / f"{name}.md"
        text = page.read_text()
        fresh = with_keys(text, keys_table(load(name).conf))
        if fresh != text:
            stale.append(page)
            if "--check" not in arguments:
                page.write_text(fresh)
    for page in stale:
        print(f"{page.relative_to(ROOT)}: {'stale' if '--check' in arguments else 'written'}")
    return 1 if stale and "--check" in arguments else 0


def with_keys(text: str, table: str) -> str:
    """``text`` with ``table`` between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}{END}{after}"


def keys_table(model: type[BaseModel]) -> str:
    """A Markdown table of every key of ``model``, nested ones with their path."""
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{path}` | {kind} | {default} | {meaning} |"
        for path, kind, default, meaning in rows(model)
    ]
    return "\n".join(lines) + "\n"


def rows(model: type[BaseModel], prefix: str = "") -> typing.Iterator[tuple[str, str, str, str]]:
    """(path, type, default, meaning) of every key."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        nested, depth = nested_model(field.annotation)
        meaning = (field.description or "").replace("|", "\\|")
        if nested is None:
            yield path, type_name(field), default_text(field), meaning
            continue
        if meaning or depth:
            yield path, "list of objects" if depth else "object", default_text(field), meaning
        yield from rows(nested, f"{path}{'[]' * depth}.")


def nested_model(annotation: object) -> tuple[type[BaseModel] | None, int]:
    """The model inside lists and optionals, and how many lists are around it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, 0
    is_list = typing.get_origin(annotation) is tuple
    for argument in typing.get_args(annotation):
        model, depth = nested_model(argument)
        if model is not None:
            return model, depth + is_list
    return None, 0


def type_name(field: FieldInfo) -> str:
    """The JSON type in words."""
    for extra in field.metadata:
        schema = getattr(extra, "json_schema", None)
        if schema:
            return f"string ({schema['format']})" if "format" in schema else str(schema["type"])
    return annotation_name(field.annotation)


def annotation_name(annotation: object) -> str:
    """The JSON type of a Python annotation in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        formats = [e.json_schema["format"] for e in arguments[1:] if hasattr(e, "json_schema")]
        return f"string ({formats[0]})" if formats else annotation_name(arguments[0])
    if origin is tuple:
        return f"list of {annotation_name(arguments[0])}"
    if origin is dict:
        is_free = arguments[1] is typing.Any
        return "object" if is_free else f"object of {annotation_name(arguments[1])}"
    if origin is typing.Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(annotation_name(a) for a in arguments if a is not type(None))
    return NAMES.get(annotation, "string") if isinstance(annotation, type) else "string"


def default_text(field: FieldInfo) -> str:
    """The default as JSON; empty when the key is simply absent."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return (
        f"`{default}`"
        if default not in (None, "", (), {}) and not isinstance(default, BaseModel)
        else ""
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
