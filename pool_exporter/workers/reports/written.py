"""The text that the heartbeat writes about the pools of its process, as JSON with a table of texts.

    {"at": Unix seconds, "texts": [...], "pools": [
        {"entry": [the first digits of the file's uuid, the number of the pool entry],
         "holders": [[since, place, unit, unit_code, activity, now, owner, transaction, server_pid, flags], ...],
         "waiters": [[since, place, unit, owner, holds], ...],
         "report": [verdict, at, summary, why, advice, notes, where]}, ...]}

`since` is nanoseconds after the pool's origin, as in the slots. Each text is its number in the table, counted from 1;
0 is "". A place, `now`, advice, notes and where are lists of such numbers. `flags` adds 1 if the owner is alive, 2 if
the connection is lost and 4 if its unit is declared long. A longer list than here is of a later release: what is behind
is left out. Keys may be added.

What does not fit is left out: rows of the youngest, then pools. The slots show those all the same, without names. Pure
functions of values; nothing here may open a file.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from pool_exporter.metrics.holders import BETWEEN_FRAMES, Holder, Waiter
from pool_exporter.metrics.reports.process_report import PoolReport
from pool_exporter.state.layout import SECOND
from pool_exporter.workers.reports.copies import TEXT_BYTES_MAX

CHARACTERS_MAX: Final = 300
"""A longer text is cut, with an ellipsis at its end."""
ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"
ALIVE, LOST, LONG = 1, 2, 4
UUID_DIGITS: Final = 8

_SIZES: Final = ((64, 128), (32, 128), (16, 64), (8, 32), (4, 16), (2, 8), (1, 4), (1, 1))
"""How many rows a pool has at most, and how many pools there are: the first pair that fits is taken."""


class SeenPool(NamedTuple):
    """A pool as the heartbeat has seen it.

    Attributes:
        file: The first digits of the uuid of the file with its slots.
        entry: The number of its pool entry there.
        moment: When it was seen, in nanoseconds since its origin: the ages in the report are of that moment.
        report: What was seen.
    """

    file: str
    entry: int
    moment: int
    report: PoolReport


def text_of(pools: Sequence[SeenPool], at: float) -> bytes:
    """Return the text about *pools*, the most important first, seen at *at* of Unix time in seconds."""
    for rows, count in _SIZES:
        text = _text(pools[:count], at, rows)
        if len(text) <= TEXT_BYTES_MAX:
            return text
    return _text((), at, 0)


def _text(pools: Iterable[SeenPool], at: float, rows: int) -> bytes:
    table = _Table()
    described = [table.pool(pool, rows) for pool in pools]
    content = {"at": at, "texts": list(table.numbers), "pools": described}
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


def shortened(text: str) -> str:
    """Return a text in one line and of at most `CHARACTERS_MAX` characters, without control characters."""
    if not text.isprintable():
        text = "".join(each if each.isprintable() else " " for each in text)
    return text if len(text) <= CHARACTERS_MAX else text[: CHARACTERS_MAX - 1] + ELLIPSIS


class _Table:
    """The table of texts while a text is made."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def _number(self, text: str) -> int:
        if not text:
            return 0
        text = shortened(text)
        return self.numbers.setdefault(text, len(self.numbers) + 1)

    def _all(self, texts: Iterable[str]) -> list[int]:
        return [self._number(text) for text in texts if text]

    def pool(self, pool: SeenPool, rows: int) -> dict[str, object]:
        report = pool.report
        described: dict[str, object] = {"entry": [pool.file, pool.entry]}
        holders = [self._holder(holder, pool.moment) for holder in report.holders[:rows]]
        waiters = [self._waiter(waiter, pool.moment) for waiter in report.waiters[:rows]]
        made = list(self._made(report)) if report.verdict else []
        return described | {
            key: rows for key, rows in (("holders", holders), ("waiters", waiters), ("report", made)) if rows
        }

    def _holder(self, holder: Holder, moment: int) -> list[object]:
        flags = ALIVE * holder.is_owner_alive + LOST * holder.is_lost + LONG * holder.is_long
        return [
            moment - round(holder.seconds * SECOND),
            self._all(holder.place.split(BETWEEN_FRAMES)),
            self._number(holder.unit),
            self._number(holder.unit_code),
            self._number(holder.activity),
            self._all(holder.now),
            self._number(holder.owner),
            self._number(holder.transaction),
            holder.server_pid or 0,
            flags,
        ]

    def _waiter(self, waiter: Waiter, moment: int) -> list[object]:
        return [
            moment - round(waiter.seconds * SECOND),
            self._all(waiter.place.split(BETWEEN_FRAMES)),
            self._number(waiter.unit),
            self._number(waiter.owner),
            waiter.holds,
        ]

    def _made(self, report: PoolReport) -> Iterator[object]:
        yield self._number(report.verdict)
        yield report.verdict_at
        yield self._number(report.summary)
        yield self._number(report.why)
        yield self._all(report.advice)
        yield self._all(report.notes)
        yield self._all(report.where)
