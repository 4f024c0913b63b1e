"""The results as Markdown: budgets first, then every table that they were read from. Functions of the samples alone.

Factors and differences are of minima: on a shared machine, everything but the work itself only ever adds time. The
medians are given too, and the second bare line shows how much two measurements of the same thing differ.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.bench.directory import BUDGET
from tests.bench.directory import SIZES as DIRECTORIES
from tests.bench.driver import Measured
from tests.bench.pair import VARIANTS
from tests.bench.scrape import SIZES

MOST_CONNECTIONS: Final = 5
"""The budget for memory holds with a full pool of SQLAlchemy's default size."""

Cell = float | str
"""A number, or why there is none."""


@dataclass(frozen=True)
class Results:
    """What one run has measured; each key begins with the version of SQLAlchemy."""

    where: Sequence[str]
    versions: Sequence[str]
    pairs: Measured
    scrape: Measured
    directory: Measured
    startup: Measured
    memory: Measured


@dataclass(frozen=True)
class Budget:
    """One budget, and how to read the value that it holds for from the results of one version."""

    title: str
    limit: float
    form: str
    value: Callable[[Results, str], Cell]
    is_least: bool = False

    def verdict(self, value: Cell) -> bool:
        """Return whether *value* is within the limit; what could not be measured is not."""
        return isinstance(value, float) and (value >= self.limit if self.is_least else value <= self.limit)


def _samples(measured: Measured, key: tuple[str, ...], job: str) -> list[float] | str:
    found = measured[key]
    return found if isinstance(found, str) else found[job]


def _least(measured: Measured, *key: str, job: str) -> Cell:
    samples = _samples(measured, key, job)
    return samples if isinstance(samples, str) else float(min(samples))


def _middle(measured: Measured, *key: str, job: str) -> Cell:
    samples = _samples(measured, key, job)
    return samples if isinstance(samples, str) else float(median(samples))


def _both(a: Cell, b: Cell, combine: Callable[[float, float], float]) -> Cell:
    """Combine two numbers, or pass on why one of them is missing."""
    return a if isinstance(a, str) else b if isinstance(b, str) else combine(a, b)


def _over(a: Cell, b: Cell) -> Cell:
    return _both(a, b, lambda a, b: a / b)


def _less(a: Cell, b: Cell) -> Cell:
    return _both(a, b, lambda a, b: a - b)


def _bare_of(variant: str) -> str:
    return "async_bare" if variant.startswith("async_") else "bare"


def _factor(results: Results, version: str, variant: str, job: str = "pool") -> Cell:
    bare = _least(results.pairs, version, _bare_of(variant), job=job)
    return _over(_least(results.pairs, version, variant, job=job), bare)


def _added(results: Results, version: str, variant: str, job: str = "pool") -> Cell:
    bare = _least(results.pairs, version, _bare_of(variant), job=job)
    return _less(_least(results.pairs, version, variant, job=job), bare)


def _added_by(peer: str) -> Callable[[Results, str], Cell]:
    return lambda results, version: _over(_added(results, version, peer), _added(results, version, "pool_exporter"))


def _scraped(results: Results, version: str, side: str, size: int) -> Cell:
    return _least(results.scrape, version, side, str(size), job="scrape")


def _gathered(results: Results, side: str, workers: int, pools: int, dead: int) -> Cell:
    return _least(results.directory, side, str(workers), str(pools), str(dead), job="scrape")


def _growth(results: Results, version: str) -> Cell:
    """Return what a pool costs among the most pools, over its cost among a tenth of them."""
    few, many = SIZES[-2:]
    return _over(
        _over(_scraped(results, version, "pool_exporter", many), float(many)),
        _over(_scraped(results, version, "pool_exporter", few), float(few)),
    )


def _memory(results: Results, version: str, connections: int) -> Cell:
    sides = [_least(results.memory, version, side, str(connections), job="bytes") for side in ("pool_exporter", "bare")]
    return _over(_less(*sides), 1024.0)


def _import_ms(results: Results, version: str, job: str) -> Cell:
    return _over(_least(results.startup, version, job=job), 1e6)


BUDGETS: Final = (
    Budget("checkout + checkin, over bare", 1.45, "{:.2f}x", lambda r, v: _factor(r, v, "pool_exporter")),
    Budget("the same in a worker's file", 1.45, "{:.2f}x", lambda r, v: _factor(r, v, "pool_exporter_file")),
    Budget("time added by OpenTelemetry, over pool_exporter", 10, "{:.1f}x", _added_by("opentelemetry"), is_least=True),
    Budget(
        "time added by prometheus_client by hand (cached), over pool_exporter",
        1,
        "{:.1f}x",
        _added_by("prometheus_cached"),
        is_least=True,
    ),
    Budget(
        f"scrape of {SIZES[-1]} pools, over prometheus_client printing the same samples",
        1.3,
        "{:.2f}x",
        lambda r, v: _over(_scraped(r, v, "pool_exporter", SIZES[-1]), _scraped(r, v, "native", SIZES[-1])),
    ),
    Budget(
        f"prometheus_client's multiprocess scrape of {BUDGET[0]} workers x {BUDGET[1]} pools, over pool_exporter",
        20,
        "{:.1f}x",
        lambda r, _: _over(_gathered(r, "multiprocess", *BUDGET), _gathered(r, "pool_exporter", *BUDGET)),
        is_least=True,
    ),
    Budget(f"a pool's part of it, over its part among {SIZES[-2]} pools (linear: 1)", 1.25, "{:.2f}x", _growth),
    Budget("import after sqlalchemy", 40, "{:.1f} ms", lambda r, v: _import_ms(r, v, "import")),
    Budget(
        f"memory for a pool with {MOST_CONNECTIONS} connections",
        8,
        "{:.1f} KiB",
        lambda r, v: _memory(r, v, MOST_CONNECTIONS),
    ),
)


