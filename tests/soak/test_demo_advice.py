"""Following the advice for the demo's burst ends it: the same clients on a pool of the advised size do not wait."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pool_exporter import Monitor
from pool_exporter.advice.load import Load
from pool_exporter.advice.observation import Observation, of_snapshot
from pool_exporter.advice.sizing import advise
from pool_exporter.demo import scenes
from pool_exporter.demo.database_settings import DatabaseSettings
from pool_exporter.demo.scenes import Stage
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from tests.integration.test_demo_scenes import BY_NAME, CALM_SECONDS, service
from tests.pools import measured

WARM_UP_SECONDS = 2.0
BURST_SECONDS = 10.0
STEPS_MAX = 3
REPORT_SECONDS = 0.5
"""Longer than in the demo, so that it is the database that takes the time, and not a busy machine."""

PATIENT_SECONDS = 30.0


@dataclass(frozen=True)
class Played:
    """The burst as it was played: its load, and the pool afterwards."""

    load: Load
    pool: PoolSnapshot
    capacity: int


async def burst(directory: Path, settings: DatabaseSettings, capacity: int | None = None) -> Played:
    """Play calm, then the burst; what it needs to begin is not measured.

    Args:
        directory: For the database.
        settings: Those of the pool.
        capacity: The limit of the pool for which there are that many clients; by default its own.
    """
    directory.mkdir()  # noqa: ASYNC240  # one call, in a test
    async with service(directory, settings) as (monitor, own):
        stage = own if capacity is None else replace(own, capacity=capacity)
        await BY_NAME["calm"].play(stage, CALM_SECONDS)
        load = await _measured_burst(monitor, stage)
        return Played(load, measured(monitor).snapshot(), stage.capacity)


async def _measured_burst(monitor: Monitor, stage: Stage) -> Load:
    looks: list[tuple[float, Observation]] = []

    async def look() -> int:
        looks.append((time.monotonic(), of_snapshot(measured(monitor).snapshot())))
        return 0

    await BY_NAME["burst"].play(stage, WARM_UP_SECONDS)
    await look()
    await BY_NAME["burst"].play(stage, BURST_SECONDS)
    await look()
    (started, before), (ended, after) = looks
    return after.load_since(before, ended - started)


def waiting(load: Load) -> float:
    """Return how many callers waited on average."""
    return load.grown.pending_seconds / load.seconds


@pytest.fixture(autouse=True)
def _longer_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "SHORT_REPORT_SECONDS", REPORT_SECONDS)


@pytest.mark.asyncio
async def test_the_advised_size_ends_the_burst(tmp_path: Path) -> None:
    """With the demo's pool most clients wait; with the advised size there is a connection for each.

    On a machine that is busy with something else the clients come more slowly, and more of them once it is not: then
    the advice is followed again, as it says.
    """
    before = await burst(tmp_path / "before", DatabaseSettings(pool_timeout=PATIENT_SECONDS))
    played = before
    for step in range(STEPS_MAX):
        settings = DatabaseSettings(
            pool_size=advise(played.load).recommended, max_overflow=0, pool_timeout=PATIENT_SECONDS
        )
        played = await burst(tmp_path / f"after-{step}", settings, before.capacity)
        if waiting(played.load) < waiting(before.load) / 20:
            break

    assert waiting(before.load) > before.capacity, "the burst has far more clients than connections"
    assert 0 == pytest.approx(waiting(played.load), abs=waiting(before.load) / 20)
    assert 0 == played.pool.timeouts
    assert 0 == played.load.grown.verdicts["burst"]
