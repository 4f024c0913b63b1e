"""Each scene of the demo causes the verdict that it is for, on the demo's own pool, service and server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from pool_exporter import Monitor
from pool_exporter.demo.database import Database
from pool_exporter.demo.database_settings import DatabaseSettings
from pool_exporter.demo.load import Load
from pool_exporter.demo.run import _address, _listening, expected_errors_unlogged, served
from pool_exporter.demo.scenes import SCENES, Scene, Stage
from pool_exporter.demo.service import create_app

CALM_SECONDS = 1.0
"""How long the usual load is: what comes after it is compared with it."""

SCENE_SECONDS = 1.0
LEAK_SECONDS = 3.0
"""It takes a third of the time to leak every connection."""

BY_NAME = {scene.name: scene for scene in SCENES}


@pytest_asyncio.fixture(name="played")
async def _played(tmp_path: Path) -> AsyncIterator[tuple[Monitor, Stage]]:
    """The demo's service on its server, with its pool's monitor."""
    app = create_app(Database.choose(DatabaseSettings(), tmp_path).engine())
    monitor: Monitor = app.state.monitor
    with expected_errors_unlogged(), _listening("127.0.0.1", 0) as listener:
        async with app.router.lifespan_context(app), served(app, listener), Load(_address(listener)) as load:
            yield monitor, Stage.of(load, monitor.snapshot().max, _no_restart)
    monitor.close()


async def _no_restart() -> int:
    return 0


@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up")
@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene.verdict], ids=lambda scene: scene.name)
@pytest.mark.asyncio
async def test_scene_gives_its_verdict(scene: Scene, played: tuple[Monitor, Stage]) -> None:
    """After a while of the usual load, the first report that a scene causes has the scene's verdict."""
    monitor, stage = played
    await BY_NAME["calm"].play(stage, CALM_SECONDS)
    before = monitor.diagnoses
    await scene.play(stage, LEAK_SECONDS if scene.name == "leak" else SCENE_SECONDS)
    made = monitor.diagnoses[0]

    assert ((), scene.verdict) == (before, made.verdict), f"{made}\n{made.evidence}"
