"""`python -m tests.bench.instructions`: the instructions of a checkout and its return, and of a request on PostgreSQL.

Each is counted without the package and with it, in turns, in layouts of the memory that are the same for both. The
processes run side by side on all cores, because counts do not depend on the load. What cannot be counted has the reason
in its place.
"""

import argparse
import json
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Final, TypeAlias

import sqlalchemy

from tests.bench import callgrind
from tests.bench.counted import CALLERS, PAIRS, REQUESTS
from tests.bench.driver import Measured, Skipped
from tests.bench.workplace import program, workplace
from tests.fixtures.postgres import PostgresServer, find_binaries, postgres_server

JOB: Final = "instructions"
Samples: TypeAlias = dict[str, list[float]] | str
"""What was counted in each layout, by `JOB`; or why nothing was."""
MODES: Final[Mapping[str, str]] = {
    "bare": "without pool_exporter",
    "always": "with places",
    "off": "`POOL_EXPORTER_PLACES=off`",
    "file": "with places, in a worker's file",
    "again": "without pool_exporter, again",
}
"""The last one shows how much two counts of the same thing differ."""
HASH_SEEDS: Final = 2
"""As many processes count each kind. In each, dictionaries collide differently."""


@dataclass(frozen=True)
class Kind:
    """What is counted.

    Attributes:
        title: Its name in the report.
        work: Its name in `counted`.
        driver: The driver of a request on PostgreSQL; "" for a pair.
    """

    title: str
    work: str
    driver: str = ""

    @property
    def times(self) -> int:
        """How often the work is done in one sample."""
        return CALLERS * REQUESTS if self.driver else PAIRS

    @property
    def layouts(self) -> Mapping[str, int]:
        """The modes in which it is counted, and in how many layouts of the memory in each process.

        A mode without a budget has fewer of them, and so have requests by psycopg, which are far from their budgets:
        the counts take most of the time of `make bench`. Where slots are kept makes no difference to a request.
        """
        if not self.driver:
            return {"bare": 6, "always": 6, "off": 2, "file": 6, "again": 1}
        layouts = 6 if self.driver == "asyncpg" else 2
        return {"bare": layouts, "always": layouts, "off": 1, "again": 1}


KINDS: Final[Mapping[str, Kind]] = {
    "sync": Kind("checkout and return, `QueuePool`", "sync"),
    "async": Kind("checkout and return, `AsyncAdaptedQueuePool` in a task", "async"),
    "asyncpg": Kind("`SELECT 1`, asyncpg", "core", "asyncpg"),
    "psycopg": Kind("`SELECT 1`, psycopg", "core", "psycopg"),
    "asyncpg_orm": Kind("ORM select and commit, asyncpg", "orm", "asyncpg"),
    "psycopg_orm": Kind("ORM select and commit, psycopg", "orm", "psycopg"),
}


def count(
    pythons: Mapping[str, str], kinds: Iterable[str] = KINDS, why_not: str = "", modes: Collection[str] = MODES
) -> Measured:
    """Return the instructions of one pair or request.

    Args:
        pythons: The Pythons, by the version of SQLAlchemy that each has, and whether the package is compiled there.
        kinds: Keys of `KINDS`.
        why_not: Why nothing shall be counted; "" to count.
        modes: Those of `MODES` in which it is counted.

    Returns:
        By version, kind and mode, the samples, or the reason why there are none.
    """
    reason = why_not or ("" if callgrind.is_found() else f"{callgrind.PROGRAM} is not found")
    asked = {kind: {mode: n for mode, n in KINDS[kind].layouts.items() if mode in modes} for kind in kinds}
    keys = [(version, kind) for version in pythons for kind in asked]
    if reason:
        return {(*key, mode): Skipped(reason) for key in keys for mode in asked[key[1]]}
    with ExitStack() as stack:
        server = stack.enter_context(_server(any(KINDS[kind].driver for kind in asked)))
        threads = stack.enter_context(ThreadPoolExecutor(len(os.sched_getaffinity(0))))
        runs = {
            (version, kind): [
                threads.submit(_counted, pythons[version], KINDS[kind], asked[kind], hash_seed, server)
                for hash_seed in range(HASH_SEEDS)
            ]
            for version, kind in keys
        }
        return {
            (*key, mode): _in_turns([process.result()[mode] for process in processes])
            for key, processes in runs.items()
            for mode in asked[key[1]]
        }


