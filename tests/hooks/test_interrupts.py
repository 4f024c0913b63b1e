"""Wherever a signal handler raises inside the hooks, no caller stays pending, no use goes on, no leak is counted.

A trace function raises at the points at which CPython lets a signal handler run, one point for each run.
"""

import dis
import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

import pool_exporter
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.hook_errors import errors
from pool_exporter.hooks.pool_hooks import PoolHooks
from pool_exporter.hooks.sqlalchemy_private import limit_of
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.runtime.watchdog.deferred_log import DeferredLog
from pool_exporter.runtime.watchdog.outputs import publish
from pool_exporter.state.decode import decode
from pool_exporter.state.layout import EXHAUSTION_AT, PENDING_SLOTS, TRACKED_MAX
from pool_exporter.state.locked_pool_state import LockedPoolState
from pool_exporter.state.pool_state import PoolState
from tests.pools import Database

PACKAGE = Path(pool_exporter.__file__).parent
IS_3_10 = sys.version_info < (3, 11)

KINDS = [LockedPoolState] if IS_3_10 else [PoolState, LockedPoolState]
"""The state machines of this interpreter. The locked one is for 3.10, where more points let a signal handler run."""

ENTRIES = {"hook_errors.py", "lifecycle_patches.py"}
"""An interrupt as one of their functions begins comes before the hook, as it may come before SQLAlchemy's method."""


NO_POINTS = {"PRECALL", "CALL_INTRINSIC_1", "CALL_INTRINSIC_2", "JUMP_BACKWARD_NO_INTERRUPT"}
"""Opcodes after which CPython runs no signal handler, other than their names suggest."""


class Interrupt(Exception):
    """What the signal handler raises."""


class Abort(BaseException):
    """What it raises as Ctrl-C does."""


@dataclass
class Handler:
    """A trace function that raises *kind* at the point number *at* of the package, in files other than *excluded*."""

    at: int
    kind: type[BaseException]
    has_points_of_3_10: bool
    excluded: frozenset[str] = frozenset()
    passed: int = 0
    last: dict[int, tuple[str, int]] = field(default_factory=dict)
    called: set[int] = field(default_factory=set)

    @property
    def has_raised(self) -> bool:
        """Whether there was such a point."""
        return self.passed == self.at

    def __call__(self, frame: FrameType, event: str, _: Any) -> "Handler | None":
        """Follow the package's frames, opcode by opcode."""
        path = Path(frame.f_code.co_filename)
        if event == "call" and (not path.is_relative_to(PACKAGE) or path.name in self.excluded):
            return None
        if event == "call":
            frame.f_trace_opcodes = True
            self.last[id(frame)] = "RESUME", -2
        elif event == "exception":  # It unwinds, and no signal handler runs before the code that catches it.
            self.last.pop(id(frame), None)
        elif event == "return" and frame.f_back is not None:
            self.called.add(id(frame.f_back))
        elif event == "opcode":
            self._step(frame)
        return self

    def _step(self, frame: FrameType) -> None:
        before, now = self.last.get(id(frame)), (dis.opname[frame.f_code.co_code[frame.f_lasti]], frame.f_lasti)
        self.last[id(frame)] = now
        is_python = id(frame) in self.called
        self.called.discard(id(frame))
        if before is not None and self._is_point(*before, now[1], is_python=is_python):
            self.passed += 1
            if self.passed == self.at:
                sys.settrace(None)
                raise self.kind

    def _is_point(self, name: str, at: int, now: int, *, is_python: bool) -> bool:
        """Return whether a signal handler may run after the opcode *name*; a call of a Python function runs inline."""
        if name in NO_POINTS:
            return False
        if "CALL" in name:
            return self.has_points_of_3_10 or not is_python
        is_jump = name == "JUMP_ABSOLUTE" or (name.startswith("POP_JUMP") and now != at + 2)
        return name == "RESUME" or "JUMP_BACKWARD" in name or (self.has_points_of_3_10 and is_jump)


class Side:
    """A pool of one place that is used without an interrupt until *act*, and its numbers afterwards."""

    def __init__(self, kind: type[PoolState], **options: Any) -> None:
        self.database = Database()
        self.engine: Engine = self.database.engine(pool_size=1, pool_timeout=0, **{"max_overflow": 0, **options})
        self.hooks = PoolHooks(self.engine.pool, kind(time.monotonic_ns, limit_of(self.engine.pool)))
        self.hooks.drift.settled_ns = 0
        self.hooks.install()
        self.engine.raw_connection().close()

    def use(self) -> None:
        """Acquire a connection, and return it."""
        self.engine.raw_connection().close()

    def run(self, act: Callable[[], object], handler: Handler) -> None:
        """Do what the handler interrupts, without a collection, whose callbacks it would interrupt instead."""
        tracer = sys.gettrace()
        gc.disable()
        with suppress(Interrupt, Abort, PoolTimeoutError):
            sys.settrace(handler)
            try:
                act()
            finally:
                sys.settrace(tracer)
                gc.enable()

    def read(self) -> PoolSnapshot:
        """Return the snapshot, without what is garbage."""
        gc.collect()
        self.hooks.refresh()
        return decode(self.hooks.state.copy_slots(), self.hooks.state.clock(), PoolIdentity("x"), PoolConfig())

    def end(self) -> None:
        """Stop instrumenting, and close everything."""
        self.hooks.remove()
        self.engine.dispose()


