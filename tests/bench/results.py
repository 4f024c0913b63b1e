"""What one run has measured, and how values are read from it: functions of the samples alone.

Factors and differences are of minima: on a shared machine, everything but the work itself only ever adds time. Nothing
here may know budgets or tables.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from tests.bench.driver import Measured
from tests.bench.instructions import JOB, ratio
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
    instrumenting: Measured
    holders: Measured
    instructions: Measured


def _samples(measured: Measured, key: tuple[str, ...], job: str) -> list[float] | str:
    found = measured[key]
    return found if isinstance(found, str) else found[job]


def least(measured: Measured, *key: str, job: str) -> Cell:
    """Return the least sample of a job, or why there is none."""
    samples = _samples(measured, key, job)
    return samples if isinstance(samples, str) else float(min(samples))


def middle(measured: Measured, *key: str, job: str) -> Cell:
    """Return the median of a job's samples, or why there is none."""
    samples = _samples(measured, key, job)
    return samples if isinstance(samples, str) else float(median(samples))


def _both(a: Cell, b: Cell, combine: Callable[[float, float], float]) -> Cell:
    """Combine two numbers, or pass on why one of them is missing."""
    return a if isinstance(a, str) else b if isinstance(b, str) else combine(a, b)


def over(a: Cell, b: Cell) -> Cell:
    """Return how many times *b* goes into *a*."""
    return _both(a, b, lambda a, b: a / b)


def less(a: Cell, b: Cell) -> Cell:
    """Return the difference."""
    return _both(a, b, lambda a, b: a - b)


def _bare_of(variant: str) -> str:
    return "async_bare" if variant.startswith("async_") else "bare"


def factor(results: Results, version: str, variant: str, job: str = "pool") -> Cell:
    """Return what a pair takes under *variant*, over the bare one."""
    bare = least(results.pairs, version, _bare_of(variant), job=job)
    return over(least(results.pairs, version, variant, job=job), bare)


def added(results: Results, version: str, variant: str, job: str = "pool") -> Cell:
    """Return what *variant* adds to a pair, in nanoseconds."""
    bare = least(results.pairs, version, _bare_of(variant), job=job)
    return less(least(results.pairs, version, variant, job=job), bare)


def added_by(peer: str) -> Callable[[Results, str], Cell]:
    """Return a function of results and version: the time that *peer* adds, over the package's."""
    return lambda results, version: over(added(results, version, peer), added(results, version, "pool_exporter"))


def scraped(results: Results, version: str, side: str, size: int) -> Cell:
    """Return what a scrape of so many pools takes, in nanoseconds."""
    return least(results.scrape, version, side, str(size), job="scrape")


def gathered(results: Results, side: str, workers: int, pools: int, dead: int) -> Cell:
    """Return what a scrape of so many workers takes, in nanoseconds."""
    return least(results.directory, side, str(workers), str(pools), str(dead), job="scrape")


def growth(results: Results, version: str) -> Cell:
    """Return what a pool costs among the most pools, over its cost among a tenth of them."""
    few, many = SIZES[-2:]
    return over(
        over(scraped(results, version, "pool_exporter", many), float(many)),
        over(scraped(results, version, "pool_exporter", few), float(few)),
    )


def memory_kib(results: Results, version: str, connections: int) -> Cell:
    """Return the memory of an instrumented pool with so many connections."""
    sides = [least(results.memory, version, side, str(connections), job="bytes") for side in ("pool_exporter", "bare")]
    return over(less(*sides), 1024.0)


def startup_ms(results: Results, version: str, job: str) -> Cell:
    """Return what an import or a start takes."""
    return over(least(results.startup, version, job=job), 1e6)


def mean(measured: Measured, *key: str, job: str = JOB) -> Cell:
    """Return the mean of a job's samples, or why there is none."""
    samples = _samples(measured, key, job)
    return samples if isinstance(samples, str) else fmean(samples)


def _ratio(results: Results, version: str, kind: str, mode: str) -> tuple[float, float] | str:
    samples, bare = (_samples(results.instructions, (version, kind, each), JOB) for each in (mode, "bare"))
    return samples if isinstance(samples, str) else bare if isinstance(bare, str) else ratio(samples, bare)


def instructed(results: Results, version: str, kind: str, mode: str) -> Cell:
    """Return the instructions of a pair or request in a mode, over those of the bare one."""
    found = _ratio(results, version, kind, mode)
    return found if isinstance(found, str) else found[0]


def instructions_error(results: Results, version: str, kind: str, mode: str) -> Cell:
    """Return the standard error of that."""
    found = _ratio(results, version, kind, mode)
    return found if isinstance(found, str) else found[1]


def report_ms(results: Results, version: str, owners: str, job: str) -> Cell:
    """Return what a job of `tests.bench.holders` takes."""
    return over(least(results.holders, version, owners, job=job), 1e6)


def longest_report_ms(results: Results, version: str, job: str) -> Cell:
    """Return the same for threads or for tasks, whichever takes longer."""
    threads, tasks = (report_ms(results, version, owners, job) for owners in ("threads", "tasks"))
    return _both(threads, tasks, max)


def kept_ms(results: Results, version: str, owners: str) -> Cell:
    """Return for how long a report keeps another thread from running, less what a thread does that only counts."""
    return less(*(report_ms(results, version, owners, job) for job in ("pause", "pause_beside_a_count")))


def longest_kept_ms(results: Results, version: str) -> Cell:
    """Return the same for threads or for tasks, whichever is longer."""
    threads, tasks = (kept_ms(results, version, owners) for owners in ("threads", "tasks"))
    return _both(threads, tasks, max)


def many_over_first(results: Results, version: str) -> Cell:
    """Return what `instrument()` of the last of thousands of pools takes, over that of the first."""
    return over(*(least(results.instrumenting, version, "many", job=job) for job in ("last", "first")))


def finding_ms(results: Results, version: str) -> Cell:
    """Return what it takes to find a pool at its first use, more than to have it named by `instrument()`."""
    return over(less(*(least(results.instrumenting, version, side, job="use") for side in ("found", "named"))), 1e6)
