"""The scenes of the demo: what the callers do, for how long, and in which metrics one sees it. No output is here.

Everything is in proportion to the pool, so that it shows with any that the environment asks for.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pool_exporter.demo.load import Callers, Load, begin_export, browse, end_exports, forget, report

UNLIMITED_CAPACITY = 10
"""Taken for the capacity of a pool without limit, which no number of callers exhausts."""

CALLERS_MAX = 200
SHORT_REPORT_SECONDS = 0.05
SLOW_REPORT_SECONDS = 0.4

FEW_CALLERS = Callers(4, browse, pause_seconds=0.1)


@dataclass(frozen=True)
class Stage:
    """What a scene has at hand: the load, how many connections the pool gives out at once, and the server's switch."""

    load: Load
    capacity: int
    end_connections: Callable[[], Awaitable[int]]

    @classmethod
    def of(cls, load: Load, limit: int | None, end_connections: Callable[[], Awaitable[int]]) -> "Stage":
        """Return the stage for a pool with that *limit*; None is no limit."""
        return cls(load, UNLIMITED_CAPACITY if limit is None else limit, end_connections)

    def times(self, factor: int) -> int:
        """Return that many times the capacity as a number of callers."""
        return min(CALLERS_MAX, factor * self.capacity)


@dataclass(frozen=True)
class Scene:
    """One scene: its name, what happens, the metrics that show it, its part of a round, and its play, given seconds."""

    name: str
    what: str
    watch: tuple[str, ...]
    seconds: float
    play: Callable[[Stage, float], Awaitable[None]]


async def play_calm(stage: Stage, seconds: float) -> None:
    """Have fewer callers than there are connections."""
    await stage.load.run(seconds, FEW_CALLERS)


async def play_burst(stage: Stage, seconds: float) -> None:
    """Have more callers than there are connections, each for a short time."""
    await stage.load.run(seconds, Callers(stage.times(4), report(SHORT_REPORT_SECONDS)))


async def play_slow(stage: Stage, seconds: float) -> None:
    """Have as many callers as in the burst, and slow queries."""
    await stage.load.run(seconds, Callers(stage.times(4), report(SLOW_REPORT_SECONDS)))


async def play_leak(stage: Stage, seconds: float) -> None:
    """Lose connections in both ways that there are, while there are few callers."""
    await end_exports(stage.load)
    for _ in range(max(1, min(2, stage.capacity // 3))):
        await begin_export(stage.load)
    forgetful, collector = Callers(1, forget, pause_seconds=0.5), Callers(1, collect, pause_seconds=seconds / 4)
    await stage.load.run(seconds, FEW_CALLERS, forgetful, collector)
    await collect(stage.load)


async def collect(_: Load) -> None:
    """Have the garbage collector find what was lost; left alone, it may take minutes to."""
    gc.collect()


async def play_restart(stage: Stage, seconds: float) -> None:
    """End all connections twice: idle ones, which the ping before their next use finds, and used ones, which fail."""
    calls = stage.load.run(seconds, FEW_CALLERS, Callers(2, report(SHORT_REPORT_SECONDS)))
    playing = asyncio.ensure_future(calls)
    try:
        for _ in range(2):
            await asyncio.sleep(seconds / 3)
            await stage.end_connections()
        await playing
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)


async def play_recovery(stage: Stage, seconds: float) -> None:
    """Return what the leak has kept, and be calm again."""
    await end_exports(stage.load)
    await stage.load.run(seconds, FEW_CALLERS)


SCENES = (
    Scene("calm", "few callers", ("wait_time", "pending_requests"), 10, play_calm),
    Scene("burst", "more callers than connections", ("pending_requests", "wait_time", "saturated"), 12, play_burst),
    Scene("slow", "as many callers, slow queries", ("use_time", "timeouts"), 14, play_slow),
    Scene("leak", "connections are lost", ("leaked", "orphaned", "oldest_use"), 16, play_leak),
    Scene("restart", "the server ends all connections", ("invalidations", "closes", "connects"), 12, play_restart),
    Scene("recovery", "few callers, what was lost is returned", ("orphaned", "oldest_use"), 12, play_recovery),
)

RESTARTING = ("restart",)
"""The scenes that only a server can play whose connections can be ended."""