def _in_turns(processes: Sequence[Samples]) -> Samples:
    """Return one sample of each process in turns, as far as all have one; or why one has none.

    So the samples of two modes that have the same place are of the same process and layout, also if one has fewer.
    """
    for samples in processes:
        if isinstance(samples, str):
            return samples
    counts = [samples[JOB] for samples in processes if not isinstance(samples, str)]
    return {JOB: [count for layout in zip(*counts, strict=False) for count in layout]}


def _counted(
    python: str, kind: Kind, layouts: Mapping[str, int], hash_seed: int, server: PostgresServer | None
) -> dict[str, Samples]:
    """Return the samples of each mode, in the order of the layouts, from one process and its children."""
    if kind.driver and server is None:
        return dict.fromkeys(layouts, Skipped("PostgreSQL is not found"))
    url = [] if server is None or not kind.driver else [server.url(kind.driver).render_as_string()]
    command = [program(python), "-m", "tests.bench.counted", kind.work, json.dumps(layouts), *url]
    try:
        found = callgrind.instructions(command, {"PYTHONHASHSEED": str(hash_seed)}, workplace(python))
    except RuntimeError as error:
        return dict.fromkeys(layouts, str(error).strip().rpartition("\n")[2])
    reasons = {mode: reason for mode, reason in found if isinstance(reason, str)}
    counts = {mode: [n / kind.times for of, n in found if of == mode and not isinstance(n, str)] for mode in layouts}
    return {mode: reasons[mode] if mode in reasons else {JOB: counts[mode]} for mode in layouts}


@contextmanager
def _server(is_needed: bool) -> Iterator[PostgresServer | None]:
    """Run PostgreSQL with the table of the requests, if it is needed and installed."""
    if not is_needed or find_binaries() is None:
        yield None
        return
    with postgres_server() as server:
        server.admin("create table item (id integer primary key, name text not null)")
        server.admin("insert into item values (1, 'one')")
        server.admin("grant select on item to app")
        yield server


def main() -> int:
    """Print the counts of this Python."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.instructions", description=__doc__)
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="what to count; repeatable; default: all")
    kinds: list[str] = parser.parse_args().kind or list(KINDS)
    print(f"CPython {sys.version.split()[0]}, SQLAlchemy {sqlalchemy.__version__}")
    counts = count({sqlalchemy.__version__: sys.executable}, kinds)
    for (_, kind, mode), found in counts.items():
        bare = counts[sqlalchemy.__version__, kind, "bare"]
        print(f"{KINDS[kind].title:55} {MODES[mode]:32} {_line(found, bare)}")
    return 0


def _line(found: Samples, bare: Samples) -> str:
    if isinstance(found, str) or isinstance(bare, str):
        return str(found)
    return "{:12,.0f} {:.4f}x \u00b1 {:.4f}".format(fmean(found[JOB]), *ratio(found[JOB], bare[JOB]))


def ratio(samples: Sequence[float], bare: Sequence[float]) -> tuple[float, float]:
    """Return how many times the bare count goes into another one, and the standard error of that.

    The counts of a layout are compared with each other, and the mean of all layouts is taken.
    """
    ratios = [sample / base for sample, base in zip(samples, bare, strict=False)]
    return fmean(ratios), stdev(ratios) / sqrt(len(ratios)) if len(ratios) > 1 else 0.0


if __name__ == "__main__":
    sys.exit(main())
