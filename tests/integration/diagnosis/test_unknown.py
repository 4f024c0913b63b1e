"""Connections of which the holder cannot be known: with a unit of work the next report names it."""

import asyncio
from pathlib import Path

import anyio.to_thread
from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

import pool_exporter
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.runtime.monitor import Monitor
from tests.integration.diagnosis import async_incidents
from tests.integration.diagnosis.cells import cell, each_way
from tests.integration.diagnosis.sync_incidents import returns
from tests.integration.diagnosis.test_async import instrumented
from tests.integration.diagnosis.trial import SIZE, Trial, first_report, first_report_in_loop

NAME_IT = "Name the work with UnitMiddleware or unit(), so that the next report says more."


async def request_in_thread(engine: Engine) -> Connection:
    """Open a session as Starlette does for a dependency that yields, and never close it."""
    return await anyio.to_thread.run_sync(engine.connect)


def report_on_threads(trial: Trial, engine: Engine, monitor: Monitor, *, is_named: bool) -> Diagnosis:
    """Return the report on connections that requests have left in the worker threads of anyio."""

    async def main() -> Diagnosis:
        kept = []
        for _ in range(SIZE):
            if is_named:
                async with pool_exporter.unit("GET /orders"):
                    kept.append(await request_in_thread(engine))
            else:
                kept.append(await request_in_thread(engine))
        with trial.callers(lambda: returns(trial, engine)):
            found = await first_report_in_loop(monitor)
        for connection in kept:
            connection.close()
        return found

    return asyncio.run(main())


@each_way("unknown", "sync")
def test_idle_threads(trial: Trial, engine: Engine, monitor: Monitor, how: str) -> None:
    """A thread that waits for work says nothing of the request for which it opened a connection."""
    found = report_on_threads(trial, engine, monitor, is_named=False)

    assert ("unknown", how == "timeout") == (found.verdict, found.evidence.at_timeout)
    assert {"unknown"} == {holder.activity for holder in found.holders}


@cell("unknown", "sync cure", follows=NAME_IT)
def test_idle_threads_cured(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """With units the report says that the requests have ended, and which they were."""
    found = report_on_threads(trial, engine, monitor, is_named=True)

    assert ("leak", {"GET /orders"}) == (found.verdict, {holder.unit for holder in found.holders})


def take(trial: Trial, engine: Engine) -> None:
    """Keep a connection that nothing returns."""
    trial.kept.append(engine.connect())


def request(trial: Trial, engine: Engine) -> None:
    """Take it for a request."""
    take(trial, engine)


def requests(trial: Trial, engine: Engine) -> None:
    """Do two requests, one after the other, in one thread."""
    request(trial, engine)
    trial.both.wait()
    request(trial, engine)


def test_waiters_that_hold_connections(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """Of threads that hold connections of earlier work and wait for others, the report says so."""
    with trial.callers(lambda: requests(trial, engine), SIZE):
        found = first_report(monitor)

    assert ("unknown", SIZE) == (found.verdict, found.evidence.n_waiting_with)
    assert f"each of {SIZE} waiting callers has a connection" in " ".join(str(found).split())


async def request_in_task(engine: AsyncEngine) -> AsyncConnection:
    """Open a connection in a task of SQLAlchemy's own coroutine, as wait_for did before Python 3.12."""
    (connection,) = await asyncio.gather(engine.connect())
    return connection


def report_on_tasks(trial: Trial, folder: Path, *, is_named: bool) -> Diagnosis:
    """Return the report on connections that such tasks have left."""

    async def main() -> Diagnosis:
        async with instrumented(trial, folder) as (engine, monitor):
            for _ in range(SIZE):
                if is_named:
                    async with pool_exporter.unit("GET /orders"):
                        trial.kept.append(await request_in_task(engine))
                else:
                    trial.kept.append(await request_in_task(engine))
            last = asyncio.create_task(trial.caller(async_incidents.returns(trial, engine)))
            found = await first_report_in_loop(monitor)
            for connection in trial.kept:
                await connection.close()  # type: ignore[attr-defined]  # an AsyncConnection
            await last
            return found

    return asyncio.run(main())


@each_way("unknown", "async")
def test_ended_tasks(trial: Trial, tmp_path: Path, how: str) -> None:
    """A task that ran nothing but SQLAlchemy's code says nothing of what it handed its connection to."""
    found = report_on_tasks(trial, tmp_path, is_named=False)

    assert ("unknown", how == "timeout") == (found.verdict, found.evidence.at_timeout)
    assert {"unknown"} == {holder.activity for holder in found.holders}


@cell("unknown", "async cure", follows=NAME_IT)
def test_ended_tasks_cured(trial: Trial, tmp_path: Path) -> None:
    """With units the report says that they have ended, and which they were."""
    found = report_on_tasks(trial, tmp_path, is_named=True)

    assert ("leak", {"GET /orders"}) == (found.verdict, {holder.unit for holder in found.holders})
