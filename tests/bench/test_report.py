"""The report of the benchmarks, from made-up samples: what each budget reads, and what it says of it."""

from collections import defaultdict
from dataclasses import replace

import pytest

from tests.bench.budgets import BUDGETS, FAIL, PASS, Budget, is_kept
from tests.bench.driver import Measured, Skipped
from tests.bench.instructions import ratio
from tests.bench.report import render
from tests.bench.results import Results

V = "2.1"


def samples(first: tuple[str, ...] = (V,), /, **by_key: float) -> Measured:
    """Return what was measured: samples of 1, and those given, their keys and jobs joined by two underscores."""
    found: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [1.0]))
    for name, value in by_key.items():
        *key, job = name.split("__")
        found[first + tuple(key)][job] = [value, 2 * value]
    return found  # type: ignore[return-value]  # a dictionary, of which the values are narrower


RESULTS = Results(
    where=["a machine"],
    versions=[V],
    pairs=samples(
        bare__pool=4_000,
        listeners__pool=4_800,
        pool_exporter__pool=5_600,
        pool_exporter_file__pool=6_000,
        pool_exporter_off__pool=5_000,
        async_bare__pool=3_000,
        async_pool_exporter__pool=4_500,
        opentelemetry__pool=28_000,
        prometheus_cached__pool=7_200,
    ),
    scrape=samples(
        pool_exporter__1000__scrape=800e6,
        native__1000__scrape=1_000e6,
        pool_exporter__100__scrape=64e6,
    ),
    directory=samples((), pool_exporter__512__4__0__scrape=30e6, multiprocess__512__4__0__scrape=720e6),
    startup=samples(**{"import": 14e6, "serve": 600e6}),
    memory=samples(pool_exporter__5__bytes=20_480, bare__5__bytes=12_288),
    instrumenting=samples(many__first=100_000, many__last=110_000, named__use=200_000, found__use=250_000),
    holders=samples(
        threads__cpu=5e6,
        tasks__cpu=7e6,
        threads__wall=6e6,
        tasks__wall=5e6,
        threads__caller_cpu=1e6,
        tasks__caller_cpu=2e6,
        threads__caller_wall=4e6,
        tasks__caller_wall=3e6,
        threads__pause=400_000,
        threads__pause_beside_a_count=100_000,
        tasks__pause=300_000,
        tasks__pause_beside_a_count=100_000,
        rest__wake_ups=0,
    ),
    instructions=samples(
        sync__bare__instructions=60_000,
        sync__always__instructions=84_000,
        sync__file__instructions=90_000,
        sync__off__instructions=78_000,
        sync__again__instructions=60_000,
        async__bare__instructions=50_000,
        async__always__instructions=75_000,
        asyncpg__bare__instructions=1_000_000,
        asyncpg__always__instructions=1_050_000,
        psycopg__bare__instructions=1_000_000,
        psycopg__always__instructions=1_040_000,
        asyncpg_orm__bare__instructions=1_000_000,
        asyncpg_orm__always__instructions=1_030_000,
        psycopg_orm__bare__instructions=1_000_000,
        psycopg_orm__always__instructions=1_020_000,
    ),
)

EXPECTED = {
    "checkout + checkin, over bare": (1.40, 1.50),
    "the same in a worker's file": (1.50, 1.55),
    "the same without places": (1.25, 1.45),
    "checkout + checkin of an asynchronous pool, over bare": (1.50, 1.70),
    "instructions of checkout and return, `QueuePool`, over bare": (1.40, 1.50),
    "instructions of checkout and return, `QueuePool`, in a worker's file, over bare": (1.50, 1.55),
    "instructions of checkout and return, `QueuePool`, without places, over bare": (1.30, 1.45),
    "instructions of checkout and return, `AsyncAdaptedQueuePool` in a task, over bare": (1.50, 1.55),
    "instructions of `SELECT 1`, asyncpg, over bare": (1.05, 1.06),
    "instructions of ORM select and commit, asyncpg, over bare": (1.03, 1.04),
    "instructions of `SELECT 1`, psycopg, over bare": (1.04, 1.06),
    "instructions of ORM select and commit, psycopg, over bare": (1.02, 1.04),
    "time added by OpenTelemetry, over pool_exporter": (15, 10),
    "time added by two empty listeners, over pool_exporter": (0.5, None),
    "time added by prometheus_client by hand (cached), over pool_exporter": (2, 1),
    "scrape of 1000 pools, over prometheus_client printing the same samples": (0.8, 1.3),
    "prometheus_client's multiprocess scrape of 512 workers x 4 pools, over pool_exporter": (24, 20),
    "a pool's part of it, over its part among 100 pools (linear: 1)": (1.25, 1.25),
    "`instrument()` of pool 5,000, over that of the first ones": (1.1, 1.25),
    "a pool that `instrument_all()` finds, more than one that is named": (0.05, 0.1),
    "report on 100 holders: processor time": (7, 10),
    "report on 100 holders: time": (6, 10),
    "the same by the caller that times out: processor time": (2, 10),
    "the same by the caller that times out: time": (4, 10),
    "the watchdog's report keeps another thread for": (0.3, 1),
    "wake-ups of the watchdog in 2 s without a waiter": (0, 0),
    "import after sqlalchemy": (14, 40),
    "`pool-exporter serve` listens after": (600, 1000),
    "memory for a pool with 5 connections": (8, 10),
}
"""By title, the value that the samples above give, and the limit that DESIGN of the package sets."""


