"""The scenes of the demo: what the clients do, for how long, and which metrics show it. This module prints nothing.

The number of clients is in proportion to the pool's limit, so that a scene has its effect on a pool of any size.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pool_exporter.demo.load import (
    Clients,
    Load,
    begin_export,
    browse,
    end_exports,
    leak_connection,
    make_invoice,
    pay,
    refund,
    report,
)

UNLIMITED_CAPACITY = 10
"""Used as the capacity of a pool without a limit, which no number of clients exhausts."""

CLIENTS_MAX = 200
RESTARTS = 4
SHORT_REPORT_SECONDS = 0.1
SLOW_REPORT_SECONDS = 0.8

FEW_CLIENTS = (
    Clients(2, browse, pause_seconds=0.2),
    Clients(3, report(SHORT_REPORT_SECONDS), pause_seconds=0.1),
)
"""Fewer than the demo's pool has connections. Most of their time is that of the same request as in the burst."""


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
        verdict: The verdict of the reports that it causes; empty if it causes none.
        watch: The metrics that show it, without their prefix.
        seconds: Its share of a round, and its duration if the round has none.
        play: Plays it for a number of seconds.
    """

    name: str
    what: str
    verdict: str
    watch: tuple[str, ...]
    seconds: float
    play: Callable[[Stage, float], Awaitable[None]]


async def play_calm(stage: Stage, seconds: float) -> None:
    """Run fewer clients than there are connections."""
    await stage.load.run(seconds, *FEW_CLIENTS)


async def play_burst(stage: Stage, seconds: float) -> None:
    """Run many more clients than there are connections, with the same short queries as before."""
    await stage.load.run(seconds, Clients(stage.times(7), report(SHORT_REPORT_SECONDS)))


async def play_slow(stage: Stage, seconds: float) -> None:
    """Run more clients than there are connections, with slow queries."""
    await stage.load.run(seconds, Clients(stage.times(4), report(SLOW_REPORT_SECONDS)))


async def play_external(stage: Stage, seconds: float) -> None:
    """Run clients with requests that call another service while they hold a connection."""
    await stage.load.run(seconds, Clients(stage.times(4), pay))


async def play_nested(stage: Stage, seconds: float) -> None:
    """Run clients with requests that need a second connection while they hold one."""
    await stage.load.run(seconds, Clients(stage.times(4), refund))


async def play_blocked(stage: Stage, seconds: float) -> None:
    """Run short queries, and one client with requests that block the event loop."""
    queries, invoices = Clients(stage.times(4), report(SHORT_REPORT_SECONDS)), Clients(1, make_invoice, 0.1)
    await stage.load.run(seconds, queries, invoices)


async def play_leak(stage: Stage, seconds: float) -> None:
    """Leak connections by both bugs of the service, until none is left; in the end return all but a few."""
    await end_exports(stage.load)
    exporting = Clients(1, begin_export, seconds / (3 * stage.capacity))
    leaking, collecting = Clients(1, leak_connection, 0.5), Clients(1, collect, pause_seconds=seconds / 4)
    await stage.load.run(seconds, *FEW_CLIENTS, exporting, leaking, collecting)
    await end_exports(stage.load, kept=max(1, min(2, stage.capacity // 3)))
    await collect(stage.load)


async def collect(_: Load) -> None:
    """Run the garbage collector, which by itself may take minutes to find a leaked connection."""
    gc.collect()


async def play_restart(stage: Stage, seconds: float) -> None:
    """End all connections at the server again and again: pre-ping replaces the idle ones, and the used ones fail."""
    calls = stage.load.run(seconds, *FEW_CLIENTS, Clients(2, report(SHORT_REPORT_SECONDS)))
    playing = asyncio.ensure_future(calls)
    try:
        for _ in range(RESTARTS):
            await asyncio.sleep(seconds / (RESTARTS + 1))
            await stage.end_connections()
        await playing
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)


async def play_recovery(stage: Stage, seconds: float) -> None:
    """End the exports, which returns their connections, and run few clients."""
    await end_exports(stage.load)
    await stage.load.run(seconds, *FEW_CLIENTS)


SCENES = (
    Scene("calm", "few clients", "", ("wait_time", "pending_requests"), 6, play_calm),
    Scene("burst", "many more clients", "burst", ("pending_requests", "wait_time", "saturated"), 8, play_burst),
    Scene("slow", "slow queries", "slow_queries", ("use_time", "timeouts"), 8, play_slow),
    Scene("external", "a call while holding", "held_in_own_code", ("use_time", "unit_connections"), 8, play_external),
    Scene("nested", "a session in a session", "self_deadlock", ("nested_acquires", "timeouts"), 8, play_nested),
    Scene("blocked", "a blocked event loop", "loop_blocked", ("pending_requests", "wait_time"), 8, play_blocked),
    Scene("leak", "connections are leaked", "leak", ("leaked", "orphaned", "oldest_use"), 14, play_leak),
    Scene("restart", "the server ends all connections", "", ("invalidations", "closes", "connects"), 10, play_restart),
    Scene("recovery", "the exports' connections are returned", "", ("orphaned", "oldest_use"), 8, play_recovery),
)

RESTARTING = ("restart",)
"""The scenes that need a server on which the demo can end connections."""
