"""Copies of mappings that cannot be changed, checked where their keys are a closed label set.

Snapshots are made of them, so that a renderer needs no check and cannot change what the next one reads.
"""

from collections.abc import Mapping
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
