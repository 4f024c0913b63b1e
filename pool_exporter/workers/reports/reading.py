"""Reads the text that `written` makes. Whatever the bytes are, the result is pools; none if the text makes no sense.

A file may be damaged, written by another program or by another release. Pure functions of bytes; nothing here may open
a file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, TypeAlias

from pool_exporter.metrics.holders import ACTIVITIES, BETWEEN_FRAMES, TRANSACTIONS, UNKNOWN, Holder, Waiter
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport, is_verdict
from pool_exporter.workers.reports.written import ALIVE, LONG, LOST, shortened

_NUMBER_MAX: Final = 2**62
_PID_MAX: Final = 2**32
_HOLDER_FIELDS: Final = 10
_WAITER_FIELDS: Final = 5
_REPORT_FIELDS: Final = 7
_NO_REPORT: Final = PoolReport(PoolIdentity(""))

Rows: TypeAlias = tuple[tuple[int, Holder], ...]
"""Each with the nanoseconds after the pool's origin at which it began; its `seconds` are 0."""
WaiterRows: TypeAlias = tuple[tuple[int, Waiter], ...]


@dataclass(frozen=True)
class ReadPool:
    """One pool of the text.

    Attributes:
        holders: What held its connections.
        waiters: What waited for one.
        report: Its last report, without holders, waiters and pool.
    """

    holders: Rows = ()
    waiters: WaiterRows = ()
    report: PoolReport = _NO_REPORT


NOTHING: Final = ReadPool()

ReadPools: TypeAlias = Mapping[tuple[str, int], ReadPool]
"""The keys are the first digits of the file's uuid and the number of the pool entry."""


def read_pools(text: bytes) -> ReadPools:
    """Return the pools of a text; none if it makes no sense."""
    try:
        content = json.loads(text) if text else {}
        table = _Texts(content.get("texts", []))
        return {key: pool for each in content.get("pools", []) for key, pool in (table.pool(each),)}
    except (AttributeError, KeyError, LookupError, RecursionError, TypeError, ValueError):
        return {}


class _Texts:
    """The table of texts of one text."""

    def __init__(self, texts: Sequence[object]) -> None:
        self._texts = ("", *(shortened(each) if isinstance(each, str) else "" for each in texts))

    def _text(self, number: object) -> str:
        return self._texts[_whole(number, len(self._texts))]

    def _all(self, numbers: object) -> tuple[str, ...]:
        if not isinstance(numbers, list):
            raise TypeError("not a list of texts")
        return tuple(map(self._text, numbers))

    def _place(self, numbers: object) -> str:
        return BETWEEN_FRAMES.join(self._all(numbers))

    def pool(self, pool: Mapping[str, Sequence[object]]) -> tuple[tuple[str, int], ReadPool]:
        file, entry = pool["entry"]
        holders = tuple(self._holder(row) for row in _rows(pool.get("holders")))
        waiters = tuple(self._waiter(row) for row in _rows(pool.get("waiters")))
        report = pool.get("report")
        made = self._report(report) if report else _NO_REPORT
        return (str(file), _whole(entry)), ReadPool(holders, waiters, made)

    def _holder(self, row: Sequence[object]) -> tuple[int, Holder]:
        since, place, unit, code, activity, now, owner, transaction, pid, flags = row[:_HOLDER_FIELDS]
        bits = _whole(flags)
        return _whole(since), Holder(
            seconds=0.0,
            place=self._place(place),
            unit=self._text(unit),
            unit_code=self._text(code),
            activity=_known(self._text(activity), ACTIVITIES),
            now=self._all(now),
            owner=self._text(owner),
            is_owner_alive=bool(bits & ALIVE),
            transaction=_known(self._text(transaction), TRANSACTIONS),
            server_pid=_whole(pid, _PID_MAX) or None,
            is_lost=bool(bits & LOST),
            is_long=bool(bits & LONG),
        )

    def _waiter(self, row: Sequence[object]) -> tuple[int, Waiter]:
        since, place, unit, owner, holds = row[:_WAITER_FIELDS]
        return _whole(since), Waiter(0.0, self._place(place), self._text(unit), self._text(owner), _whole(holds))

    def _report(self, report: Sequence[object]) -> PoolReport:
        verdict, at, summary, why, advice, notes, where = report[:_REPORT_FIELDS]
        name = self._text(verdict)
        if not is_verdict(name) or not isinstance(at, float | int) or not 0 <= at < inf:
            return _NO_REPORT
        return PoolReport(
            _NO_REPORT.pool,
            verdict=name,
            verdict_at=float(at),
            summary=self._text(summary),
            why=self._text(why),
            advice=self._all(advice),
            notes=self._all(notes),
            where=self._all(where),
        )


def _rows(rows: Sequence[object] | None) -> list[list[object]]:
    return [row for row in rows or () if isinstance(row, list)]


def _whole(number: object, below: int = _NUMBER_MAX) -> int:
    if type(number) is not int or not 0 <= number < below:
        raise ValueError("not a whole number in range")
    return number


def _known(text: str, texts: Sequence[str]) -> str:
    return text if text in texts else UNKNOWN
