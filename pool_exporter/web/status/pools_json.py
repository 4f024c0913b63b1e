"""`/-/pools.json`: the state of all pools as a JSON document, and back. The fields of `values` are the keys.

`pool-exporter top` reads it from servers of other versions: a key that is unknown is ignored, a missing one has its
default, and what is not such a document is a ValueError. Nothing here may know HTTP.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Final, TypeVar, cast, get_args, get_origin, get_type_hints

from pool_exporter.web.status.values import Status

SCHEMA: Final = 1
"""The version of the keys. It is raised when a key goes or changes its meaning, not for a new key."""
NUMBER_MAX: Final = 1e15
"""A number beyond these 30 million years is none that a server has written."""
DIGITS: Final = 6
"""Decimals of a number: a microsecond."""

_T = TypeVar("_T")
_KEY: Final = "schema"


def to_document(status: Status) -> dict[str, object]:
    """Return the document: plain values only, that `json.dumps` can write."""
    return {_KEY: SCHEMA, **cast("dict[str, object]", _plain(status))}


def from_document(document: object) -> Status:
    """Return the state that a document has.

    Raises:
        ValueError: It is no such document, or of a schema that is not known.
    """
    if not isinstance(document, dict) or document.get(_KEY) != SCHEMA:
        raise ValueError(f"it is no document of schema {SCHEMA}")
    return _built(Status, document)


def _plain(value: object) -> object:
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return round(value, DIGITS)
    return value if isinstance(value, int | str | NoneType) else str(value)


@cache
def _hints(kind: Hashable) -> dict[str, object]:
    return get_type_hints(kind)


def _built(kind: type[_T], data: object) -> _T:
    if not isinstance(data, dict):
        raise ValueError(f"{kind.__name__} must be an object, not {type(data).__name__}")  # noqa: TRY004  # a ValueError, as for each fault of a document
    hints, given = _hints(cast("Hashable", kind)), {}
    for each in cast("tuple[Field[object], ...]", fields(kind)):  # type: ignore[arg-type]  # each kind is a dataclass
        if each.name in data:
            given[each.name] = _value(hints[each.name], data[each.name], each.name)
        elif each.default is MISSING and each.default_factory is MISSING:
            raise ValueError(f"{kind.__name__} needs {each.name}")
    return kind(**given)


def _value(hint: object, data: object, name: str) -> object:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return None if data is None else _value(arguments[0], data, name)
    if origin is tuple and isinstance(data, list):
        return tuple(_value(arguments[0], each, name) for each in cast("Sequence[object]", data))
    if origin is not None and origin is not tuple and isinstance(data, dict):
        return {key: _value(arguments[1], each, name) for key, each in data.items()}
    if isinstance(hint, type) and is_dataclass(hint):
        return _built(hint, data)
    accepted = (int, float) if hint is float else hint
    # Python 3.10 calls tuple[str, ...] a type too, of which nothing can be an instance.
    is_right = origin is None and isinstance(hint, type) and isinstance(data, cast("type", accepted))
    if not is_right or (isinstance(data, bool) and hint is not bool):
        raise ValueError(f"{name} must be of type {getattr(hint, '__name__', hint)}, not {type(data).__name__}")
    if isinstance(data, int | float) and not abs(data) <= NUMBER_MAX:  # Nor is NaN.
        raise ValueError(f"{name} must be at most {NUMBER_MAX:g}")
    return data