def test_budgets_are_all_here() -> None:
    """No budget is without an expected value."""
    assert list(EXPECTED) == [budget.title for budget in BUDGETS]


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget.title)
def test_budget_reads_its_value(budget: Budget) -> None:
    """Each budget reads the minima that its title names, has its limit, if any, and is kept by these samples."""
    value, limit = EXPECTED[budget.title]
    found = budget.value(RESULTS, V)

    assert pytest.approx(value) == found
    assert (limit, PASS if limit is not None else "") == (budget.limit, budget.verdict(found))


@pytest.mark.parametrize(
    ("value", "at_most", "at_least"),
    [
        (9.9, PASS, FAIL),
        (10.0, PASS, PASS),
        (10.1, FAIL, PASS),
        ("ImportError: no module", FAIL, FAIL),
        (Skipped("valgrind is not found"), "", ""),
    ],
    ids=["below", "at", "above", "absent", "skipped"],
)
def test_verdict(value: float | str, at_most: str, at_least: str) -> None:
    """The limit is within the budget; what could not be measured is not; what was skipped has no verdict."""
    budget = Budget("it", 10, "{:.1f}", lambda results, version: value)

    assert at_most == budget.verdict(value)
    assert at_least == replace(budget, is_least=True).verdict(value)


def skipped(reason: str) -> Results:
    """Return the results of a run that counted no instructions."""
    return replace(RESULTS, instructions=dict.fromkeys(RESULTS.instructions, reason))


def test_a_compiled_build_has_its_own_limit() -> None:
    """Its column is held to that limit, where the budget has one; the first column shows both."""
    compiled = {(f"{V} compiled", *rest): found for (_, *rest), found in RESULTS.pairs.items()}
    results = replace(RESULTS, versions=[V, f"{V} compiled"], pairs=RESULTS.pairs | compiled)
    telemetry = "| time added by OpenTelemetry, over pool_exporter | at least 10.0x; compiled 30.0x |"
    listeners = "| time added by two empty listeners, over pool_exporter | compiled at least 1.00x |"

    assert [f"{telemetry} 15.0x pass | 15.0x {FAIL} |"] == rows(results, "| time added by OpenTelemetry")
    assert [f"{listeners} 0.50x | 0.50x {FAIL} |"] == rows(results, "| time added by two empty listeners")


def test_skipped_budgets_are_kept() -> None:
    """A run without valgrind passes; one in which counted programs fail, or that is too slow in one value, does not."""
    slow = {**RESULTS.startup, (V,): {"import": [41e6], "serve": [1.0]}}

    assert is_kept(RESULTS)
    assert is_kept(skipped(Skipped("valgrind is not found")))
    assert not is_kept(skipped("it is broken"))
    assert not is_kept(replace(RESULTS, startup=slow))


def rows(results: Results, start: str) -> list[str]:
    """Return the lines of the report that begin so."""
    return [line for line in render(results).splitlines() if line.startswith(start)]


def test_report_has_budgets() -> None:
    """The first table has each budget with its limit, its value and its verdict."""
    assert ["| time added by OpenTelemetry, over pool_exporter | at least 10.0x | 15.0x pass |"] == rows(
        RESULTS, "| time added by OpenTelemetry"
    )
    assert len([limit for _, limit in EXPECTED.values() if limit is not None]) == render(RESULTS).count(f" {PASS} |")


def test_report_has_instructions() -> None:
    """A line has the mean count of each mode, the mean of its ratios to the bare one, and the error of that."""
    start = "| checkout and return, `QueuePool` | 2.1 | 90,000 | 126,000 | 1.400 ± 0.000 | 117,000 | 1.300 ± 0.000 | "
    request = "| `SELECT 1`, asyncpg | 2.1 | 1,500,000 | 1,575,000 | 1.050 ± 0.000 | 1 | 0.000 ± 0.000 |  |  |"

    assert [f"{start}135,000 | 1.500 ± 0.000 | 90,000 | 1.000 ± 0.000 |"] == rows(RESULTS, start)
    assert [f"{request} 1 | 0.000 ± 0.000 |"] == rows(RESULTS, request)


def test_ratio_is_of_the_same_layout() -> None:
    """Each count is over the bare one in its place; a mode that was counted in fewer layouts is compared in these."""
    assert (1.5, 0.5) == ratio([200.0, 100.0], [100.0, 100.0])
    assert (2.0, 0.0) == ratio([200.0], [100.0, 7.0])


def test_report_has_reasons() -> None:
    """What was skipped and what is absent have their reasons in their places, and only the second fails."""
    budget = "| instructions of `SELECT 1`, asyncpg, over bare | at most 1.060x |"

    assert [f"{budget} skipped (valgrind is not found) |"] == rows(skipped(Skipped("valgrind is not found")), budget)
    assert [f"{budget} absent (it is broken) {FAIL} |"] == rows(skipped("it is broken"), budget)


def test_report_has_what_a_report_costs() -> None:
    """A report is shown for threads and for tasks, and how long it keeps another thread from running."""
    assert ["| by the watchdog, processor time | 5.00 | 7.00 |"] == rows(RESULTS, "| by the watchdog, processor")
    assert ["| keeps another thread for | 0.30 | 0.20 |"] == rows(RESULTS, "| keeps another thread for")
