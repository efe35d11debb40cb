"""Taking the schemas of all models at build time, for ``instead/pydantic.py`` to use at run time.

A schema is what pydantic hands to its compiled core: dictionaries and lists, with the classes and
functions of the suite in between. Those are written as references, ``(..., module, path, False)``;
a default that is a model, as ``(..., module, path, True)``, means an instance without arguments.
"""

import importlib
import marshal
import pkgutil
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import cnilib
import plugins
from cnilib.types.base import Model

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_FOR_VALIDATION = {"metadata", "serialization", "serialization_alias"}


def sources() -> dict[str, str]:
    """Name -> source of modules with the schema and the JSON names of models, one for each module.

    A plugin then reads those of its own models and no others.
    """
    for package in (cnilib, plugins):
        _import_all(package)
    schemas: dict[str, dict[str, bytes]] = {}
    aliases: dict[str, dict[str, dict[str, str]]] = {}
    for model in (Model, *_subclasses(Model)):
        module, name = f"pydantic._{model.__module__.replace('.', '_')}", model.__qualname__
        schema = marshal.dumps(_plain(model.__pydantic_core_schema__))
        schemas.setdefault(module, {})[name] = schema
        fields = {field: info.alias or field for field, info in model.model_fields.items()}
        aliases.setdefault(module, {})[name] = fields
    return {
        module: f"SCHEMAS = {schemas[module]!r}\nALIASES = {aliases[module]!r}\n"
        for module in schemas
    }


def _import_all(package: ModuleType) -> None:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def _subclasses(model: type) -> "Iterator[Any]":
    for subclass in model.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _plain(value: Any) -> Any:
    """``value`` in what ``marshal`` knows."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key not in _NOT_FOR_VALIDATION}
        return {key: _plain(item) for key, item in kept.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if value is None or value == () or isinstance(value, (bool, int, float, str)):
        return value
    return _reference(value)


def _reference(value: Any) -> tuple[Any, ...]:
    """Where the suite has this class, function or default.

    Raises:
        TypeError: nowhere, as with a lambda: the stand-in must learn it first.
    """
    if isinstance(value, MethodType) and isinstance(value.__self__, type):
        owner = value.__self__
        return (..., owner.__module__, f"{owner.__qualname__}.{value.__name__}", False)
    if isinstance(value, (type, FunctionType)) and "<" not in value.__qualname__:
        return (..., value.__module__, value.__qualname__, False)
    if isinstance(value, Model) and value == type(value)():
        return (..., type(value).__module__, type(value).__qualname__, True)
    raise TypeError(f"a schema holds {value!r}, which the frozen suite cannot refer to")
