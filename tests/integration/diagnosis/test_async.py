"""What exhausts a pool of asyncio is found, by the watchdog and at a timeout; what is cured gives no report."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

import pool_exporter
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.runtime.watchdog.pool_examiner import PoolExaminer
from tests.fixtures.deadlines import eventually
from tests.integration.diagnosis.async_incidents import Incident, returns, with_each
from tests.integration.diagnosis.cells import cell
from tests.integration.diagnosis.trial import SIZE, TIMEOUT, Trial, async_engine, first_report_in_loop


@asynccontextmanager
async def instrumented(trial: Trial, folder: Path) -> AsyncIterator[tuple[AsyncEngine, Monitor]]:
    """Yield an engine and its monitor; in the end nothing hangs, and all connections are closed."""
    engine = async_engine(trial, folder)
    with pool_exporter.instrument(engine, name="trial") as monitor:
        try:
            yield engine, monitor
        finally:
            trial.over.set()
            for each in trial.kept:
                if hasattr(each, "close"):
                    await each.close()
            await engine.dispose()


async def exhausted(
    incident: Incident, trial: Trial, engine: AsyncEngine, monitor: Monitor, report: Callable[[], Awaitable[Diagnosis]]
) -> Diagnosis:
    """Let the incident happen, and one more task wait; return the report."""
    tasks = [asyncio.create_task(trial.caller(incident.fault(trial, engine))) for _ in range(SIZE)]
    if incident.ends_first:
        await asyncio.gather(*tasks)
    await eventually(SIZE, lambda: monitor.snapshot().used)
    last = asyncio.create_task(trial.caller(returns(trial, engine)))
    found = await report()
    trial.over.set()
    for task in tasks:  # Of those that wait for each other, the first that times out helps the others.
        await task
    for each in trial.kept:
        if hasattr(each, "close"):
            await each.close()
    await last
    return found


@with_each("watchdog")
def test_by_the_watchdog(incident: Incident, trial: Trial, tmp_path: Path) -> None:
    """Before any task has timed out, the verdict is there, with place and function of each holder."""

    async def main() -> Diagnosis:
        async with instrumented(trial, tmp_path) as (engine, monitor):
            return await exhausted(incident, trial, engine, monitor, lambda: first_report_in_loop(monitor))

    found = asyncio.run(main())

    assert incident.verdict == found.verdict
    assert SIZE == len(found.holders)
    assert all(f" in {incident.fault.__name__}" in holder.place for holder in found.holders)
    again = [place for place in found.where if place.startswith("and again at ")]
    assert (incident.verdict == "self_deadlock") == any(" in returns" in place for place in again)


@with_each("timeout")
@pytest.mark.usefixtures("_without_looks")
def test_by_a_time_out(incident: Incident, trial: Trial, tmp_path: Path) -> None:
    """The task that times out makes the report, and its error has the note, with the places at fault."""

    async def main() -> Diagnosis:
        async with instrumented(trial, tmp_path) as (engine, monitor):

            async def report() -> Diagnosis:
                await eventually(True, lambda: bool(trial.errors))
                return monitor.diagnoses[0]

            return await exhausted(incident, trial, engine, monitor, report)

    found = asyncio.run(main())

    assert incident.verdict == found.verdict
    if sys.version_info >= (3, 11):
        assert all(f"{incident.verdict}: " in error.__notes__[0] for error in trial.errors)
        assert all(
            place.removesuffix(" (2 x)") in error.__notes__[0] for error in trial.errors for place in found.where
        )


@with_each("cure")
def test_cured(incident: Incident, trial: Trial, tmp_path: Path) -> None:
    """The same work, done as the advice says, leaves a connection for every task."""

    async def main() -> tuple[tuple[Diagnosis, ...], str]:
        async with instrumented(trial, tmp_path) as (engine, monitor):
            tasks = [asyncio.create_task(trial.caller(incident.cured(trial, engine))) for _ in range(2 * SIZE)]
            for _ in range(20):
                await returns(trial, engine)
            trial.over.set()
            await asyncio.gather(*tasks)
            return monitor.diagnoses, monitor.diagnose().verdict

    assert ((), "healthy") == asyncio.run(main())
    assert [] == trial.errors


def block(trial: Trial) -> None:
    """Block the thread of the event loop."""
    trial.hang()


def blocked(trial: Trial, folder: Path, call: Callable[[Trial], Coroutine[object, object, None]]) -> Diagnosis | None:
    """Let tasks do *call* while others wait for connections that are used for a moment; return the first report."""

    async def use(engine: AsyncEngine, called: asyncio.Event) -> None:
        async with engine.connect() as connection:
            await called.wait()
            await asyncio.sleep(0.05)
            del connection

    async def main() -> Diagnosis | None:
        async with instrumented(trial, folder) as (engine, monitor):
            called = asyncio.Event()
            users = [asyncio.create_task(trial.caller(use(engine, called))) for _ in range(4 * SIZE)]
            await eventually((SIZE, 3 * SIZE), lambda: (monitor.snapshot().used, monitor.snapshot().pending))
            called.set()
            await call(trial)
            await asyncio.gather(*users)
            return monitor.diagnoses[0] if monitor.diagnoses else None

    return asyncio.run(main())


@cell("loop_blocked", "async watchdog")
def test_blocked_loop(trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that is blocked is found while it is, with the line at which its thread is."""
    publish = PoolExaminer._publish

    def publish_and_end(reports: PoolExaminer, made: Diagnosis) -> None:
        publish(reports, made)
        trial.over.set()

    monkeypatch.setattr(PoolExaminer, "_publish", publish_and_end)

    async def call(trial: Trial) -> None:
        block(trial)

    found = blocked(trial, tmp_path, call)

    assert found is not None
    assert "loop_blocked" == found.verdict
    assert " in block" in str(found)


@cell("loop_blocked", "async timeout")
@pytest.mark.usefixtures("_without_looks")
def test_blocked_loop_by_a_time_out(trial: Trial, tmp_path: Path) -> None:
    """Without the watchdog's looks it is found by a timeout that comes late."""

    async def call(_: Trial) -> None:
        time.sleep(TIMEOUT + 1)  # noqa: ASYNC251  # the fault

    found = blocked(trial, tmp_path, call)

    assert found is not None
    assert "loop_blocked" == found.verdict


@cell("loop_blocked", "async cure", follows="Move the blocking call into a thread: await asyncio.to_thread")
def test_blocked_loop_cured(trial: Trial, tmp_path: Path) -> None:
    """In a thread the same call blocks nothing."""

    async def call(_: Trial) -> None:
        await asyncio.to_thread(time.sleep, 1.0)

    assert None is blocked(trial, tmp_path, call)
    assert [] == trial.errors
