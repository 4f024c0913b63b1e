"""The output of the demo for programs: one JSON object a line, with the same functions as `terminal`.

All functions are pure: they return text and print nothing.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL

from pool_exporter import __version__
from pool_exporter.demo.output.terminal import Outcome
from pool_exporter.demo.scenes import Scene
from pool_exporter.metrics.pool_snapshot import PoolSnapshot


class Texts(Protocol):
    """What `terminal` and this module have: the texts for people, and those for programs."""

    def banner(self, address: str, database: URL, pool: PoolSnapshot, more: str = "") -> str:
        """Return what is printed first."""

    def fleet(self, pids: Sequence[int], directory: Path, sidecar: str | None) -> str:
        """Return the lines about the workers and the sidecar."""

    def pushed(self, url: str) -> str:
        """Return the line about a push by OTLP."""

    def announcement(self, scene: Scene, seconds: float) -> str:
        """Return the line at the start of a scene."""

    def skipped(self, scene: Scene, reason: str) -> str:
        """Return the line of a scene that is skipped."""

    def numbers(self, outcome: Outcome) -> str:
        """Return the lines at the end of a scene."""

    def report(self, text: str) -> str:
        """Return a report on the pool."""


def banner(address: str, database: URL, pool: PoolSnapshot, more: str = "") -> str:
    """Return the line `start`, and *more* lines."""
    found = {"version": __version__, "address": address, "database": str(database), "limit": pool.max}
    return "\n".join([_line("start", **found), *more.splitlines()])


def fleet(pids: Sequence[int], directory: Path, sidecar: str | None) -> str:
    """Return the line `workers`."""
    return _line("workers", pids=list(pids), directory=str(directory), sidecar=sidecar) + "\n"


def pushed(url: str) -> str:
    """Return the line `otlp`."""
    return _line("otlp", url=url) + "\n"


def announcement(scene: Scene, seconds: float) -> str:
    """Return the line `scene`."""
    return _line("scene", name=scene.name, what=scene.what, watch=list(scene.watch), seconds=round(seconds, 3))


def skipped(scene: Scene, reason: str) -> str:
    """Return the line `skipped`."""
    return _line("skipped", name=scene.name, reason=reason)


def numbers(outcome: Outcome) -> str:
    """Return the line `numbers`: means over the scene's time, and counts."""
    seconds = outcome.seconds
    means = {name: outcome.since(f"{name}_seconds") / seconds for name in ("used", "pending", "saturated")}
    times = {f"{name}_seconds": outcome.mean_ms(f"{name}_time") / 1000 for name in ("wait", "use")}
    counts = {name: int(outcome.since(name)) for name in ("timeouts", "leaked", "connects")}
    requests = {"requests": outcome.tally.requests, "failed": outcome.tally.failed}
    rounded = {name: round(value, 6) for name, value in {**means, **times}.items()}
    return _line("numbers", seconds=round(seconds, 3), orphaned=outcome.after.orphaned, **requests, **rounded, **counts)


def report(text: str) -> str:
    """Return the line `report`."""
    return _line("report", text=text)


def _line(event: str, **values: object) -> str:
    return json.dumps({"event": event, **values})
