"""Whatever tasks do to a real AsyncAdaptedQueuePool, and wherever they are cancelled, every number is what it must be.

As test_pool_machine.py, with asyncio. Each operation of the driver can be made to wait, so that a task is cancelled or
times out in the queue, while connecting, in a ping, in a rollback or in a close. The loop's time is the machine's.
"""

import gc

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pool_exporter.hook_errors import errors
from tests.fakes import FakeClock
from tests.property.async_database import OPERATIONS
from tests.property.async_side import AsyncSide, Held
from tests.property.still_loop import StillLoop
from tests.property.strategies import A_MOMENT, Shape, durations, shapes, which

# SQLAlchemy says so when an async connection is lost, which is what this does.
pytestmark = pytest.mark.filterwarnings("ignore:The garbage collector is trying:sqlalchemy.exc.SAWarning")

sides = st.sampled_from([0, 0, 1])


class AsyncPoolMachine(RuleBasedStateMachine):
    """Two async engines and everything that is done to them."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(1_000_000_000)
        self.loop = StillLoop(self.clock)
        self.errors = errors.count
        self.sides: list[AsyncSide] = []

    @initialize(shape=shapes(), other=shapes(), has_terminate=st.booleans())
    def start(self, shape: Shape, other: Shape, has_terminate: bool) -> None:
        """Make the two engines, of dialects that can end a connection without the loop, or cannot."""
        self.sides = [AsyncSide(self.loop, self.clock, each, has_terminate=has_terminate) for each in (shape, other)]

    def _settle(self) -> None:
        for side in self.sides:
            side.settle()

    def _held(self, side: int, n: int) -> tuple[AsyncSide, Held | None]:
        """Return the n-th connection that is out and wanted; if there is none, one that is asked for."""
        found = self.sides[side]
        if not any(held.fairy for held in found.held):
            found.acquire(stays=bool(n % 2))
            self._settle()
        held = [held for held in found.held if held.fairy is not None]
        return found, held[n % len(held)] if held else None

    def _detached(self, side: int, n: int) -> tuple[AsyncSide, Held | None]:
        """Return the n-th detached connection; if there is none, one that is detached for it."""
        found = self.sides[side]
        if not any(held.fairy for held in found.detached):
            _, held = self._held(side, n)
            if held is not None:
                found.detach(held)
                self._settle()
        detached = [held for held in found.detached if held.fairy is not None]
        return found, detached[n % len(detached)] if detached else None

    # Taking and giving back.

    @rule(side=sides, stays=st.booleans(), callers=st.integers(1, 3))
    def acquire(self, side: int, stays: bool, callers: int) -> None:
        """Ask for a connection, or for several."""
        for _ in range(callers):
            self.sides[side].acquire(stays=stays)
            self._settle()

    @rule(side=sides, n=which())
    def finish(self, side: int, n: int) -> None:
        """Let a task end that has a connection in use."""
        held = self.sides[side].held
        asking = held[n % len(held)].asking if held else None
        if asking is not None:
            asking.may_end.set()
            self._settle()

    @rule(side=sides, n=which(), how=st.sampled_from(["close", "close", "invalidate"]))
    def give_back(self, side: int, n: int, how: str) -> None:
        """Return a connection, or give it up."""
        found, held = self._held(side, n)
        if held is not None:
            found.give_back(held, how)
            self._settle()

    @rule(side=sides, n=which())
    def soft_invalidate(self, side: int, n: int) -> None:
        """Have a connection replaced before its next use."""
        found, held = self._held(side, n)
        if held is not None:
            found.soft_invalidate(held)

    @rule(side=sides, n=which())
    def drop(self, side: int, n: int) -> None:
        """Lose a connection."""
        found, held = self._held(side, n)
        if held is not None:
            found.drop(held)
            self._settle()

    # Detaching.

    @rule(side=sides, n=which())
    def detach(self, side: int, n: int) -> None:
        """Take a connection out of its pool."""
        found, held = self._held(side, n)
        if held is not None:
            found.detach(held)
            self._settle()

    @rule(side=sides, n=which())
    def close_detached(self, side: int, n: int) -> None:
        """Close a connection that has left its pool."""
        found, held = self._detached(side, n)
        if held is not None:
            found.give_back(held, "close")
            self._settle()

    @rule(side=sides, n=which())
    def drop_detached(self, side: int, n: int) -> None:
        """Lose a connection that has left its pool."""
        found, held = self._detached(side, n)
        if held is not None:
            found.drop(held)
            self._settle()

    # What takes long, and what goes wrong.

    @rule(side=sides, operations=st.sets(st.sampled_from(OPERATIONS)))
    def bar(self, side: int, operations: set[str]) -> None:
        """Have some of the driver's operations wait from now on."""
        self.sides[side].database.barred = operations

    @rule(side=sides, n=which())
    def let_pass(self, side: int, n: int) -> None:
        """Let a waiting operation go on."""
        self.sides[side].database.let_pass(n)
        self._settle()

    @rule(side=sides, n=which())
    def cancel(self, side: int, n: int) -> None:
        """Cancel a task, whatever it is waiting for."""
        running = self.sides[side].running()
        if running:
            running[n % len(running)].cancel()
            self._settle()

    @rule(side=sides, is_refusing=st.booleans())
    def change_server(self, side: int, is_refusing: bool) -> None:
        """Have the server refuse connections, or accept them again."""
        self.sides[side].database.is_refusing = is_refusing

    @rule(side=sides, n=which())
    def kill(self, side: int, n: int) -> None:
        """End a connection on the server's side."""
        connections = self.sides[side].database.connections()
        if connections:
            connections[n % len(connections)].kill()

    # The pool as a whole.

    @rule(side=sides, close=st.booleans())
    def dispose(self, side: int, close: bool) -> None:
        """Replace the pool."""
        self.sides[side].dispose(close=close)
        self._settle()

    @rule(side=sides)
    def age(self, side: int) -> None:
        """Let the idle connections grow old."""
        self.sides[side].age()

    @rule()
    def collect(self) -> None:
        """Run the garbage collector, which frees the pools that nobody has any more."""
        gc.collect()
        self._settle()

    @rule(nanoseconds=durations())
    def wait(self, nanoseconds: int) -> None:
        """Let time pass."""
        self.clock.advance_ns(nanoseconds)
        self._settle()

    # What holds after each of these.

    @invariant()
    def numbers_are_true(self) -> None:
        """Every number of both snapshots is what it has to be, also a moment later."""
        self.clock.advance_ns(A_MOMENT)
        for side in self.sides:
            side.check()

    @invariant()
    def no_hook_failed(self) -> None:
        """None of our own errors was kept from the application, because there was none."""
        assert self.errors == errors.count

    def teardown(self) -> None:
        """Give everything back."""
        for side in self.sides:
            side.end()
        self.loop.close()


TestAsyncPoolMachine = AsyncPoolMachine.TestCase
TestAsyncPoolMachine.settings = settings(max_examples=100, stateful_step_count=40)
