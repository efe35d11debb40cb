"""What the frozen suite has in place of pydantic: models that validate by prepared schemas.

Importing pydantic and building a plugin's models takes 50 ms, longer than most plugins work. What
comes out of it is the same on every host: a schema for each model, which pydantic's compiled core
turns into a validator in a tenth of a millisecond. ``tools/freeze/schemas.py`` takes the schemas
from the real models when the suite is built; here they are looked up. Validation itself, and with
it every message, is the core's in both cases.

Only what the models of this suite use is here; the build fails when they use more.
"""

import marshal
from importlib import import_module

from pydantic_core import SchemaValidator, ValidationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

__all__ = [
    "AfterValidator",
    "BaseModel",
    "BeforeValidator",
    "ConfigDict",
    "Field",
    "PlainValidator",
    "ValidationError",
    "WithJsonSchema",
    "field_validator",
    "model_validator",
]


class _FieldInfo:
    """What is asked about a field: its JSON name."""

    __slots__ = ("alias",)

    def __init__(self, alias: str) -> None:
        self.alias = alias


class _ModelFields:
    """The fields of the model class that is asked."""

    def __get__(self, _instance: object, cls: type) -> dict[str, _FieldInfo]:
        aliases = _prepared(cls).ALIASES[cls.__qualname__]
        return {name: _FieldInfo(alias) for name, alias in aliases.items()}


class BaseModel:
    """A model whose validator is made when it is first needed."""

    __slots__ = (
        "__dict__",
        "__pydantic_extra__",
        "__pydantic_fields_set__",
        "__pydantic_private__",
    )
    model_fields = _ModelFields()
    _validator: "SchemaValidator | None" = None
    _validator_of: "type | None" = None

    def __init__(self, **data: "Any") -> None:
        self._own_validator().validate_python(data, self_instance=self)

    @classmethod
    def model_validate(cls, value: object) -> "Self":
        """An instance, from decoded JSON."""
        instance: Self = cls._own_validator().validate_python(value)
        return instance

    def model_copy(self, *, update: "dict[str, Any]") -> "Self":
        """A copy with some fields replaced, which are not validated."""
        copy = object.__new__(type(self))
        object.__setattr__(copy, "__dict__", self.__dict__ | update)
        fields_set = self.__pydantic_fields_set__ | set(update)
        object.__setattr__(copy, "__pydantic_fields_set__", fields_set)
        object.__setattr__(copy, "__pydantic_extra__", None)
        object.__setattr__(copy, "__pydantic_private__", None)
        return copy

    @classmethod
    def _own_validator(cls) -> SchemaValidator:
        if cls._validator_of is not cls:
            schema = _resolved(marshal.loads(_prepared(cls).SCHEMAS[cls.__qualname__]))  # noqa: S302 - our own
            cls._validator, cls._validator_of = SchemaValidator(schema), cls
        return cls._validator

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return bool(self.__dict__ == other.__dict__)

    def __hash__(self) -> int:
        """Never fails, so that the core hands out a default as it is instead of a deep copy."""
        return hash((type(self), *self.__dict__))

    def __setattr__(self, name: str, _value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({fields})"


def prepare() -> None:
    """Make the validators of all models now, for children that are to find them made."""
    models = BaseModel.__subclasses__()
    for model in models:
        models += model.__subclasses__()
        model._own_validator()  # noqa: SLF001


def _prepared(cls: type) -> "Any":
    """What the build has made of the models of that class's module."""
    return import_module(f"pydantic._{cls.__module__.replace('.', '_')}")


def _resolved(value: "Any") -> "Any":
    """References become the classes and functions that they name."""
    if isinstance(value, dict):
        return {key: _resolved(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item) for item in value]
    if isinstance(value, tuple) and value and value[0] is Ellipsis:
        _, module, path, is_instance = value
        found: Any = import_module(module)
        for step in path.split("."):
            found = getattr(found, step)
        return found() if is_instance else found
    return value


def _nothing(*_arguments: object, **_keys: object) -> None:
    """What a schema says already need not be said again."""


def _decorator(*_arguments: object, **_keys: object) -> "Callable[[Any], Any]":
    return _unchanged


def _unchanged(function: "Any") -> "Any":
    return function


AfterValidator = BeforeValidator = ConfigDict = Field = PlainValidator = WithJsonSchema = _nothing
field_validator = model_validator = _decorator
