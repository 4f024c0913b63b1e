"""Plays the scenes, once or again and again, and prints the numbers of each.

Nothing here may know what a scene does, or the format of what is printed.
"""

import asyncio
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import repeat
from typing import Protocol

from pool_exporter import Monitor
from pool_exporter.demo.database import Database
from pool_exporter.demo.load import Tally
from pool_exporter.demo.output import terminal
from pool_exporter.demo.output.json_lines import Texts
from pool_exporter.demo.report_printer import asked_for
from pool_exporter.demo.scenes import RESTARTING, SCENES, Scene, Stage
from pool_exporter.errors import Problem, SettingsError
from pool_exporter.metrics.pool_snapshot import PoolSnapshot


class SnapshotSource(Protocol):
    """Takes snapshots of the pool: the monitor of this process, or the fleet for all workers."""

    def snapshot(self) -> PoolSnapshot:
        """Return a snapshot of the pool."""


@dataclass(frozen=True)
class Rounds:
    """The scenes to play.

    Attributes:
        scenes: The scenes of a round.
        duration_seconds: How long one round takes; None plays rounds without end.
        skipped: The scenes that cannot be played, by name, with the reason.
    """

    scenes: tuple[Scene, ...]
    duration_seconds: float | None
    skipped: dict[str, str]

    @classmethod
    def of(cls, name: str | None, duration_seconds: float | None, database: Database) -> "Rounds":
        """Return rounds of all scenes, or of the one that is named.

        Raises:
            SettingsError: The named scene cannot be played with this database.
        """
        scenes = tuple(scene for scene in SCENES if name in {None, scene.name})
        skipped = {} if database.can_restart else dict.fromkeys(RESTARTING, _NO_RESTART)
        if name in skipped:
            raise SettingsError(Problem("--scene", name, skipped[name]))
        return cls(scenes, duration_seconds, skipped)

    async def play(
        self, stage: Stage, source: SnapshotSource, monitor: Monitor | None = None, texts: Texts = terminal
    ) -> None:
        """Play the scenes. Each ends at its time in the round, even if the one before has taken too long.

        Args:
            stage: What the scenes work with.
            source: Takes snapshots of the pool.
            monitor: The pool's monitor if it is in this process: then each scene's report is printed.
            texts: Returns what is printed.
        """
        now = asyncio.get_running_loop().time
        end = now()
        for scene in self._sequence():
            if scene.name in self.skipped:
                say(texts.skipped(scene, self.skipped[scene.name]))
                continue
            seconds = scene.seconds * self._scale()
            end += seconds
            say(texts.announcement(scene, seconds))
            try:
                with nullcontext() if monitor is None else asked_for(monitor, lambda text: say(texts.report(text))):
                    outcome = await _play(scene, stage, max(0.0, end - now()), source)
            except ConnectionError as error:
                say(texts.skipped(scene, str(error)))
            else:
                say(texts.numbers(outcome))

    def _sequence(self) -> Iterator[Scene]:
        rounds = repeat(self.scenes) if self.duration_seconds is None else [self.scenes]
        return (scene for scenes in rounds for scene in scenes)

    def _scale(self) -> float:
        if self.duration_seconds is None:
            return 1.0
        return self.duration_seconds / sum(scene.seconds for scene in self.scenes if scene.name not in self.skipped)


_NO_RESTART = "needs PostgreSQL, where the demo can end connections; set DATABASE_URL"


async def _play(scene: Scene, stage: Stage, seconds: float, source: SnapshotSource) -> terminal.Outcome:
    now = asyncio.get_running_loop().time
    tally = stage.load.tally = Tally()
    before, begun = source.snapshot(), now()
    await scene.play(stage, seconds)
    return terminal.Outcome(before, source.snapshot(), tally, now() - begun)


def say(text: str) -> None:
    """Print a text at once."""
    print(text, flush=True)
