"""The model every configuration and result type is built on, and how bad input is reported.

The reference plugins decode with Go's ``encoding/json``, and runtimes rely on its habits
(protocol.md 2.3): keys match in any case, ``null`` means absent, unknown keys are ignored, and
no value is converted to another JSON type.
"""

from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from cnilib.errors import CniError, ConfigError, DecodeError
from cnilib.jsontext import fold

T = TypeVar("T")
M = TypeVar("M", bound="Model")

Items = Annotated[tuple[T, ...], Field(strict=False)]
"""A JSON list as an immutable tuple; its items are as strict as their own type."""


def _without_nul(path: str) -> str:
    if "\0" in path:
        raise ValueError(f"{path!r} is no path: it has a NUL character")
    return path


FilePath = Annotated[str, AfterValidator(_without_nul)]
"""A path as the kernel takes one."""


class Model(BaseModel):
    """A frozen, strict pydantic model with Go's way of matching keys.

    The JSON name of a field is its camelCase form unless ``Field(alias=...)`` says otherwise.
    """

    model_config = ConfigDict(
        strict=True,
        extra="ignore",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _match_keys_in_any_case(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        names = _json_names(cls)
        return {
            names.get(fold(key), key): value for key, value in data.items() if value is not None
        }


_NAMES: dict[type[BaseModel], dict[str, str]] = {}


def _json_names(model: type[BaseModel]) -> dict[str, str]:
    """Folded key -> the spelling pydantic knows, for one model."""
    if model not in _NAMES:
        aliases = [field.alias or name for name, field in model.model_fields.items()]
        _NAMES[model] = {fold(alias): alias for alias in aliases}
    return _NAMES[model]


def decode(model: type[M], value: object) -> M:
    """``value`` (decoded JSON) as a ``model``.

    :raises DecodeError: a value has the wrong JSON type.
    :raises ConfigError: a value has the right type and is invalid, or a required key is missing.
    Both name the key with its path, for example ``ipam.ranges[0][1].subnet``.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _as_cni_error(error) from None


def _as_cni_error(error: ValidationError) -> CniError:
    """The first complaint in full; how many more there are goes to the details."""
    complaints = error.errors(include_url=False, include_input=False)
    first = complaints[0]
    where = _path(first["loc"]) or "the document"
    details = (
        ""
        if len(complaints) == 1
        else "also: " + "; ".join(_path(other["loc"]) for other in complaints[1:4])
    )
    cause = first.get("ctx", {}).get("error")
    kind = first["type"]
    if kind == "value_error" and isinstance(cause, ValueError):
        return ConfigError(f"invalid configuration: {where}: {cause}", details)
    text = f"{where}: {_in_json_words(first['msg'])}"
    if kind.endswith(("_type", "_parsing")) or kind in {"int_from_float", "recursion_loop"}:
        return DecodeError(f"cannot decode configuration: {text}", details)
    return ConfigError(f"invalid configuration: {text}", details)


def _in_json_words(message: str) -> str:
    """Pydantic speaks of Python's types, the reader of the message wrote JSON."""
    words = message.replace("tuple", "list").replace("dictionary", "object")
    return words[0].lower() + words[1:]


def _path(location: tuple[int | str, ...]) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


JsonObject = dict[str, Any]
"""A JSON object with free keys, as ``json`` decodes it."""
