"""A pool of asyncio that has no connection open yet while its event loop is blocked."""

import asyncio
from pathlib import Path

import pytest

import pool_exporter
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.runtime.watchdog.pool_reports import PoolReports
from tests.integration.diagnosis.async_incidents import returns
from tests.integration.diagnosis.trial import SIZE, Trial, async_engine


def block(trial: Trial) -> None:
    """Block the thread of the event loop until the trial is over."""
    trial.hang()


async def blocks(trial: Trial) -> None:
    """Block it in a task that uses no connection."""
    block(trial)


@pytest.fixture(name="_over_at_report")
def _over_at_report(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the trial be over as soon as the watchdog has made a report."""
    publish = PoolReports._publish

    def publish_and_end(reports: PoolReports, made: Diagnosis) -> None:
        publish(reports, made)
        trial.over.set()

    monkeypatch.setattr(PoolReports, "_publish", publish_and_end)


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
