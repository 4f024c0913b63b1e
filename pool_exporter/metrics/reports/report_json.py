"""The reports of processes as JSON, and back: for `pool-exporter diagnose`, and for the file of crashed workers.

Pure functions of values; nothing here may open a file or a connection.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from math import isfinite
from typing import Final, TypeVar

from pool_exporter.metrics.holders import ACTIVITIES, TRANSACTIONS, UNKNOWN, Holder, Waiter
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport, ProcessReport

TEXT_MAX: Final = 500
"""A longer text is cut when it is read."""
ITEMS_MAX: Final = 4096
"""A longer list is cut when it is read."""
NUMBER_MAX: Final = 1e15

Convert = Callable[[object], object]
T = TypeVar("T")


def as_json(report: ProcessReport) -> dict[str, object]:
    """Return a report as an object of JSON, with all keys."""
    return asdict(report)


def from_json(value: object) -> ProcessReport:
    """Return the report of an object of JSON; a key that is missing has its default, an unknown one is left out.

    Raises:
        ValueError: It is no report.
    """
    try:
        return _process(value)
    except (LookupError, RecursionError, TypeError) as error:
        raise ValueError(f"it is no report: {error!r:.100}") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return "".join(each if each.isprintable() else " " for each in value[:TEXT_MAX])


def _known(texts: Sequence[str]) -> Convert:
    """Return what converts one of *texts*; that of a later release becomes `unknown`."""
    return lambda value: found if (found := _text(value)) in texts else UNKNOWN


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < NUMBER_MAX:
        raise TypeError("not a number in range")
    return float(value) if isfinite(value) else 0.0


def _count(value: object) -> int:
    return int(_number(value))


def _flag(value: object) -> bool:
    return bool(value)


def _pid(value: object) -> int | None:
    return None if value is None else _count(value)


def _all(convert: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    def converted(value: object) -> tuple[T, ...]:
        if not isinstance(value, list | tuple):
            raise TypeError("not a list")
        return tuple(map(convert, value[:ITEMS_MAX]))

    return converted


def _of(kind: Callable[..., T], keys: tuple[str, ...], special: Mapping[str, Convert]) -> Callable[[object], T]:
    def made(value: object) -> T:
        if not isinstance(value, Mapping):
            raise TypeError("not an object")
        return kind(**{key: special.get(key, _text)(value[key]) for key in keys if key in value})

    return made


def _keys(kind: type[PoolIdentity | Holder | Waiter | PoolReport | ProcessReport]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


_identity = _of(PoolIdentity, _keys(PoolIdentity), {})
_waiter = _of(Waiter, _keys(Waiter), {"seconds": _number, "holds": _count})
_holder = _of(
    Holder,
    _keys(Holder),
    {
        "seconds": _number,
        "activity": _known(ACTIVITIES),
        "now": _all(_text),
        "transaction": _known(TRANSACTIONS),
        "server_pid": _pid,
        "is_owner_alive": _flag,
        "is_lost": _flag,
        "is_long": _flag,
    },
)
_pool = _of(
    PoolReport,
    _keys(PoolReport),
    {
        "pool": _identity,
        "holders": _all(_holder),
        "waiters": _all(_waiter),
        "advice": _all(_text),
        "verdict_at": _number,
        "notes": _all(_text),
        "where": _all(_text),
    },
)
_process = _of(
    ProcessReport,
    _keys(ProcessReport),
    {"pid": _count, "heartbeat_age_seconds": _number, "seen_at": _number, "pools": _all(_pool)},
)
