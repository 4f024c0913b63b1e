"""Pools of asyncio of which the connections turn over are too small, or have a burst of callers."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.runtime.monitor import Monitor
from tests.fixtures.deadlines import eventually
from tests.integration.diagnosis.cells import cell, each_way
from tests.integration.diagnosis.test_async import instrumented
from tests.integration.diagnosis.test_turnover import CROWD, QUIET_SECONDS, TAKES_TIME, USE_SECONDS, forget_before
from tests.integration.diagnosis.trial import SIZE, Trial, first_report_in_loop
from tests.pools import measured

ADMIT = "dmit fewer callers at once"


async def uses_for_a_moment(trial: Trial, engine: AsyncEngine) -> None:
    """Execute a statement that takes a tenth of a second; once the trial is over, no time."""
    trial.row_seconds = USE_SECONDS
    async with engine.connect() as connection:
        await connection.execute(TAKES_TIME)


async def takes_turns(trial: Trial, engine: AsyncEngine, admitted: asyncio.Semaphore) -> None:
    """Use a connection again and again until the trial is over, whenever the caller is admitted."""
    while not trial.over.is_set():
        async with admitted:
            await uses_for_a_moment(trial, engine)


async def has_quiet_time(trial: Trial, engine: AsyncEngine) -> None:
    """Use a connection now and then, before the crowd comes."""
    for _ in range(3):
        await uses_for_a_moment(trial, engine)
        await asyncio.sleep(QUIET_SECONDS)


def crowd(trial: Trial, engine: AsyncEngine, admitted: int = CROWD) -> list[asyncio.Task[None]]:
    """Start the callers, of which so many are admitted at once."""
    semaphore = asyncio.Semaphore(admitted)
    return [asyncio.create_task(trial.caller(takes_turns(trial, engine, semaphore))) for _ in range(CROWD)]


async def report_on(trial: Trial, monitor: Monitor, tasks: list[asyncio.Task[None]]) -> Diagnosis:
    """Return the first report, when the callers have ended."""
    found = await first_report_in_loop(monitor)
    trial.over.set()
    await asyncio.gather(*tasks)
    return found


@each_way("too_small", "async")
def test_too_small(trial: Trial, tmp_path: Path, how: str) -> None:
    """As many callers as before, and more than the connections can serve: a size that would do is named."""

    async def main() -> Diagnosis:
        async with instrumented(trial, tmp_path) as (engine, monitor):
            async with engine.connect(), engine.connect():
                pass  # From here on a connection is granted only because another use has ended.
            forget_before(monitor)
            return await report_on(trial, monitor, crowd(trial, engine))

    found = asyncio.run(main())

    assert ("too_small", how == "timeout") == (found.verdict, found.evidence.at_timeout)
    assert "would do" in str(found)


@each_way("burst", "async")
def test_burst(trial: Trial, tmp_path: Path, how: str) -> None:
    """At least twice as many callers as before are a burst."""

    async def main() -> Diagnosis:
        async with instrumented(trial, tmp_path) as (engine, monitor):
            await has_quiet_time(trial, engine)
            return await report_on(trial, monitor, crowd(trial, engine))

    found = asyncio.run(main())

    assert ("burst", how == "timeout") == (found.verdict, found.evidence.at_timeout)
    assert "Usually" in str(found)


@pytest.mark.parametrize(
    "is_quiet_before",
    [
        pytest.param(False, marks=cell("too_small", "async cure", follows=ADMIT)),
        pytest.param(True, marks=cell("burst", "async cure", follows=ADMIT)),
    ],
)
def test_cured_by_admission(trial: Trial, tmp_path: Path, *, is_quiet_before: bool) -> None:
    """Where no more callers are admitted at once than there are connections, none waits for the pool."""

    async def main() -> tuple[Diagnosis, ...]:
        async with instrumented(trial, tmp_path) as (engine, monitor):
            if is_quiet_before:
                await has_quiet_time(trial, engine)
            tasks = crowd(trial, engine, SIZE)
            await eventually(True, lambda: measured(monitor).snapshot().use_time.count >= 10 * SIZE)
            trial.over.set()
            await asyncio.gather(*tasks)
            return monitor.diagnoses

    assert () == asyncio.run(main())
    assert [] == trial.errors
