"""What a report on a pool with 100 holders costs, and for how long it keeps the application from running.

The holders are threads, or tasks of which each waits for two others; ten more callers wait. A report is made as the
watchdog makes it, from another thread, and as a caller makes it that times out. At rest, the watchdog's thread must not
wake up at all. Nothing here may measure a checkout.
"""

import asyncio
import gc
import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import create_engine
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool
from typing_extensions import override

from pool_exporter import instrument, unit
from pool_exporter.runtime.watchdog.watchdog import NAME, watchdog
from tests.bench.pools import database
from tests.bench.worker import Job
from tests.fixtures.deadlines import until
from tests.pools import Database, measured

HOLDERS: Final = 100
WAITERS: Final = 10
CALLER_TIMEOUT_SECONDS: Final = 0.01
"""The timeout of a caller that makes the report: shorter than the watchdog's tick, so that it finds none."""
REST_SECONDS: Final = 2
_WAITER_TIMEOUT_SECONDS: Final = 3_600
_TRIES: Final = 50
_SWITCH_SECONDS: Final = 1e-4
"""How long a thread keeps the interpreter from one that waits for it, while pauses are measured."""

_PAUSES: Final = 10
"""How many pauses a round is the least of: the kernel's scheduler makes one in two longer, by up to a tick of 4 ms."""

Clock = Callable[[], int]


def jobs(owners: str) -> dict[str, Job]:
    """Return what a report takes, in nanoseconds, by *owners*, "threads" or "tasks"; or what the watchdog does at rest.

    The jobs `pause` return the longest time for which another thread could not go on.
    """
    logging.getLogger("pool_exporter").addHandler(logging.StreamHandler(io.StringIO()))  # It formats, as a real one.
    if owners == "rest":
        return {"wake_ups": _rest()}
    held = {"threads": _Threads, "tasks": _Tasks}[owners]()
    until((HOLDERS, WAITERS), held.numbers)
    gc.collect()
    gc.freeze()
    return {
        "cpu": lambda _: _took(time.thread_time_ns, held.report),
        "wall": lambda _: _took(time.perf_counter_ns, held.report),
        "caller_cpu": lambda _: held.timed_out(time.thread_time_ns),
        "caller_wall": lambda _: held.timed_out(time.perf_counter_ns) - CALLER_TIMEOUT_SECONDS * 1e9,
        "copy": lambda _: _took(time.perf_counter_ns, held.monitor._state.live_connections),
        "pause": lambda _: min(_pause(held.report) for _ in range(_PAUSES)),
        "pause_beside_a_count": lambda _: min(_pause(_count) for _ in range(_PAUSES)),
    }


class _Held:
    """A pool of which every place is taken, and callers that wait."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.monitor = engine, measured(instrument(engine, name="held"))

    def numbers(self) -> tuple[int, int]:
        """Return how many connections are used, and how many callers wait."""
        found = self.monitor.snapshot()
        return found.used, found.pending

    def report(self) -> str:
        """Make a report, and its text."""
        return str(self.monitor.diagnose())

    def timed_out(self, clock: Clock) -> int:
        """Return the time of a caller that times out and makes the report; the one of before is forgotten.

        Raises:
            RuntimeError: On a busy machine, the watchdog has made the report each time.
        """
        pool: QueuePool = self.engine.pool
        for _ in range(_TRIES):
            self.monitor._examiner.restart_after_fork()
            pool._timeout = CALLER_TIMEOUT_SECONDS
            took = self.time_out(clock)
            pool._timeout = _WAITER_TIMEOUT_SECONDS
            if any(report.evidence.at_timeout for report in self.monitor.diagnoses):
                return took
        raise RuntimeError("no caller has made the report itself")

    def time_out(self, clock: Clock) -> int:
        """Return the time of a call that times out."""
        raise NotImplementedError


class _Threads(_Held):
    def __init__(self) -> None:
        super().__init__(create_engine("sqlite://", poolclass=QueuePool, creator=database, **_sizes()))
        for number in range(HOLDERS):
            _start(self._hold, number)
        until((HOLDERS, 0), self.numbers)
        for _ in range(WAITERS):
            _start(self.engine.connect)

    def _hold(self, number: int) -> None:
        with unit(f"job {number % 10}"), self.engine.connect():
            threading.Event().wait()

    @override
    def time_out(self, clock: Clock) -> int:
        start = clock()
        with suppress(PoolTimeout):
            self.engine.connect()
        return clock() - start


class _Tasks(_Held):
    def __init__(self) -> None:
        connect = Database().connect_async
        super().__init__(
            create_async_engine(
                "sqlite+aiosqlite://", poolclass=AsyncAdaptedQueuePool, async_creator=connect, **_sizes()
            )
        )
        self._loop = asyncio.new_event_loop()
        _start(self._loop.run_forever)
        self._tasks = [self._run(self._hold(number)) for number in range(HOLDERS)]
        until((HOLDERS, 0), self.numbers)
        self._tasks += [self._run(self._wait()) for _ in range(WAITERS)]

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _hold(self, number: int) -> None:
        with unit(f"job {number % 10}"):
            async with self.engine.connect():
                await asyncio.gather(asyncio.Event().wait(), asyncio.Event().wait())

    async def _wait(self) -> None:
        async with self.engine.connect():
            pass

    @override
    def time_out(self, clock: Clock) -> int:
        async def call() -> int:
            start = clock()
            with suppress(PoolTimeout):
                await self._wait()
            return clock() - start

        found: int = self._run(call()).result()
        return found


def _sizes() -> dict[str, Any]:
    return {"pool_size": HOLDERS, "max_overflow": 0, "pool_timeout": _WAITER_TIMEOUT_SECONDS}


def _start(run: Callable[..., object], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=run, args=arguments, daemon=True)
    thread.start()
    return thread


def _took(clock: Clock, run: Callable[[], object]) -> int:
    start = clock()
    run()
    return clock() - start


def _pause(run: Callable[[], object]) -> int:
    """Return the longest time between two looks at the clock, in nanoseconds, while another thread does *run*."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    thread, longest, last = _start(run), 0, time.perf_counter_ns()
    while thread.is_alive():
        now = time.perf_counter_ns()
        longest, last = max(longest, now - last), now
    sys.setswitchinterval(interval)
    return longest


def _count() -> None:
    """Take about as long as a report, and never keep the interpreter."""
    for _ in range(200_000):
        pass


def _rest() -> Job:
    """Let a caller wait, so that the watchdog's thread runs; return the job that counts how often it wakes up after."""
    engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.2)
    instrument(engine)
    with engine.connect(), suppress(PoolTimeout):
        engine.connect()
    found = next(thread for thread in threading.enumerate() if thread.name == NAME)
    until(False, lambda: watchdog._is_awake)
    status = Path(f"/proc/self/task/{found.native_id}/status")

    def wake_ups(_: int) -> int:
        before = _switches(status)
        time.sleep(REST_SECONDS)
        return _switches(status) - before

    return wake_ups


def _switches(status: Path) -> int:
    """Return how often a thread has given up the processor because it had nothing to do."""
    return int(status.read_text().partition("\nvoluntary_ctxt_switches:")[2].split()[0])
