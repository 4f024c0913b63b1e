"""Places of a pool that no holder occupies: connections that are being opened, and places that SQLAlchemy has lost."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine

from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.runtime.monitor import Monitor
from tests.fixtures.deadlines import until
from tests.integration.diagnosis import async_incidents
from tests.integration.diagnosis.cells import cell, each_way
from tests.integration.diagnosis.sync_incidents import returns
from tests.integration.diagnosis.test_async import instrumented
from tests.integration.diagnosis.trial import SIZE, Trial, first_report, first_report_in_loop
from tests.pools import measured

CALLERS = SIZE + 1
"""Of so many, the watchdog is woken by the one for which no place is left."""
KEPT_OPEN = "Keep connections open instead of opening them at each peak"
REPLACED = "Call engine.dispose()"


def opens_slowly(trial: Trial) -> Callable[..., object]:
    """Return a listener for which opening a connection takes as long as the trial."""
    return lambda *_: trial.hang()


def opens_slowly_in_loop(trial: Trial) -> Callable[..., object]:
    """Return one that lets the event loop run meanwhile."""
    return lambda connection, _: connection.run_async(lambda _: trial.over_in_loop())


@each_way("opening", "sync")
def test_opening(trial: Trial, engine: Engine, monitor: Monitor, how: str) -> None:
    """Callers that wait for connections which are being opened do not wait for holders."""
    event.listen(engine, "connect", opens_slowly(trial))
    with trial.callers(lambda: returns(trial, engine), SIZE):
        until(SIZE, lambda: monitor.snapshot().pending)
        with trial.callers(lambda: returns(trial, engine)):
            found = first_report(monitor)

    assert ("opening", SIZE, how == "timeout") == (
        found.verdict,
        found.evidence.opening,
        found.evidence.at_timeout,
    )


@each_way("opening", "async")
def test_opening_in_tasks(trial: Trial, tmp_path: Path, how: str) -> None:
    """Tasks that wait for connections which are being opened do not wait for holders; their line is named."""

    async def main() -> Diagnosis:
        async with instrumented(trial, tmp_path) as (engine, monitor):
            event.listen(engine.sync_engine, "connect", opens_slowly_in_loop(trial))
            calls = [trial.caller(async_incidents.returns(trial, engine)) for _ in range(CALLERS)]
            tasks = [asyncio.create_task(call) for call in calls]
            found = await first_report_in_loop(monitor)
            trial.over.set()
            await asyncio.gather(*tasks)
            return found

    found = asyncio.run(main())

    assert ("opening", SIZE, how == "timeout") == (
        found.verdict,
        found.evidence.opening,
        found.evidence.at_timeout,
    )
    assert any(place.startswith("callers wait at") and " in returns" in place for place in found.where)


@cell("opening", "sync cure", follows=KEPT_OPEN)
def test_opening_cured(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """Connections that are kept open are not waited for."""
    for connection in [engine.connect() for _ in range(SIZE)]:
        connection.close()
    event.listen(engine, "connect", opens_slowly(trial))
    with trial.callers(lambda: returns(trial, engine), 2 * SIZE):
        until(SIZE + 2 * SIZE, lambda: measured(monitor).snapshot().use_time.count)

    assert () == monitor.diagnoses
    assert [] == trial.errors


@cell("opening", "async cure", follows=KEPT_OPEN)
def test_opening_in_tasks_cured(trial: Trial, tmp_path: Path) -> None:
    """Tasks do not wait for connections that are kept open."""

    async def main() -> tuple[Diagnosis, ...]:
        async with instrumented(trial, tmp_path) as (engine, monitor):
            for connection in [await engine.connect() for _ in range(SIZE)]:
                await connection.close()
            event.listen(engine.sync_engine, "connect", opens_slowly_in_loop(trial))
            await asyncio.gather(*(trial.caller(async_incidents.returns(trial, engine)) for _ in range(2 * SIZE)))
            return monitor.diagnoses

    assert () == asyncio.run(main())
    assert [] == trial.errors


@contextmanager
def failing_returns(engine: Engine) -> Iterator[None]:
    """Have a listener of the application raise at each return."""

    def fail(*_: object) -> None:
        raise ValueError("the application's listener")

    event.listen(engine, "checkin", fail)
    yield
    event.remove(engine, "checkin", fail)


def loses_places(engine: Engine) -> None:
    """Lose all places of the pool."""
    with failing_returns(engine):
        for _ in range(SIZE):
            connection = engine.connect()
            with pytest.raises(ValueError, match="listener"):
                connection.close()


async def loses_places_in_loop(trial: Trial, engine: AsyncEngine) -> None:
    """Lose all places of an asynchronous pool; what was lost is closed at the end of the trial."""
    with failing_returns(engine.sync_engine):
        for _ in range(SIZE):
            connection = await engine.connect()
            trial.kept.append((await connection.get_raw_connection()).driver_connection)
            with pytest.raises(ValueError, match="listener"):
                await connection.close()


@each_way("lost_places", "sync")
def test_lost_places(trial: Trial, engine: Engine, monitor: Monitor, how: str) -> None:
    """Places that SQLAlchemy has lost are found though no connection is used: by a timeout also of a single caller."""
    loses_places(engine)
    with trial.callers(lambda: returns(trial, engine), CALLERS if how == "watchdog" else 1):
        found = first_report(monitor)

    assert ("lost_places", 0, SIZE) == (found.verdict, found.evidence.used, found.evidence.lost_places)
    assert (how == "timeout") == found.evidence.at_timeout


@each_way("lost_places", "async")
def test_lost_places_in_tasks(trial: Trial, tmp_path: Path, how: str) -> None:
    """Places that SQLAlchemy has lost are found in a pool of asyncio."""

    async def main() -> Diagnosis:
        async with instrumented(trial, tmp_path) as (engine, monitor):
            await loses_places_in_loop(trial, engine)
            await asyncio.gather(*(trial.caller(async_incidents.returns(trial, engine)) for _ in range(CALLERS)))
            return monitor.diagnoses[0]

    found = asyncio.run(main())

    assert ("lost_places", 0, SIZE) == (found.verdict, found.evidence.used, found.evidence.lost_places)
    assert (how == "timeout") == found.evidence.at_timeout


@cell("lost_places", "sync cure", follows=REPLACED)
def test_lost_places_cured(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """After dispose() all places are there; the listener is mended, so that they stay."""
    loses_places(engine)
    engine.dispose()
    with trial.callers(lambda: returns(trial, engine), 2 * SIZE):
        pass

    assert () == monitor.diagnoses
    assert [] == trial.errors


@cell("lost_places", "async cure", follows=REPLACED)
def test_lost_places_in_tasks_cured(trial: Trial, tmp_path: Path) -> None:
    """After dispose() all places of a pool of asyncio are there."""

    async def main() -> tuple[Diagnosis, ...]:
        async with instrumented(trial, tmp_path) as (engine, monitor):
            await loses_places_in_loop(trial, engine)
            await engine.dispose()
            await asyncio.gather(*(trial.caller(async_incidents.returns(trial, engine)) for _ in range(2 * SIZE)))
            return monitor.diagnoses

    assert () == asyncio.run(main())
    assert [] == trial.errors
