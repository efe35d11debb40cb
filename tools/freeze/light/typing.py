"""What plugins take from typing: NamedTuple, and names that stand in annotations only."""

from _collections import _tuplegetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Self


class _Form:
    """Whatever is done with it in an annotation: the same again."""

    def __getitem__(self, _parameters: object) -> "_Form":
        return self

    def __or__(self, _other: object) -> "_Form":
        return self

    __ror__ = __or__

    def __mro_entries__(self, _bases: object) -> tuple[type, ...]:
        return ()


Annotated = Any = Callable = ClassVar = Dict = Final = Generator = Generic = Iterator = _Form()
List = Literal = Mapping = NoReturn = Optional = Protocol = Self = Sequence = Set = Tuple = _Form()
Type = Union = _Form()


def TypeVar(_name: str, *_constraints: object, **_keys: object) -> _Form:  # noqa: N802
    """A name for annotations."""
    return Any


def cast(_kind: object, value: object) -> object:
    """The value."""
    return value


def overload(_function: object) -> object:
    """Nothing calls it."""
    return None


class _NamedTuple(tuple):
    """What collections.namedtuple gives a class, in functions that all classes share.

    The real one compiles a constructor for each class, 0.1 ms each; a plugin has twenty.
    """

    __slots__ = ()
    _fields: tuple[str, ...]
    _field_defaults: "dict[str, Any]"

    def __new__(cls, *values: "Any", **named: "Any") -> "Self":
        if named or len(values) != len(cls._fields):
            values += tuple(cls._rest(len(values), named))
        return tuple.__new__(cls, values)

    @classmethod
    def _rest(cls, given: int, named: "dict[str, Any]") -> "Iterable[Any]":
        """The values of the fields behind the positional ones."""
        fields = cls._fields[given:]
        if given > len(cls._fields) or not named.keys() <= set(fields):
            raise TypeError(f"{cls.__name__} has the fields {cls._fields}")
        for field in fields:
            if field in named:
                yield named[field]
            elif field in cls._field_defaults:
                yield cls._field_defaults[field]
            else:
                raise TypeError(f"{cls.__name__} needs the field {field}")

    @classmethod
    def _make(cls, values: "Iterable[Any]") -> "Self":
        return cls(*values)

    def _asdict(self) -> "dict[str, Any]":
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **changed: "Any") -> "Self":
        return type(self)(**(self._asdict() | changed))

    def __getnewargs__(self) -> "tuple[Any, ...]":
        return tuple(self)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({fields})"


class _NamedTupleMeta(type):
    def __new__(cls, name: str, _bases: object, namespace: "dict[str, Any]") -> type:
        fields = tuple(namespace.get("__annotations__", ()))
        defaults = {field: namespace[field] for field in fields if field in namespace}
        getters = {field: _tuplegetter(place, "") for place, field in enumerate(fields)}
        own = {"__slots__": (), "_fields": fields, "_field_defaults": defaults}
        return type(name, (_NamedTuple,), namespace | getters | own | {"__match_args__": fields})


class _NamedTupleForm:
    def __mro_entries__(self, _bases: object) -> tuple[type, ...]:
        return (_Base,)


_Base = type.__new__(_NamedTupleMeta, "NamedTuple", (), {})
"""Its only task is to hand a class that names it to the metaclass."""
NamedTuple = _NamedTupleForm()


def __getattr__(name: str) -> object:
    return __loader__.real(__name__, name)
