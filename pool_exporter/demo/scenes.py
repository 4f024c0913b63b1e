"""The scenes of the demo: what the clients do, for how long, and which metrics show it. This module prints nothing.

The number of clients is in proportion to the pool's limit, so that a scene has its effect on a pool of any size.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pool_exporter.demo.load import Clients, Load, begin_export, browse, end_exports, leak_connection, report

UNLIMITED_CAPACITY = 10
"""Used as the capacity of a pool without a limit, which no number of clients exhausts."""

CLIENTS_MAX = 200
SHORT_REPORT_SECONDS = 0.05
SLOW_REPORT_SECONDS = 0.4

FEW_CLIENTS = Clients(4, browse, pause_seconds=0.1)


@dataclass(frozen=True)
class Stage:
    """What a scene works with.

    Attributes:
        load: Calls the service.
        capacity: The limit of the pool.
        end_connections: Ends the service's connections at the server; returns how many there were.
    """

    load: Load
    capacity: int
    end_connections: Callable[[], Awaitable[int]]

    @classmethod
    def of(cls, load: Load, limit: int | None, end_connections: Callable[[], Awaitable[int]]) -> "Stage":
        """Return the stage for a pool with a *limit*, or without one (None)."""
        return cls(load, UNLIMITED_CAPACITY if limit is None else limit, end_connections)

    def times(self, factor: int) -> int:
        """Return a number of clients: *factor* times the capacity, at most CLIENTS_MAX."""
        return min(CLIENTS_MAX, factor * self.capacity)


@dataclass(frozen=True)
class Scene:
    """One scene.

    Attributes:
        name: The value of `--scene`.
        what: What happens, for the terminal.
        watch: The metrics that show it, without their prefix.
        seconds: Its share of a round, and its duration if the round has none.
        play: Plays it for a number of seconds.
    """

    name: str
    what: str
    watch: tuple[str, ...]
    seconds: float
    play: Callable[[Stage, float], Awaitable[None]]


async def play_calm(stage: Stage, seconds: float) -> None:
    """Run fewer clients than there are connections."""
    await stage.load.run(seconds, FEW_CLIENTS)


async def play_burst(stage: Stage, seconds: float) -> None:
    """Run more clients than there are connections, with short queries."""
    await stage.load.run(seconds, Clients(stage.times(4), report(SHORT_REPORT_SECONDS)))


async def play_slow(stage: Stage, seconds: float) -> None:
    """Run as many clients as in the burst, with slow queries."""
    await stage.load.run(seconds, Clients(stage.times(4), report(SLOW_REPORT_SECONDS)))


async def play_leak(stage: Stage, seconds: float) -> None:
    """Leak connections by both bugs of the service, while there are few clients."""
    await end_exports(stage.load)
    for _ in range(max(1, min(2, stage.capacity // 3))):
        await begin_export(stage.load)
    leaking, collecting = Clients(1, leak_connection, 0.5), Clients(1, collect, pause_seconds=seconds / 4)
    await stage.load.run(seconds, FEW_CLIENTS, leaking, collecting)
    await collect(stage.load)


async def collect(_: Load) -> None:
    """Run the garbage collector, which by itself may take minutes to find a leaked connection."""
    gc.collect()


async def play_restart(stage: Stage, seconds: float) -> None:
    """End all connections at the server, twice: pre-ping replaces the idle ones, and the used ones fail."""
    calls = stage.load.run(seconds, FEW_CLIENTS, Clients(2, report(SHORT_REPORT_SECONDS)))
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
    """End the exports, which returns their connections, and run few clients."""
    await end_exports(stage.load)
    await stage.load.run(seconds, FEW_CLIENTS)


SCENES = (
    Scene("calm", "few clients", ("wait_time", "pending_requests"), 10, play_calm),
    Scene("burst", "more clients than connections", ("pending_requests", "wait_time", "saturated"), 12, play_burst),
    Scene("slow", "as many clients, slow queries", ("use_time", "timeouts"), 14, play_slow),
    Scene("leak", "connections are leaked", ("leaked", "orphaned", "oldest_use"), 16, play_leak),
    Scene("restart", "the server ends all connections", ("invalidations", "closes", "connects"), 12, play_restart),
    Scene(
        "recovery", "few clients, the exports' connections are returned", ("orphaned", "oldest_use"), 12, play_recovery
    ),
)

RESTARTING = ("restart",)
"""The scenes that need a server on which the demo can end connections."""
