"""Fakes of what a unit test must control; each has tests in test_fakes.py.

No fake of SQLAlchemy, a driver or a server may be here: those are real in every test.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from pool_exporter.diagnosis.locate import Standing
from pool_exporter.diagnosis.survey.scene import Doing
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.state.connection import Connection, Place
from pool_exporter.state.waiters import WaitingCaller
from pool_exporter.units import Resolved, Unit
from tests.golden import FRESH

SECOND = 1_000_000_000


class FakeClock:
    """A monotonic clock in integer nanoseconds that stands still until a test moves it.

    Call it to read it, as one calls `time.monotonic_ns`; its `seconds` is called as `time.monotonic` is.
    """

    def __init__(self, now: int = 0) -> None:
        self._now = now

    def __call__(self) -> int:
        """Return the time in nanoseconds."""
        return self._now

    def seconds(self) -> float:
        """Return the time in seconds."""
        return self._now / SECOND

    def advance(self, seconds: float) -> None:
        """Move forward by *seconds*, rounded to whole nanoseconds; ValueError if that is backward."""
        self.advance_ns(round(seconds * SECOND))

    def advance_ns(self, nanoseconds: int) -> None:
        """Move forward by *nanoseconds*; ValueError if that is backward."""
        if nanoseconds < 0:
            raise ValueError(f"a monotonic clock cannot go back, got {nanoseconds} ns")
        self._now += nanoseconds


class FakeHeartbeat:
    """A heartbeat without a thread: a test calls the beat itself."""

    def __init__(self, beat: Callable[[], None]) -> None:
        """Call *beat* never."""

    def start(self) -> None:
        """Start nothing."""

    def stop(self, *, wait: bool = True) -> None:
        """Stop nothing."""


class FakeLoop:
    """An event loop that runs what was posted when a test says so."""

    def __init__(self) -> None:
        self.posted: list[Callable[[], object]] = []
        self.is_closed = False

    def is_running(self) -> bool:
        """Return that it runs."""
        return True

    def call_soon_threadsafe(self, callback: Callable[[], object]) -> None:
        """Keep the callback; RuntimeError, as asyncio raises it, if the loop is closed."""
        if self.is_closed:
            raise RuntimeError("Event loop is closed")
        self.posted.append(callback)

    def run(self) -> None:
        """Run what was posted, the oldest first."""
        while self.posted:
            self.posted.pop(0)()


class FakeMonitor:
    """A monitor that shows the snapshot and the diagnoses that a test gives it.

    Attributes:
        pool: The snapshot.
        diagnoses: The automatic diagnoses.
        asked: Set when a diagnosis was asked for.
    """

    def __init__(self, pool: PoolSnapshot = FRESH, made: Diagnosis | None = None, *automatic: Diagnosis) -> None:
        self.pool, self._made, self.diagnoses, self.asked = pool, made, automatic, threading.Event()

    def snapshot(self) -> PoolSnapshot:
        """Return the snapshot."""
        return self.pool

    def diagnose(self) -> Diagnosis:
        """Return the diagnosis that was given; LookupError without one."""
        self.asked.set()
        if self._made is None:
            raise LookupError("the test gave no diagnosis")
        return self._made


class FakeRequest:
    """A request with a route that a framework may find later; call it for the name of its unit of work."""

    def __init__(self) -> None:
        self.route = ""

    def __call__(self) -> Resolved:
        """Return the route, which is final as soon as there is one."""
        return Resolved(self.route or "GET (no route)", FakeRequest.__call__.__code__, bool(self.route))


@dataclass
class FakeScene:
    """A scene in which a test says what each owner and unit does."""

    doing: Doing = field(default_factory=Doing)
    waiter: WaitingCaller | None = None
    is_unit_waiting: bool = False
    is_young: bool = True
    of_unit: Doing | None = None
    frames: Place = ()
    may_follow: bool = True
    last_unit: object = None
    workers: list[object] | None = None

    @property
    def stacks(self) -> "FakeScene":
        """The stacks of this scene."""
        return self

    def of(self, _: object, *, with_awaited: bool) -> Standing:
        """Return the frames of the owner's thread, which never are those of a task that it awaits."""
        assert not with_awaited
        return Standing(self.doing.activity, frames=self.frames)

    def doing_of(self, _: object, *, with_awaited: bool) -> Doing:
        """Return what the owner and what it awaits do."""
        assert with_awaited
        return self.doing

    def doing_of_unit(self, _: Unit) -> Doing | None:
        """Return what the unit does."""
        return self.of_unit

    def waiter_of(self, _: object) -> WaitingCaller | None:
        """Return the waiter that the owner is."""
        return self.waiter

    def is_waiting(self, _: Unit) -> bool:
        """Return whether a waiter runs for the unit."""
        return self.is_unit_waiting

    def waiters_of(self, _: Unit) -> list[WaitingCaller]:
        """Return the waiters of the unit."""
        return [self.waiter] if self.waiter else []

    def last_unit_of(self, _: object) -> object:
        """Return the unit of the owner's youngest connection."""
        return self.last_unit

    def workers_of(self, _: Unit) -> list[object] | None:
        """Return the threads of anyio that run something for the unit."""
        return self.workers

    def is_youngest(self, _: Connection, __: object) -> bool:
        """Return whether the owner has no younger connection."""
        return self.is_young


class ContendedLock:
    """A reentrant lock that says when a second thread comes for it."""

    def __init__(self) -> None:
        self._lock, self.is_contended = threading.RLock(), threading.Event()

    def __enter__(self) -> None:
        """Take it, after another thread if one has it."""
        if not self._lock.acquire(blocking=False):
            self.is_contended.set()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self._lock.release()


class TakenLock:
    """A lock that another thread holds, and for how long its callers were ready to wait for it."""

    def __init__(self) -> None:
        self.seconds = list[float]()

    def acquire(self, *, timeout: float = -1) -> bool:
        """Return at once that it could not be taken."""
        self.seconds.append(timeout)
        return False


class HeldLock:
    """A lock that a thread holds until `release()`; it notes how it was asked for."""

    def __init__(self) -> None:
        self._lock, self.calls = threading.Lock(), list[tuple[object, ...]]()
        self._lock.acquire()

    def acquire(self, *arguments: object) -> None:
        """Wait for it, whatever the arguments are."""
        self.calls.append(arguments)
        self._lock.acquire()

    def release(self) -> None:
        """Let one caller go on."""
        self._lock.release()
