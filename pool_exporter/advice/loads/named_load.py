"""The load of each pool by a name that tells it from the others, with the advice on its size.

Nothing here may read anything, or compute a size: `sizing` does.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pool_exporter.advice.load import Load
from pool_exporter.advice.observation import Observation, PoolKey
from pool_exporter.advice.sizing import SizeAdvice, Target, advise


class NamedLoad(NamedTuple):
    """The load of one pool, or why there is none; *key* is which pool, and *pool* its name among all of a source."""

    pool: str
    load: Load | None
    fault: str = ""
    key: PoolKey = ()


class Advised(NamedTuple):
    """One pool of a source with its advice; None where its load is not known."""

    named: NamedLoad
    advice: SizeAdvice | None


def loads_since(
    before: Mapping[PoolKey, Observation], after: Mapping[PoolKey, Observation], seconds: float
) -> list[NamedLoad]:
    """Return the load of each pool between two looks at all, *seconds* apart."""
    names = names_of(list(after))
    return [
        _load(NamedLoad(names[key], None, key=key), before.get(key), now, seconds) for key, now in sorted(after.items())
    ]


def _load(named: NamedLoad, before: Observation | None, now: Observation, seconds: float) -> NamedLoad:
    if before is None:
        return named._replace(fault="it was made within the window; look again")
    try:
        load = now.load_since(before, seconds)
    except ValueError as error:
        return named._replace(fault=str(error))
    if now.is_ended and not load.grown.ended:  # It has no size to judge.
        return named._replace(fault="no living process has it")
    return named._replace(load=load)


def names_of(keys: Sequence[PoolKey]) -> dict[PoolKey, str]:
    """Return a name for each pool: its own, and where pools share one, the other labels in which they differ."""
    return {key: " ".join([key[0], *_details(key, [other for other in keys if other[0] == key[0]])]) for key in keys}


def _details(key: PoolKey, same: Sequence[PoolKey]) -> list[str]:
    return [value or "-" for at, value in enumerate(key) if at and len({other[at] for other in same}) > 1]


def advised(named: NamedLoad, target: Target, threads: int | None) -> Advised:
    """Return a pool with the advice on its size; see `advise()` for the arguments."""
    load = named.load
    return Advised(named, None if load is None else advise(load, target, threads).not_smaller(load.present_verdicts))
