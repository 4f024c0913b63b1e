"""Reports keep nothing of the application alive, change nothing of what it sees, and begin anew in a forked child."""

import asyncio
import gc
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from weakref import ref

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

import pool_exporter
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.runtime.watchdog.watchdog import watchdog
from tests.fixtures.deadlines import until
from tests.integration.diagnosis.sync_incidents import returns
from tests.integration.diagnosis.trial import QUICK, SIZE, Trial, async_engine, first_report, sync_engine


def test_nothing_is_kept(trial: Trial, tmp_path: Path) -> None:
    """After a report, engine, session, thread and error are freed as soon as the application drops them."""
    engine = sync_engine(trial, tmp_path)
    monitor = pool_exporter.instrument(engine, name="freed")
    session = Session(engine)

    def hold(session: Session) -> None:
        session.execute(QUICK)
        trial.hang()
        session.close()

    threads = [threading.Thread(target=hold, args=(session,)), threading.Thread(target=returns, args=(trial, engine))]
    with engine.connect():
        threads[0].start()
        until(SIZE, lambda: monitor.snapshot().used)
        threads[1].start()
        made = first_report(monitor)
    trial.over.set()
    for thread in threads:
        thread.join()
    engine.dispose()
    freed: list[Callable[[], object]] = [ref(engine), ref(engine.pool), ref(session), *map(ref, threads)]
    del engine, session, threads, thread
    gc.collect()

    assert "held_in_own_code" == made.verdict
    until([None] * 5, lambda: alive(freed))


def alive(references: list[Callable[[], object]]) -> list[object]:
    """Return what is not freed; a look of the watchdog's thread keeps a task for its duration."""
    gc.collect()
    return [reference() for reference in references]


def test_nothing_of_a_loop_is_kept(trial: Trial, tmp_path: Path) -> None:
    """Tasks and event loop are freed, too."""
    freed: list[Callable[[], object]] = []

    async def hold(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            await session.execute(QUICK)
            await trial.over_in_loop()

    async def main() -> str:
        engine = async_engine(trial, tmp_path)
        with pool_exporter.instrument(engine, name="freed") as monitor:
            tasks = [asyncio.create_task(hold(engine)) for _ in range(SIZE + 1)]
            freed.extend([ref(asyncio.get_running_loop()), *map(ref, tasks)])
            while not monitor.diagnoses:  # noqa: ASYNC110  # nothing sets an event
                await asyncio.sleep(0.02)
            trial.over.set()
            await asyncio.gather(*tasks)
            await engine.dispose()
            return monitor.diagnoses[0].verdict

    verdict = asyncio.run(main())

    assert "held_in_own_code" == verdict
    until([None] * (SIZE + 2), lambda: alive(freed))


def test_error_is_as_before(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """Type, message and cause of a timeout stay; only a note is added."""
    with engine.connect(), engine.connect(), trial.callers(lambda: returns(trial, engine)):
        until(True, lambda: bool(trial.errors))
    (error,) = trial.errors

    assert PoolTimeoutError is type(error)
    assert "QueuePool limit of size 2 overflow 0 reached, connection timed out, timeout 2.00" in str(error)
    assert "pool_exporter" not in str(error)
    assert error.__cause__ is None
    assert "leak" != monitor.diagnoses[0].verdict


def test_one_report_an_episode(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """Every caller that times out gets the same note, but for the age of the report, and there is one report."""
    with engine.connect(), engine.connect(), trial.callers(lambda: returns(trial, engine), 5):
        until(5, lambda: len(trial.errors))
    notes = ["\n".join(getattr(error, "__notes__", ())) for error in trial.errors]

    assert 1 == len(monitor.diagnoses)
    assert 1 == len({re.sub("\n  That was seen at .*", "", note) for note in notes})


def test_verdict_stays_for_a_minute(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """On demand, when no caller waits any more, the verdict is that of the report, with the holders of now."""
    with engine.connect(), engine.connect(), trial.callers(lambda: returns(trial, engine)):
        made = first_report(monitor)
    later = monitor.diagnose()

    assert made.verdict == later.verdict
    assert () == later.holders
    assert (made,) == monitor.diagnoses


def test_off(trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """POOL_EXPORTER_DIAGNOSIS=off: no thread is waked, no report is made, and an error has no note."""
    monkeypatch.setenv("POOL_EXPORTER_DIAGNOSIS", "off")
    engine = sync_engine(trial, tmp_path)
    with pool_exporter.instrument(engine, name="off") as monitor:
        with engine.connect(), engine.connect(), trial.callers(lambda: returns(trial, engine)):
            until(True, lambda: bool(trial.errors))

        assert () == monitor.diagnoses
        assert not hasattr(trial.errors[0], "__notes__")
    monkeypatch.undo()
    watchdog.is_on = True
    engine.dispose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process can fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_child(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """A child starts its own watchdog, though the parent's has run; the parent's reports are not its own."""
    with engine.connect(), engine.connect(), trial.callers(lambda: returns(trial, engine)):
        first_report(monitor)
    engine.dispose()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            inherited, child = len(monitor.diagnoses), Trial()
            with engine.connect(), engine.connect(), child.callers(lambda: returns(child, engine)):
                found = first_report(monitor)
            code = 0 if inherited == 0 and found.verdict == "held_in_own_code" else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)

    assert 0 == os.waitstatus_to_exitcode(status)
