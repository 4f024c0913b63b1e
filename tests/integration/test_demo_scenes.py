"""Each scene of the demo causes the verdict that it is for, on the demo's own pool, service and server."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pool_exporter import Monitor
from pool_exporter.advice.observation import of_snapshot
from pool_exporter.advice.sizing import advise
from pool_exporter.demo.database import Database
from pool_exporter.demo.database_settings import DatabaseSettings
from pool_exporter.demo.load import Load
from pool_exporter.demo.run import _address, _listening, expected_errors_unlogged, served
from pool_exporter.demo.scenes import SCENES, Scene, Stage
from pool_exporter.demo.service import create_app
from pool_exporter.diagnosis.values import Diagnosis
from tests.pools import measured

CALM_SECONDS = 1.0
"""How long the usual load is: what comes after it is compared with it."""

SCENE_SECONDS = 1.0
LEAK_SECONDS = 3.0
"""It takes a third of the time to leak every connection."""

BY_NAME = {scene.name: scene for scene in SCENES}


ATTEMPTS = 3
"""A machine that is busy with something else slows a scene's queries down, and one verdict is that they are slow."""


@asynccontextmanager
async def service(directory: Path, settings: DatabaseSettings | None = None) -> AsyncIterator[tuple[Monitor, Stage]]:
    """Run the demo's service on its server; yield its pool's monitor, and what scenes work with."""
    app = create_app(Database.choose(settings or DatabaseSettings(), directory).engine())
    monitor: Monitor = app.state.monitor
    with expected_errors_unlogged(), _listening("127.0.0.1", 0) as listener:
        async with app.router.lifespan_context(app), served(app, listener), Load(_address(listener)) as load:
            yield monitor, Stage.of(load, monitor.snapshot().max, _no_restart)
    monitor.close()


async def _no_restart() -> int:
    return 0


async def reports(scene: Scene, directory: Path) -> tuple[Diagnosis, ...]:
    """Return the reports that are made by themselves while the usual load and then the scene is played."""
    directory.mkdir()  # noqa: ASYNC240  # one call, in a test
    async with service(directory) as (monitor, stage):
        await BY_NAME["calm"].play(stage, CALM_SECONDS)
        await scene.play(stage, LEAK_SECONDS if scene.name == "leak" else SCENE_SECONDS)
        return monitor.diagnoses


@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up")
@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene.verdict], ids=lambda scene: scene.name)
@pytest.mark.asyncio
async def test_scene_gives_its_verdict(scene: Scene, tmp_path: Path) -> None:
    """After a while of the usual load, the first report has the verdict of the scene."""
    found: list[Diagnosis] = []
    for attempt in range(ATTEMPTS):
        found += (await reports(scene, tmp_path / str(attempt)))[:1]
        if [scene.verdict] == [made.verdict for made in found[-1:]]:
            break

    assert [scene.verdict] == [made.verdict for made in found[-1:]], "\n".join(map(str, found))


@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up")
@pytest.mark.asyncio
async def test_a_leaking_pool_is_not_to_grow(tmp_path: Path) -> None:
    """In the leak scene the advice keeps the size, because a larger pool would be filled as well."""
    async with service(tmp_path) as (monitor, stage):
        before, started = of_snapshot(measured(monitor).snapshot()), time.monotonic()
        await BY_NAME["leak"].play(stage, LEAK_SECONDS)
        after = of_snapshot(measured(monitor).snapshot())
        advice = advise(after.load_since(before, time.monotonic() - started))

    assert stage.capacity == advice.size == advice.recommended
    assert advice.binding in ("not_by_size", "held")
