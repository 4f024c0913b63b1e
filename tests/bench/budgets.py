"""The budgets: what may not cost more, or must be better by so much.

Nothing here may measure or write a table.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.bench.directory import BUDGET
from tests.bench.driver import Skipped
from tests.bench.holders import HOLDERS, REST_SECONDS
from tests.bench.instructions import KINDS
from tests.bench.instrumenting import POOLS
from tests.bench.results import (
    MOST_CONNECTIONS,
    Cell,
    Results,
    added_by,
    factor,
    finding_ms,
    gathered,
    growth,
    instructed,
    least,
    longest_kept_ms,
    longest_report_ms,
    many_over_first,
    memory_kib,
    over,
    scraped,
    startup_ms,
)
from tests.bench.scrape import SIZES
from tests.bench.versions import COMPILED

PASS: Final = "pass"
FAIL: Final = "**FAIL**"


@dataclass(frozen=True)
class Budget:
    """One budget, and how to read the value that it holds for from the results of one version."""

    title: str
    limit: float | None  # None where only a compiled build has one.
    form: str
    value: Callable[[Results, str], Cell]
    is_least: bool = False
    compiled: float | None = None  # The limit of a compiled build; None for the same.

    def limit_of(self, version: str) -> float | None:
        """Return the limit that holds for the build of a column; None if there is none."""
        return self.compiled if self.compiled is not None and version.endswith(COMPILED) else self.limit

    def verdict(self, value: Cell, version: str = "") -> str:
        """Return whether *value* is within the limit; what could not be measured is not.

        "" for what was skipped, and where there is no limit.
        """
        limit = self.limit_of(version)
        if limit is None or isinstance(value, Skipped):
            return ""
        if isinstance(value, str):
            return FAIL
        return PASS if (value >= limit if self.is_least else value <= limit) else FAIL


def _instructions(kind: str, mode: str, limit: float, compiled: float | None = None) -> Budget:
    where = {"off": ", without places", "file": ", in a worker's file"}.get(mode, "")
    title = f"instructions of {KINDS[kind].title}{where}, over bare"
    return Budget(title, limit, "{:.3f}x", lambda r, v: instructed(r, v, kind, mode), compiled=compiled)


def _pairs() -> Iterator[Budget]:
    """Yield what a checkout and its return may take: time, and instructions, which no load changes much."""
    form = "{:.2f}x"
    yield Budget("checkout + checkin, over bare", 1.50, form, lambda r, v: factor(r, v, "pool_exporter"))
    yield Budget("the same in a worker's file", 1.55, form, lambda r, v: factor(r, v, "pool_exporter_file"))
    yield Budget("the same without places", 1.45, form, lambda r, v: factor(r, v, "pool_exporter_off"))
    title = "checkout + checkin of an asynchronous pool, over bare"
    yield Budget(title, 1.70, form, lambda r, v: factor(r, v, "async_pool_exporter"))
    yield _instructions("sync", "always", 1.50, 1.15)
    yield _instructions("sync", "file", 1.55, 1.15)
    yield _instructions("sync", "off", 1.45)
    yield _instructions("async", "always", 1.55, 1.25)
    for kind in ("asyncpg", "psycopg"):
        yield _instructions(kind, "always", 1.06, 1.015)
        yield _instructions(f"{kind}_orm", "always", 1.04, 1.01)


def _reports() -> Iterator[Budget]:
    form = "{:.1f} ms"
    for job, title in {
        "cpu": f"report on {HOLDERS} holders: processor time",
        "wall": f"report on {HOLDERS} holders: time",
        "caller_cpu": "the same by the caller that times out: processor time",
        "caller_wall": "the same by the caller that times out: time",
    }.items():
        yield Budget(title, 10, form, partial(longest_report_ms, job=job))
    yield Budget("the watchdog's report keeps another thread for", 1, "{:.2f} ms", longest_kept_ms)
    title = f"wake-ups of the watchdog in {REST_SECONDS} s without a waiter"
    yield Budget(title, 0, "{:.0f}", lambda r, v: least(r.holders, v, "rest", job="wake_ups"))


BUDGETS: Final = (
    *_pairs(),
    Budget(
        "time added by OpenTelemetry, over pool_exporter",
        10,
        "{:.1f}x",
        added_by("opentelemetry"),
        is_least=True,
        compiled=30,
    ),
    Budget(
        "time added by two empty listeners, over pool_exporter",
        None,
        "{:.2f}x",
        added_by("listeners"),
        is_least=True,
        compiled=1,
    ),
    Budget(
        "time added by prometheus_client by hand (cached), over pool_exporter",
        1,
        "{:.1f}x",
        added_by("prometheus_cached"),
        is_least=True,
    ),
    Budget(
        f"scrape of {SIZES[-1]} pools, over prometheus_client printing the same samples",
        1.3,
        "{:.2f}x",
        lambda r, v: over(scraped(r, v, "pool_exporter", SIZES[-1]), scraped(r, v, "native", SIZES[-1])),
    ),
    Budget(
        f"prometheus_client's multiprocess scrape of {BUDGET[0]} workers x {BUDGET[1]} pools, over pool_exporter",
        20,
        "{:.1f}x",
        lambda r, _: over(gathered(r, "multiprocess", *BUDGET), gathered(r, "pool_exporter", *BUDGET)),
        is_least=True,
    ),
    Budget(f"a pool's part of it, over its part among {SIZES[-2]} pools (linear: 1)", 1.25, "{:.2f}x", growth),
    Budget(f"`instrument()` of pool {POOLS:,}, over that of the first ones", 1.25, "{:.2f}x", many_over_first),
    Budget("a pool that `instrument_all()` finds, more than one that is named", 0.1, "{:.3f} ms", finding_ms),
    *_reports(),
    Budget("import after sqlalchemy", 40, "{:.1f} ms", lambda r, v: startup_ms(r, v, "import")),
    Budget("`pool-exporter serve` listens after", 1000, "{:.0f} ms", lambda r, v: startup_ms(r, v, "serve")),
    Budget(
        f"memory for a pool with {MOST_CONNECTIONS} connections",
        10,
        "{:.2f} KiB",
        lambda r, v: memory_kib(r, v, MOST_CONNECTIONS),
    ),
)


def is_kept(results: Results) -> bool:
    """Return whether every budget is kept on every version, but for those that were skipped."""
    verdicts = (
        budget.verdict(budget.value(results, version), version) for budget in BUDGETS for version in results.versions
    )
    return FAIL not in verdicts
