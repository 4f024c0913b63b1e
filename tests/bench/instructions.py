"""`python -m tests.bench.instructions`: the instructions of a checkout and its return, and of a request on PostgreSQL.

Each is counted in a process of its own, without the package and with it. The processes run side by side on all cores,
because counts do not depend on the load. What cannot be counted has the reason in its place.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import sqlalchemy

from tests.bench import callgrind
from tests.bench.counted import CALLERS, PAIRS, REQUESTS
from tests.bench.driver import Measured, Skipped
from tests.bench.workplace import program, workplace
from tests.fixtures.postgres import PostgresServer, find_binaries, postgres_server

JOB: Final = "instructions"
MODES: Final[Mapping[str, str]] = {
    "bare": "without pool_exporter",
    "always": "with places",
    "off": "`POOL_EXPORTER_PLACES=off`",
    "file": "with places, in a worker's file",
}


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
    def modes(self) -> Sequence[str]:
        """The modes in which it is counted: where slots are kept makes no difference to a request."""
        return [mode for mode in MODES if mode != "file" or not self.driver]


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
    keys = [
        (version, kind, mode) for version in pythons for kind in kinds for mode in KINDS[kind].modes if mode in modes
    ]
    if reason:
        return dict.fromkeys(keys, Skipped(reason))
    with ExitStack() as stack:
        server = stack.enter_context(_server(any(KINDS[kind].driver for kind in kinds)))
        threads = stack.enter_context(ThreadPoolExecutor(len(os.sched_getaffinity(0))))
        found = threads.map(lambda key: _counted(pythons[key[0]], KINDS[key[1]], key[2], server), keys)
        return dict(zip(keys, found, strict=True))


def _counted(python: str, kind: Kind, mode: str, server: PostgresServer | None) -> dict[str, list[float]] | str:
    url = []
    if kind.driver:
        if server is None:
            return Skipped("PostgreSQL is not found")
        url = [server.url(kind.driver).render_as_string()]
    command = [program(python), "-m", "tests.bench.counted", kind.work, mode, *url]
    environ = {"POOL_EXPORTER_PLACES": "off" if mode == "off" else "always"}
    with tempfile.TemporaryDirectory(prefix="pool_exporter_bench_") as directory:
        if mode == "file":
            environ["POOL_EXPORTER_DIR"] = directory
        try:
            counts = callgrind.instructions(command, environ, workplace(python))
        except RuntimeError as error:
            return str(error).strip().rpartition("\n")[2]
    return {JOB: [found / kind.times for found in counts]}


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


def _line(found: Mapping[str, Sequence[float]] | str, bare: Mapping[str, Sequence[float]] | str) -> str:
    if isinstance(found, str) or isinstance(bare, str):
        return str(found)
    least = min(found[JOB])
    return f"{least:12,.0f} {least / min(bare[JOB]):.3f}x"


if __name__ == "__main__":
    sys.exit(main())
