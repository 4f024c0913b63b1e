"""The verdict on a real pool from the calm before an incident to the calm after it, with a clock that the test sets.

The callers are threads or tasks that keep their connections until they are released. All else is as in a process: each
step of the incident ends with a look of the watchdog, and all outputs are asked for their verdict.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from math import ceil
from typing import Any, Final

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from pool_exporter.hooks.pool_hooks import PoolHooks
from pool_exporter.hooks.sqlalchemy_private import limit_of
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.watchdog import watchdog as watchdog_module
from pool_exporter.runtime.watchdog.pool_examiner import PoolExaminer
from pool_exporter.runtime.watchdog.watchdog import Watchdog
from pool_exporter.state.pool_state import PoolState
from tests.fakes import SECOND, FakeClock
from tests.fixtures.deadlines import SECONDS, eventually
from tests.pools import Database

LIMIT: Final = 3
WAITING: Final = 12
"""So many callers wait all the time: each for four uses."""
STEPS: Final = 34
"""In each of them one connection is returned and granted again. With uses of 9 s they take 102 s."""
TICK: Final = 0.25
"""Seconds between two looks of the watchdog at a clock; a later one would begin anew."""
PATIENCE: Final = 1.1
"""Seconds: a shorter wait does not count."""
NAP: Final = text("SELECT nap(:number)")


class Monitor:
    """What an examiner needs of a monitor."""

    identity = PoolIdentity("orders")


class Service:
    """A pool, its callers, and the watchdog that looks at it."""

    def __init__(self, engine: Engine | AsyncEngine) -> None:
        self.engine, self.clock = engine, FakeClock(1000 * SECOND)
        self.sync_engine = engine if isinstance(engine, Engine) else engine.sync_engine
        pool: Any = self.sync_engine.pool
        self.state = PoolState(self.clock, limit_of(pool))
        self.hooks, self.monitor = PoolHooks(pool, self.state), Monitor()
        self.watchdog = Watchdog(self.clock.seconds)
        self.examiner = PoolExaminer(self.hooks, self.monitor, self.watchdog)
        self.hooks.install()
        self.examiner.install(self.hooks)
        self.held: list[Callable[[], None]] = []
        self._is_over = False
        self._released: dict[int, threading.Event] = {}
        self._numbers, self._callers = count(1), list[asyncio.Future[None]]()
        self._threads = ThreadPoolExecutor(2 * (LIMIT + WAITING))
        event.listen(self.sync_engine, "connect", self._add_function)

    def _add_function(self, connection: Any, _: object) -> None:
        if isinstance(self.engine, Engine):
            connection.create_function("nap", 1, self._nap)
        else:
            connection.run_async(lambda driver: driver.create_function("nap", 1, self._nap))

    def _nap(self, number: int) -> int:
        return int(self._released[number].wait(SECONDS))

    async def use(self, seconds: float) -> None:
        """Have a connection for so long, while no other caller comes."""
        if isinstance(self.engine, Engine):
            await self._in_thread(self._use, self.engine, seconds)
        else:
            async with self.engine.connect():
                self.clock.advance(seconds)

    def _use(self, engine: Engine, seconds: float) -> None:
        with engine.connect():
            self.clock.advance(seconds)

    def come(self, kind: str) -> None:
        """Have one caller more come, which keeps its connection in this *kind* of work until it is released."""
        if isinstance(self.engine, Engine):
            self._callers.append(self._in_thread(self._call, self.engine, kind))
        else:
            self._callers.append(asyncio.ensure_future(self._call_in_loop(self.engine, kind)))

    def _in_thread(self, work: Callable[..., None], *arguments: object) -> asyncio.Future[None]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _call(self, engine: Engine, kind: str) -> None:
        with engine.connect() as connection:
            number, released = next(self._numbers), threading.Event()
            self._released[number] = released
            self._hold(released.set)
            self._execute(connection, number) if kind == "database" else self._call_partner(released)

    def _execute(self, connection: Connection, number: int) -> None:
        connection.execute(NAP, {"number": number})

    def _call_partner(self, released: threading.Event) -> None:
        released.wait(SECONDS)

    async def _call_in_loop(self, engine: AsyncEngine, kind: str) -> None:
        async with engine.connect() as connection:
            number, released, in_loop = next(self._numbers), threading.Event(), asyncio.Event()
            self._released[number] = released
            self._hold(released.set if kind == "database" else in_loop.set)
            if kind == "database":
                await connection.execute(NAP, {"number": number})
            else:
                await in_loop.wait()

    def _hold(self, release: Callable[[], None]) -> None:
        self.held.append(release)
        if self._is_over:
            release()

    async def settle(self, held: int, waiting: int) -> None:
        """Wait until the callers have done what they can."""
        await eventually((held, waiting, held), lambda: (len(self.held), len(self.state.waiting), self.state.used))

    async def pass_time(self, seconds: float) -> None:
        """Let the watchdog look while so much time passes."""
        ticks = ceil(seconds / TICK)
        for _ in range(ticks):
            self.clock.advance(seconds / ticks)
            self.watchdog.tick()
            await asyncio.sleep(0)  # The loop runs what the watchdog has posted to it.

    def verdicts(self) -> list[str]:
        """Return the verdict of now, which page and `top` show, and that of the log and the counter."""
        return [made.verdict for made in (self.examiner.diagnose(), *self.examiner.kept[-1:])]

    async def end(self) -> None:
        """Let all callers return their connections, those that get one from now on as well."""
        self._is_over = True
        for release in [*self.held]:
            release()
        await asyncio.gather(*self._callers)
        self._threads.shutdown()


@dataclass(frozen=True)
class Case:
    """An incident.

    Attributes:
        calm: How long uses take before it, in seconds.
        use: How long they take in it.
        kind: What the holders do.
        expected: The verdict.
        is_reported: Whether callers wait for long enough for a report.
    """

    calm: float
    use: float
    kind: str
    expected: str
    is_reported: bool = True


CASES: Final = [
    pytest.param(Case(0.005, 9.0, "own code", "held_in_own_code"), id="calls of another service"),
    pytest.param(Case(9.0, 9.0, "own code", "held_in_own_code"), id="usual calls of another service"),
    pytest.param(Case(0.005, 9.0, "database", "slow_queries"), id="slow queries"),
    pytest.param(Case(0.3, 0.3, "database", "burst", is_reported=False), id="burst of queries"),
    pytest.param(Case(0.3, 0.3, "own code", "burst", is_reported=False), id="burst of short uses"),
]
"""The first two and the third became `burst` and then `too_small` where an incident was learned as usual."""


@asynccontextmanager
async def played(engine: Engine | AsyncEngine) -> AsyncIterator[Service]:
    """Make the service; at the end let its callers end, and remove its hooks."""
    service = Service(engine)
    try:
        yield service
    finally:
        await service.end()
        service.hooks.remove()
        await engine.dispose() if isinstance(engine, AsyncEngine) else engine.dispose()


@pytest.fixture(autouse=True)
def _without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog_module, "start_thread", lambda _: None)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_one_verdict_for_the_whole_incident(kind: str, case: Case) -> None:
    """From its first second to its last all outputs have one verdict; then it is quoted, and then forgotten."""
    options: dict[str, Any] = {"pool_size": LIMIT, "max_overflow": 0, "pool_timeout": 30.0}

    async def play() -> dict[str, set[str]]:
        engine = Database().async_engine(**options) if kind == "tasks" else Database().engine(**options)
        async with played(engine) as service:
            return await incident(service, case)

    found = asyncio.run(play())
    after = case.expected if case.is_reported else "healthy"

    assert {"calm": {"healthy"}, "incident": {case.expected}, "end": {after}, "later": {"healthy"}} == found


async def incident(service: Service, case: Case) -> dict[str, set[str]]:
    """Play the calm, the incident and its end; return the verdicts of each part."""
    found = defaultdict[str, set[str]](set)
    for _ in range(8):
        await service.use(case.calm)
        await service.pass_time(3)
        found["calm"].update(service.verdicts())
    for _ in range(LIMIT + WAITING):
        service.come(case.kind)
    await service.settle(LIMIT, WAITING)
    onset = service.clock.seconds()
    for _ in range(STEPS):
        await service.pass_time(case.use / LIMIT)
        if service.clock.seconds() - onset > PATIENCE:
            found["incident"].update(service.verdicts())
        service.held.pop(0)()
        service.come(case.kind)
        await service.settle(LIMIT, WAITING)
    await service.end()
    for seconds in (1, 10, 9):
        await service.pass_time(seconds)
        found["end"].update(service.verdicts())
    await service.pass_time(60)
    found["later"] = {service.examiner.diagnose().verdict}
    return found
