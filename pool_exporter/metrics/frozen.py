"""Copies of mappings that cannot be changed, and checks of the numbers of snapshots.

Snapshots are made of them, so that a renderer needs no check and cannot change what the next one reads.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import TypeVar

from pool_exporter.metrics.metric import Label

K = TypeVar("K")
V = TypeVar("V")
N = TypeVar("N", int, float)


def frozen(mapping: Mapping[K, V]) -> Mapping[K, V]:
    """Return a copy of *mapping* that cannot be changed."""
    return MappingProxyType(dict(mapping))


def closed(label: Label, counts: Mapping[str, N], what: str) -> Mapping[str, N]:
    """Return an unchangeable copy of *counts* in the order of the label's values.

    Args:
        label: A label with a closed set of values.
        counts: A number for each of these values.
        what: What the numbers are, for the message of an error.

    Raises:
        ValueError: A value of the set is missing, another one is there, or a number is negative.
    """
    # Nearly all counts are in the order of the set, and comparing tuples is cheap.
    if tuple(counts) != label.values and counts.keys() != set(label.values):
        raise ValueError(f"{what} has the values {', '.join(label.values)}, got {', '.join(map(str, counts))}")
    if min(counts.values()) < 0:
        raise ValueError(f"{what} is never negative, got {dict(counts)!r}")
    return MappingProxyType({value: counts[value] for value in label.values})


def number_fields(kind: type) -> tuple[str, ...]:
    """Return the names of a dataclass's fields that are a number, or a number or None."""
    return tuple(field.name for field in fields(kind) if field.type in (int, float, int | None, float | None))


def check_numbers(values: object, names: Iterable[str], what: str = "", flags: Iterable[str] = ()) -> None:
    """Check the numbers of a snapshot. A field that is None is right.

    Args:
        values: The snapshot.
        names: Its fields that are never negative.
        what: What the snapshot is of, for the message of an error.
        flags: Its fields that are 0 or 1.

    Raises:
        ValueError: A number is negative or not a number, or a flag is neither 0 nor 1.
    """
    for name in names:
        number = getattr(values, name)
        if number is not None and not number >= 0:
            raise ValueError(f"{what}{name} is never negative, got {number!r}")
    for name in flags:
        if getattr(values, name) not in (0, 1, None):
            raise ValueError(f"{what}{name} is 0 or 1, got {getattr(values, name)!r}")
