"""Holders with a unit of work: lost once it has ended, never while it runs, and not counted if it is declared long."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

import pool_exporter
from pool_exporter.diagnosis.survey import examine
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.runtime.monitor import Monitor
from tests.fixtures.deadlines import eventually, until
from tests.integration.diagnosis.sync_incidents import returns
from tests.integration.diagnosis.test_async import instrumented
from tests.integration.diagnosis.trial import ORDERS, QUICK, SIZE, Trial, first_report, first_report_in_loop


@contextmanager
def kept_open(trial: Trial, *connections: Connection) -> Iterator[None]:
    """Return the connections at the end."""
    yield
    trial.over.set()
    for connection in connections:
        connection.close()


def test_unit_that_has_ended(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """The thread lives on, its unit has ended: its connections are lost, and unit and function are named."""

    @pool_exporter.unit("nightly-report")
    def report() -> Connection:
        return engine.connect()

    with ThreadPoolExecutor(1) as worker:
        kept = [worker.submit(report).result() for _ in range(SIZE)]
        with kept_open(trial, *kept), trial.callers(lambda: returns(trial, engine)):
            found = first_report(monitor)

    assert "leak" == found.verdict
    assert {"nightly-report"} == {holder.unit for holder in found.holders}
    assert all(holder.unit_code.endswith("report") for holder in found.holders)
    assert "1 x" not in str(found).split("WAIT")[0]


def test_unit_that_runs_is_never_lost(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """A running unit may return a connection that was taken in a thread which has ended."""
    kept: list[Connection] = []
    with pool_exporter.unit("nightly-report"):
        for _ in range(SIZE):
            context = copy_context()
            thread = threading.Thread(target=lambda run=context.run: kept.append(run(engine.connect)))
            thread.start()
            thread.join()
        with kept_open(trial, *kept), trial.callers(lambda: returns(trial, engine)):
            found = first_report(monitor)

    assert "leak" != found.verdict
    assert [False, False] == [holder.is_lost for holder in found.holders]


def test_long_unit(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """A connection that is held for long on purpose is listed, and the verdict is that of the other one."""

    def listen() -> None:
        with pool_exporter.unit("listener", long=True), engine.connect():
            trial.hang()

    def run_statement() -> None:
        with engine.connect() as connection:
            connection.execute(ORDERS)

    with trial.callers(listen), trial.callers(run_statement):
        until(SIZE, lambda: monitor.snapshot().used)
        with trial.callers(lambda: returns(trial, engine)):
            found = first_report(monitor)

    assert "slow_queries" == found.verdict
    assert (1, 1) == (found.evidence.used, found.evidence.n_long)
    assert [True] == [holder.is_long for holder in found.holders if holder.unit == "listener"]
    assert "held by units declared with long=True" in str(found)


def test_idle_worker_of_a_thread_pool(
    trial: Trial, engine: Engine, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that a job has left in a thread of a pool is lost, once it is older than any use."""
    monkeypatch.setattr(examine, "LOST_SECONDS_MIN", 0.5)
    with ThreadPoolExecutor(SIZE) as workers:
        both = threading.Barrier(SIZE)

        def job() -> Connection:
            both.wait()
            return engine.connect()

        kept = [future.result() for future in [workers.submit(job) for _ in range(SIZE)]]
        with kept_open(trial, *kept), trial.callers(lambda: returns(trial, engine)):
            found = first_report(monitor)

    assert "leak" == found.verdict


def test_writers_of_sqlite(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """One holder keeps SQLite's lock and waits for the pool, the other one waits for the lock: a deadlock of both."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE audit (entry INTEGER)"))
    writes = threading.Event()

    def write_twice() -> None:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO audit VALUES (1)"))
            writes.set()
            until(SIZE, lambda: monitor.snapshot().used)
            returns(trial, engine)

    def write() -> None:
        writes.wait()
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO audit VALUES (2)"))

    with trial.callers(write_twice), trial.callers(write):
        found = first_report(monitor)

    assert "self_deadlock" == found.verdict
    assert {"waiting_for_pool", "executing"} == {holder.activity for holder in found.holders}


def test_unit_waits_in_another_task(trial: Trial, tmp_path: Path) -> None:
    """A unit of which another task waits for the pool waits itself, though no task of its holder is known to wait."""

    async def handler(engine: AsyncEngine, both: list[int]) -> None:
        with pool_exporter.unit("POST /orders"):
            async with engine.connect() as connection:
                await connection.execute(QUICK)
                both.append(1)
                await eventually(SIZE, lambda: len(both))
                started = asyncio.create_task(trial.caller(use(engine)))
                await asyncio.sleep(0)
                waiting = asyncio.Event()
                started.add_done_callback(lambda _: waiting.set())
                await waiting.wait()

    async def use(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            await connection.execute(QUICK)

    async def main() -> Diagnosis:
        async with instrumented(trial, tmp_path) as (engine, monitor):
            both: list[int] = []
            tasks = [asyncio.create_task(handler(engine, both)) for _ in range(SIZE)]
            found = await first_report_in_loop(monitor)
            await asyncio.gather(*tasks)
            return found

    found = asyncio.run(main())

    assert "self_deadlock" == found.verdict
    assert {"POST /orders"} == {holder.unit for holder in found.holders}
    assert {1} == {waiter.holds for waiter in found.waiters}


@pytest.mark.parametrize("way", ["wait_for", "gather", "task"])
def test_lawful_hand_over(trial: Trial, tmp_path: Path, way: str) -> None:
    """A connection that another task has taken for a running one is no orphan and no leak."""

    async def take(engine: AsyncEngine) -> AsyncConnection:
        if way == "wait_for":
            return await asyncio.wait_for(engine.connect(), 10)
        if way == "gather":
            (connection,) = await asyncio.gather(engine.connect())
            return connection
        return await engine.connect()

    async def main() -> tuple[str, bool]:
        async with instrumented(trial, tmp_path) as (engine, monitor):
            with pool_exporter.unit("stream"):
                connection = await take(engine)
                try:
                    await connection.execute(QUICK)
                    await asyncio.sleep(0.2)
                    made = monitor.diagnose()
                    return made.verdict, any(holder.is_lost for holder in made.holders)
                finally:
                    await connection.close()

    assert ("healthy", False) == asyncio.run(main())
