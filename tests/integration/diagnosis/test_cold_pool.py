"""A pool of asyncio that has no connection open yet while its event loop is blocked, or late and the server silent."""

import asyncio
import socket
import time
from pathlib import Path

import pytest
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import pool_exporter
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.runtime.watchdog.pool_examiner import PoolExaminer
from tests.fixtures.deadlines import eventually
from tests.integration.diagnosis.async_incidents import returns
from tests.integration.diagnosis.cells import cell
from tests.integration.diagnosis.trial import SIZE, Trial, async_engine, first_report_in_loop


def block(trial: Trial) -> None:
    """Block the thread of the event loop until the trial is over."""
    trial.hang()


async def blocks(trial: Trial) -> None:
    """Block it in a task that uses no connection."""
    block(trial)


@pytest.fixture(name="_over_at_report")
def _over_at_report(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the trial be over as soon as the watchdog has made a report."""
    publish = PoolExaminer._publish

    def publish_and_end(reports: PoolExaminer, made: Diagnosis) -> None:
        publish(reports, made)
        trial.over.set()

    monkeypatch.setattr(PoolExaminer, "_publish", publish_and_end)


@cell("loop_blocked", "async watchdog")
@pytest.mark.usefixtures("_over_at_report")
def test_blocked_loop_of_a_cold_pool(trial: Trial, tmp_path: Path) -> None:
    """While connections are being opened and none is held, a blocked loop is found, with the line that blocks."""

    async def main() -> Diagnosis:
        engine = async_engine(trial, tmp_path)
        with pool_exporter.instrument(engine, name="trial") as monitor:
            callers = [trial.caller(returns(trial, engine)) for _ in range(2 * SIZE)]
            await asyncio.gather(*callers, blocks(trial))
            await engine.dispose()
            return monitor.diagnoses[0]

    found = asyncio.run(main())

    assert ("loop_blocked", 0) == (found.verdict, found.evidence.used)
    assert SIZE == found.evidence.opening
    assert " in block" in str(found)


WAIT_SECONDS = 1.2
CONNECT_SECONDS = 0.5
"""The third attempt fails after a second, and the watchdog gives a report after half of the timeout."""


async def tries_to_connect(trial: Trial, engine: AsyncEngine) -> None:
    """Try again and again until the trial is over."""
    while not trial.over.is_set():
        try:
            await (await engine.connect()).close()
        except (exc.SQLAlchemyError, OSError, asyncio.TimeoutError):
            await asyncio.sleep(0)


async def delays(trial: Trial) -> None:
    """Block the loop for a moment again and again."""
    while not trial.over.is_set():
        time.sleep(0.12)  # noqa: ASYNC251  # the fault
        await asyncio.sleep(0)


def test_silent_server_and_late_loop(trial: Trial) -> None:
    """That connections cannot be opened replaces what was said while they were being opened in a late loop."""

    async def main(port: int) -> list[str]:
        url = f"postgresql+asyncpg://app@127.0.0.1:{port}/app"
        engine = create_async_engine(
            url,
            pool_size=SIZE,
            max_overflow=0,
            pool_timeout=WAIT_SECONDS,
            connect_args={"timeout": CONNECT_SECONDS},
        )
        with pool_exporter.instrument(engine, name="trial") as monitor:
            tasks = [asyncio.create_task(tries_to_connect(trial, engine)) for _ in range(2 * SIZE)]
            tasks.append(asyncio.create_task(delays(trial)))
            await first_report_in_loop(monitor)
            await eventually("server_down", lambda: monitor.diagnoses[-1].verdict)
            trial.over.set()
            await asyncio.gather(*tasks)
            return [made.verdict for made in monitor.diagnoses]

    with socket.create_server(("127.0.0.1", 0)) as listener:  # It accepts connections and never answers.
        *before, last = asyncio.run(main(listener.getsockname()[1]))

    assert "server_down" == last
    assert {"loop_blocked", "opening"} >= {*before}