@pytest.fixture(name="_quiet", autouse=True)
def _quiet() -> Iterator[None]:
    before = errors.count
    errors.count = 1  # The first one would be logged.
    yield
    errors.count = before


each_kind = pytest.mark.parametrize("kind", KINDS)
each_exception = pytest.mark.parametrize("exception", [Interrupt, Abort])


def points(
    kind: type[PoolState], exception: type[BaseException], excluded: frozenset[str] = frozenset()
) -> Iterator[Handler]:
    """Yield a handler for each point, until one finds no point left."""
    for at in range(1, 1000):
        handler = Handler(at, exception, has_points_of_3_10=kind is LockedPoolState, excluded=excluded)
        yield handler
        if not handler.has_raised:
            return


@each_exception
@each_kind
@pytest.mark.parametrize("outcome", ["acquired", "timeout", "untracked"])
def test_interrupted_acquire_ends(kind: type[PoolState], exception: type[BaseException], outcome: str) -> None:
    """No caller stays pending, whether the acquire would get a connection, or fail, or has no slot of its own."""
    for handler in points(kind, exception):
        side = Side(kind)
        state = side.hooks.state
        others = [state.acquire_started() for _ in range(TRACKED_MAX if outcome == "untracked" else 0)]
        held = side.engine.raw_connection() if outcome == "timeout" else None
        side.run(side.use, handler)
        snapshot = side.read()
        used = 0 if held is None else 1

        assert (len(others), len(others)) == (state.pending, snapshot.pending)
        assert (used, used) == (state.used, snapshot.used)

        if held is not None:
            held.close()
        for token in others:
            state.acquire_abandoned(token)
        assert kind is PoolState or {*PENDING_SLOTS} == {*state._free_pending_slots}
        side.end()


@each_exception
@each_kind
def test_interrupted_return_is_no_leak(kind: type[PoolState], exception: type[BaseException]) -> None:
    """The application has returned the connection: its use ends, and no checkout counts as leaked."""
    for handler in points(kind, exception):
        side = Side(kind)
        connection: Any = side.engine.raw_connection()
        side.run(connection.close, handler)
        del connection
        snapshot = side.read()

        assert (0, 0) == (snapshot.used, snapshot.leaked)
        side.end()


@pytest.mark.parametrize(
    ("name", "excluded"), [("detach", frozenset(ENTRIES)), ("invalidate", frozenset()), ("close", frozenset())]
)
def test_interrupted_hook_is_completed(name: str, excluded: frozenset[str]) -> None:
    """As many connections are idle and detached as the database has, and none is being closed for ever."""
    for handler in points(PoolState, Abort, excluded):
        side = Side(PoolState)
        connection: Any = side.engine.raw_connection()
        side.run(getattr(connection, name), handler)
        snapshot = side.read()

        assert side.database.open == snapshot.open + snapshot.detached
        assert set() == side.hooks._closing
        del connection
        side.end()


def interrupted_invalidations(handlers: Iterator[Handler]) -> Iterator[tuple[int, bool]]:
    """Yield for each point how many invalidations are counted, and whether the connection was invalidated."""
    for handler in handlers:
        side = Side(PoolState)
        connection: Any = side.engine.raw_connection()
        record = connection._connection_record
        side.run(connection.invalidate, handler)
        yield side.read().invalidations["hard"], record.dbapi_connection is None
        del connection
        side.end()


@each_exception
def test_interrupted_invalidation_is_counted_once(exception: type[BaseException]) -> None:
    """No invalidation is counted twice, wherever the interrupt comes."""
    counted = {count for count, _ in interrupted_invalidations(points(PoolState, exception))}

    assert {0, 1} == counted


def test_invalidation_that_happens_is_counted() -> None:
    """Wherever Ctrl-C comes, a connection that was invalidated all the same is counted."""
    found = {*interrupted_invalidations(points(PoolState, Abort))}

    assert (0, True) not in found
    assert (1, True) in found


@each_exception
def test_interrupted_report_is_counted_once(exception: type[BaseException]) -> None:
    """No report on an exhausted pool is counted twice, wherever the interrupt comes."""
    side, made, counted = Side(PoolState), Diagnosis("x", 0.0, "leak", "summary"), set[int]()
    for handler in points(PoolState, exception):
        state = PoolState(time.monotonic_ns)
        side.run(partial(publish, made, state, PoolIdentity("x"), DeferredLog(lambda: False)), handler)
        counted.add(state.slots[EXHAUSTION_AT["leak"]])
    side.end()

    assert {0, 1} == counted