def is_kept(results: Results) -> bool:
    """Return whether every budget is kept on every version."""
    return all(budget.verdict(budget.value(results, version)) for budget in BUDGETS for version in results.versions)


def render(results: Results) -> str:
    """Return the whole report."""
    parts = [
        ["# Benchmarks", "", "Written by `make bench` (`tests/bench`); not to be edited.", ""],
        [f"- {line}" for line in results.where],
        ["", "## Budgets", "", *_budgets(results)],
        ["", "## One checkout and checkin: `pool.connect().close()`", "", *_pairs(results, "pool")],
        ["", "## `with engine.connect(): pass`", "", *_pairs(results, "engine")],
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
    return f"absent ({value})" if isinstance(value, str) else form.format(value)


def _budgets(results: Results) -> Iterator[str]:
    rows = []
    for budget in BUDGETS:
        limit = ("at least " if budget.is_least else "at most ") + budget.form.format(budget.limit)
        values = [budget.value(results, version) for version in results.versions]
        cells = [f"{_text(value, budget.form)} {'pass' if budget.verdict(value) else '**FAIL**'}" for value in values]
        rows.append([budget.title, limit, *cells])
    return _table(["", "budget", *(f"SQLAlchemy {version}" for version in results.versions)], rows)


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
    least = _least(results.pairs, version, variant, job=job)
    if isinstance(least, str):
        return [f"absent: {least}", "", "", ""]
    middle = _middle(results.pairs, version, variant, job=job)
    micro = [_text(_over(value, 1e3), "{:.2f}") for value in (least, middle)]
    added = _text(_over(_added(results, version, variant, job), 1e3), "{:.2f}")
    return [*micro, added, _text(_factor(results, version, variant, job), "{:.2f}")]


def _rounds(results: Results, job: str) -> str:
    samples = [len(found[job]) for found in results.pairs.values() if not isinstance(found, str)]
    return f"{min(samples, default=0)} rounds, in turns."


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
            _text(_least(results.scrape, results.versions[0], "pool_exporter", size, job="samples"), "{:,.0f}"),
        ]
        for version in results.versions:
            row += _scrape(results, version, size)
        rows.append(row)
    yield from _table(head, rows)


def _scrape(results: Results, version: str, size: str) -> list[str]:
    cells = [
        _span(results.scrape, (version, side, size), "scrape", 1e6, "{:.2f}") for side in ("pool_exporter", "native")
    ]
    own, native = (_scraped(results, version, side, int(size)) for side in ("pool_exporter", "native"))
    return [*cells, _text(_over(own, native), "{:.2f}"), _text(_over(own, float(size) * 1e3), "{:.0f}")]


def _directories(results: Results) -> Iterator[str]:
    yield "Milliseconds, minimum (median), of reading, adding up and printing what workers wrote to a directory;"
    yield "prometheus_client's multiprocess mode beside it. The ended workers came and went before."
    yield ""
    rows = []
    for size in DIRECTORIES:
        keys = [(side, *map(str, size)) for side in ("pool_exporter", "multiprocess")]
        cells = [_span(results.directory, key, "scrape", 1e6, "{:.1f}") for key in keys]
        factor = _over(_gathered(results, "multiprocess", *size), _gathered(results, "pool_exporter", *size))
        rows.append([*map(str, size), *cells, _text(factor, "{:.1f}")])
    yield from _table(["workers", "pools", "ended workers", "pool_exporter", "prometheus_client", "x"], rows)


def _span(measured: Measured, key: tuple[str, ...], job: str, unit: float, form: str) -> str:
    least, middle = (_over(read(measured, *key, job=job), unit) for read in (_least, _middle))
    return _text(least, form) + ("" if isinstance(middle, str) else f" ({form.format(middle)})")


_IMPORTS: Final[Mapping[str, str]] = {
    "import": "`import pool_exporter`",
    "collector": "`from pool_exporter import PoolCollector`",
    "prometheus_client": "`import prometheus_client`, for comparison",
}


def _rest(results: Results) -> Iterator[str]:
    yield "Imports after `import sqlalchemy`: minimum (median) of new interpreters. Memory: what tracemalloc finds for"
    yield "one of a thousand instrumented engines, less the same for a bare one."
    yield ""
    rows = [
        [title, *(_span(results.startup, (version,), job, 1e6, "{:.1f}") + " ms" for version in results.versions)]
        for job, title in _IMPORTS.items()
    ]
    for connections in (0, 1, MOST_CONNECTIONS):
        cells = [_text(_memory(results, version, connections), "{:.2f} KiB") for version in results.versions]
        rows.append([f"memory for a pool with {connections} connections", *cells])
    yield from _table(["", *(f"SQLAlchemy {version}" for version in results.versions)], rows)
