"""Validates a frozen dataclass when it is built, so that no output checks a value and none can change one.

The annotation of a field says what it may hold: `Count`, `Seconds`, `Flag`, `Unbounded`, `Signed` or `Text`, each of
them also `| None`, in a tuple, or as keys or values of a mapping. A text that is annotated with a tuple is one of its
elements. A mapping that is annotated with a `Label` has each value of that closed set; one that is annotated with names
of counters has each of these. `validate(self)` in `__post_init__` checks this, and a class adds only what no annotation
says. A number without one of these annotations is a TypeError at the first instance, so that no field is left unchecked
by mistake.

A text of a file or a server is made valid by `encodable` where it is read, one of the application by `units.label`.

Nothing here may know a metric, or what the values are used for.
"""

from collections.abc import Callable, Collection, Mapping
from enum import Enum
from functools import cache, partial
from math import inf
from types import MappingProxyType, UnionType
from typing import Annotated, Final, TypeAlias, Union, get_args, get_origin, get_type_hints

from pool_exporter.encodable import encodable
from pool_exporter.metrics.metric import Label


class Allowed(Enum):
    """Which numbers a field may have."""

    FINITE = "finite and not negative"
    UNBOUNDED = "not negative"
    FLAG = "0 or 1"
    SIGNED = "finite"
    TEXT = "text that UTF-8 can encode"


Count: TypeAlias = Annotated[int, Allowed.FINITE]
"""A number of things, at least 0."""
Seconds: TypeAlias = Annotated[float, Allowed.FINITE]
"""A duration, an age or a Unix time in seconds, at least 0."""
Unbounded: TypeAlias = Annotated[float, Allowed.UNBOUNDED]
"""A number of at least 0; infinity stands for "no limit" or "unknown"."""
Flag: TypeAlias = Annotated[int, Allowed.FLAG]
Signed: TypeAlias = Annotated[int, Allowed.SIGNED]
Text: TypeAlias = Annotated[str, Allowed.TEXT]
"""A label value, or another text that each output can encode: without half of a surrogate pair."""

Check: TypeAlias = Callable[[object], object]
"""Returns the value, a mapping as a copy that cannot be changed. Raises ValueError with the text after the name."""


def validate(instance: object, of: str = "") -> None:
    """Check the fields of a frozen dataclass that is being built, and make its mappings unchangeable.

    Args:
        instance: The dataclass instance, from its `__post_init__`.
        of: What it is of, such as the name of a pool, for the message of an error.

    Raises:
        ValueError: A field has a value that its annotation does not allow. The error names class, field and value.
        TypeError: A field is annotated as a number, without which numbers are allowed.
    """
    kind: type = type(instance)
    for name, check in _checks_of(kind):
        value = getattr(instance, name)
        try:
            checked = check(value)
        except ValueError as error:
            raise ValueError(f"{kind.__name__}{of and f' of {of}'}: {name}{error}") from None
        if checked is not value:
            object.__setattr__(instance, name, checked)


@cache
def _checks_of(kind: type) -> tuple[tuple[str, Check], ...]:
    """Return the checks of a class by field. Type hints are resolved, so that postponed ones are checked as well."""
    found = ((name, _check_of(hint)) for name, hint in get_type_hints(kind, include_extras=True).items())
    return tuple((name, check) for name, check in found if check is not None)


