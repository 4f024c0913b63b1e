"""The results as Markdown: budgets first, then every table that they were read from. Functions of the samples alone.

The medians are given too, and the second bare line shows how much two measurements of the same thing differ.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tests.bench.budgets import BUDGETS, Budget
from tests.bench.counted import CALLERS
from tests.bench.directory import SIZES as DIRECTORIES
from tests.bench.driver import Measured, Skipped
from tests.bench.holders import HOLDERS, WAITERS
from tests.bench.instructions import HASH_SEEDS, KINDS, MODES
from tests.bench.instrumenting import POOLS
from tests.bench.pair import VARIANTS
from tests.bench.results import (
    MOST_CONNECTIONS,
    Cell,
    Results,
    added,
    factor,
    gathered,
    instructed,
    instructions_error,
    kept_ms,
    least,
    mean,
    memory_kib,
    middle,
    over,
    report_ms,
    scraped,
)
from tests.bench.scrape import SIZES
from tests.bench.versions import COMPILED


def render(results: Results) -> str:
    """Return the whole report."""
    parts = [
        ["# Benchmarks", "", "Written by `make bench` (`tests/bench`); not to be edited.", ""],
        [f"- {line}" for line in results.where],
        ["", "## Budgets", "", *_budgets(results)],
        ["", "## One checkout and checkin: `pool.connect().close()`", "", *_pairs(results, "pool")],
        ["", "## `with engine.connect(): pass`", "", *_pairs(results, "engine")],
        ["", "## Instructions", "", *_instructions(results)],
        ["", "## A report on an exhausted pool", "", *_reports(results)],
        ["", "## A scrape", "", *_scrapes(results)],
        ["", "## A scrape of many workers", "", *_directories(results)],
        ["", "## Import and memory", "", *_rest(results)],
    ]
    return "\n".join(line for part in parts for line in part) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|---|" + "---:|" * (len(head) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _text(value: Cell, form: str) -> str:
    if isinstance(value, str):
        return f"{'skipped' if isinstance(value, Skipped) else 'absent'} ({value})"
    return form.format(value)


def _budgets(results: Results) -> Iterator[str]:
    rows = []
    for budget in BUDGETS:
        is_compiled = any(version.endswith(COMPILED) for version in results.versions)
        values = [budget.value(results, version) for version in results.versions]
        cells = [
            f"{_text(value, budget.form)} {budget.verdict(value, version)}".strip()
            for value, version in zip(values, results.versions, strict=True)
        ]
        rows.append([budget.title, _limit(budget, is_compiled=is_compiled), *cells])
    return _table(["", "budget", *(f"SQLAlchemy {version}" for version in results.versions)], rows)


def _limit(budget: Budget, *, is_compiled: bool) -> str:
    """Return the limit as text, and beside it the one of a compiled build if there is such a column."""
    direction = "at least " if budget.is_least else "at most "
    texts = [] if budget.limit is None else [direction + budget.form.format(budget.limit)]
    if is_compiled and budget.compiled is not None:
        texts.append(f"compiled {'' if texts else direction}{budget.form.format(budget.compiled)}")
    return "; ".join(texts)


def _pairs(results: Results, job: str) -> Iterator[str]:
    yield f"Microseconds; added and x over the bare minimum. {_rounds(results, job)}"
    yield ""
    columns = ("min", "median", "added", "x")
    head = ["", *(f"{version} {column}" for version in results.versions for column in columns)]
    rows = []
    for variant, (title, _) in VARIANTS.items():
        row = [title]
        for version in results.versions:
            row += _pair(results, version, variant, job)
        rows.append(row)
    yield from _table(head, rows)


def _pair(results: Results, version: str, variant: str, job: str) -> list[str]:
    low = least(results.pairs, version, variant, job=job)
    if isinstance(low, str):
        return [f"absent: {low}", "", "", ""]
    mid = middle(results.pairs, version, variant, job=job)
    more = added(results, version, variant, job)
    micro = [_text(over(value, 1e3), "{:.2f}") for value in (low, mid, more)]
    return [*micro, _text(factor(results, version, variant, job), "{:.2f}")]


def _rounds(results: Results, job: str) -> str:
    samples = [len(found[job]) for found in results.pairs.values() if not isinstance(found, str)]
    return f"{min(samples, default=0)} rounds, in turns."


def _instructions(results: Results) -> Iterator[str]:
    yield "Counted by valgrind's callgrind, which no load changes, in several layouts of the memory, each the same for"
    yield f"all modes: {_layouts('sync')} for a checkout, {_layouts('asyncpg')} for a request. A count is their mean, x"
    yield "the mean of the ratios to the bare counts of the same layouts, with its standard error. The last columns are"
    yield "the bare count once more: what they differ from 1 is the error of the method."
    yield f"A request is one of {CALLERS} callers at once on a PostgreSQL, which has answered all of them before the"
    yield "client looks; what the server does is not counted."
    yield ""
    head = ["", "SQLAlchemy", MODES["bare"]]
    for mode in list(MODES)[1:]:
        head += [MODES[mode], "x"]
    rows = [
        [kind.title, version, *_counts(results, version, key)]
        for key, kind in KINDS.items()
        for version in results.versions
    ]
    yield from _table(head, rows)


def _layouts(kind: str) -> int:
    return HASH_SEEDS * KINDS[kind].layouts["bare"]


def _counts(results: Results, version: str, kind: str) -> Iterator[str]:
    for mode in MODES:
        if mode not in KINDS[kind].layouts:
            yield from ("", "")
            continue
        yield _text(mean(results.instructions, version, kind, mode), "{:,.0f}")
        if mode != "bare":
            found = instructed(results, version, kind, mode)
            error = instructions_error(results, version, kind, mode)
            yield _text(found, "{:.3f}") + ("" if isinstance(error, str) else f" ± {error:.3f}")


def _reports(results: Results) -> Iterator[str]:
    yield f"Milliseconds, minimum, of one report and its text: {HOLDERS} holders, {WAITERS} callers that wait. It keeps"
    yield "another thread for the longest time between two looks of that thread at a clock, less the same beside a"
    yield "thread that only counts."
    yield ""
    owners = [(version, each) for version in results.versions for each in ("threads", "tasks")]
    rows = [
        [title, *(_text(report_ms(results, *owner, job), "{:.2f}") for owner in owners)]
        for job, title in REPORTS.items()
    ]
    rows.append(["keeps another thread for", *(_text(kept_ms(results, *owner), "{:.2f}") for owner in owners)])
    yield from _table(["", *(f"{version}, {each}" for version, each in owners)], rows)


REPORTS: Final[Mapping[str, str]] = {
    "cpu": "by the watchdog, processor time",
    "wall": "by the watchdog, time",
    "caller_cpu": "by the caller that times out, processor time",
    "caller_wall": "by the caller that times out, time",
    "copy": "of it, copying the list of connections",
}


def _scrapes(results: Results) -> Iterator[str]:
    yield "Milliseconds, minimum (median), of snapshot, families and text; prometheus_client's own objects beside it."
    yield ""
    head = ["pools", "samples"]
    for version in results.versions:
        head += [f"{version} pool_exporter", "prometheus_client", "x", "µs a pool"]
    rows = []
    for size in map(str, SIZES):
        row = [
            size,
            _text(least(results.scrape, results.versions[0], "pool_exporter", size, job="samples"), "{:,.0f}"),
        ]
        for version in results.versions:
            row += _scrape(results, version, size)
        rows.append(row)
    yield from _table(head, rows)


def _scrape(results: Results, version: str, size: str) -> list[str]:
    cells = [
        _span(results.scrape, (version, side, size), "scrape", 1e6, "{:.2f}") for side in ("pool_exporter", "native")
    ]
    own, native = (scraped(results, version, side, int(size)) for side in ("pool_exporter", "native"))
    return [*cells, _text(over(own, native), "{:.2f}"), _text(over(own, float(size) * 1e3), "{:.0f}")]


def _directories(results: Results) -> Iterator[str]:
    yield "Milliseconds, minimum (median), of reading, adding up and printing what workers wrote to a directory;"
    yield "prometheus_client's multiprocess mode beside it. The ended workers came and went before."
    yield ""
    rows = []
    for size in DIRECTORIES:
        keys = [(side, *map(str, size)) for side in ("pool_exporter", "multiprocess")]
        cells = [_span(results.directory, key, "scrape", 1e6, "{:.1f}") for key in keys]
        factor = over(gathered(results, "multiprocess", *size), gathered(results, "pool_exporter", *size))
        rows.append([*map(str, size), *cells, _text(factor, "{:.1f}")])
    yield from _table(["workers", "pools", "ended workers", "pool_exporter", "prometheus_client", "x"], rows)


def _span(measured: Measured, key: tuple[str, ...], job: str, unit: float, form: str) -> str:
    low, mid = (over(read(measured, *key, job=job), unit) for read in (least, middle))
    return _text(low, form) + ("" if isinstance(mid, str) else f" ({form.format(mid)})")


_IMPORTS: Final[Mapping[str, str]] = {
    "import": "`import pool_exporter`",
    "collector": "`from pool_exporter import PoolCollector`",
    "prometheus_client": "`import prometheus_client`, for comparison",
    "serve": "`pool-exporter serve`, until it listens",
}


_INSTRUMENTING: Final[Mapping[tuple[str, str], str]] = {
    ("many", "first"): "`instrument()` of one of the first pools",
    ("many", "last"): f"`instrument()` of pool {POOLS:,}",
    ("named", "use"): "`instrument()` and first use, in a heap of half a million objects",
    ("found", "use"): "first use of a pool that `instrument_all()` finds, in the same",
}


def _rest(results: Results) -> Iterator[str]:
    yield "Imports after `import sqlalchemy`: minimum (median) of new interpreters. Memory: what tracemalloc finds for"
    yield "one of a thousand instrumented engines, less the same for a bare one. The start of `serve` is real time."
    yield ""
    rows = [
        [title, *(_span(results.startup, (version,), job, 1e6, "{:.1f}") + " ms" for version in results.versions)]
        for job, title in _IMPORTS.items()
    ]
    rows += [
        [
            title,
            *(
                _span(results.instrumenting, (version, side), job, 1e6, "{:.3f}") + " ms"
                for version in results.versions
            ),
        ]
        for (side, job), title in _INSTRUMENTING.items()
    ]
    for connections in (0, 1, MOST_CONNECTIONS):
        cells = [_text(memory_kib(results, version, connections), "{:.2f} KiB") for version in results.versions]
        rows.append([f"memory for a pool with {connections} connections", *cells])
    yield from _table(["", *(f"SQLAlchemy {version}" for version in results.versions)], rows)