def _check_of(hint: object) -> Check | None:
    """Return the check of a value with this type hint; None where there is nothing to check."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _marked(inner[0], inner[1])
    if origin in (Union, UnionType):
        (present,) = (each for each in inner if each is not type(None))
        check = _check_of(present)
        return None if check is None else partial(_unless_none, check)
    if origin is Mapping:
        return partial(_mapping, _check_of(inner[0]), _check_of(inner[1]))
    if origin is tuple and inner[1:] == (Ellipsis,) and (check := _check_of(inner[0])) is not None:
        return partial(_tuple, check)
    if hint in (int, float) or (origin is tuple and inner[0] in (int, float)):
        raise TypeError(f"{hint!r} does not say which numbers are allowed")
    return None


def _marked(base: object, mark: object) -> Check:
    """Return the check of a value of the type *base* that is annotated with *mark*."""
    if isinstance(mark, Allowed):
        return _finite_tuple if get_origin(base) is tuple else _CHECKS[mark]
    if isinstance(mark, Label):
        return partial(_closed, mark)
    if isinstance(mark, tuple):
        return partial(_one_of, mark)
    if isinstance(mark, Mapping):
        return partial(_counters, {name: _counter(label) for name, label in mark.items()})
    raise TypeError(f"{mark!r} does not say which values are allowed")


def _counter(label: Label | None) -> Check:
    return _finite if label is None else partial(_closed, label)


def _unless_none(check: Check, value: object) -> object:
    return None if value is None else check(value)


def _finite(value: object) -> object:
    # A function of its own: nearly all numbers of a snapshot pass through it, at each scrape.
    if isinstance(value, (int, float)) and 0 <= value < inf:
        return value
    raise ValueError(f" must be {Allowed.FINITE.value}, got {value!r}")


def _number(allowed: Allowed, is_in_range: Callable[[float], bool], value: object) -> object:
    if not isinstance(value, (int, float)) or not is_in_range(value):
        raise ValueError(f" must be {allowed.value}, got {value!r}")
    return value


def _text(value: object) -> object:
    if isinstance(value, str) and (value.isascii() or encodable(value) == value):
        return value
    raise ValueError(f" must be {Allowed.TEXT.value}, got {value!r}")


def _one_of(texts: tuple[str, ...], value: object) -> object:
    if value not in texts:
        raise ValueError(f" must be one of {', '.join(texts)}, got {value!r}")
    return value


_CHECKS: Final[Mapping[Allowed, Check]] = {
    Allowed.FINITE: _finite,
    Allowed.UNBOUNDED: partial(_number, Allowed.UNBOUNDED, lambda number: number >= 0),
    Allowed.FLAG: partial(_number, Allowed.FLAG, lambda number: number in (0, 1)),
    Allowed.SIGNED: partial(_number, Allowed.SIGNED, lambda number: -inf < number < inf),
    Allowed.TEXT: _text,
}


def _are_finite(numbers: Collection[float]) -> bool:
    # One pass in C for each of the two: the sum is infinite or no number if one of them is.
    return not numbers or (min(numbers) >= 0 and sum(numbers) < inf)


def _finite_tuple(value: object) -> object:
    if not isinstance(value, tuple) or not _are_finite(value):
        raise ValueError(f" must be {Allowed.FINITE.value}, got {value!r}")
    return value


def _closed(label: Label, value: object) -> object:
    """Check numbers by the values of a closed label set; return them in the order of the set."""
    # Nearly all counts are in the order of the set, and comparing tuples is cheap.
    if not isinstance(value, Mapping) or (tuple(value) != label.values and value.keys() != set(label.values)):
        raise ValueError(f" must have the values {', '.join(label.values)}, got {value!r}")
    if not _are_finite(value.values()):
        raise ValueError(f" must be {Allowed.FINITE.value}, got {dict(value)!r}")
    return MappingProxyType({each: value[each] for each in label.values})


def _counters(checks: Mapping[str, Check], value: object) -> object:
    """Check the counters of a pool: each by its own check, and no other."""
    if not isinstance(value, Mapping) or value.keys() != checks.keys():
        raise ValueError(f" must have the values {', '.join(checks)}, got {value!r}")
    return MappingProxyType({name: _item(check, name, value[name]) for name, check in checks.items()})


def _mapping(check_key: Check | None, check: Check | None, value: Mapping[object, object]) -> object:
    """Check each key and each value of a mapping."""
    if check_key is not None:
        for key in value:
            _item(check_key, key, key)
    return MappingProxyType({key: each if check is None else _item(check, key, each) for key, each in value.items()})


def _tuple(check: Check, value: tuple[object, ...]) -> object:
    """Check each element of a tuple."""
    for at, each in enumerate(value):
        _item(check, at, each)
    return value


def _item(check: Check, key: object, value: object) -> object:
    try:
        return check(value)
    except ValueError as error:
        raise ValueError(f"[{key!r}]{error}") from None
