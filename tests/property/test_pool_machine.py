"""Whatever an application does to a real QueuePool, every number of its snapshot is what it has to be.

Two engines with pools of their own are driven at once: what is done to one must not be seen on the other. The oracles
are the database's own count of its connections, the real pool's count of those that are out, and a list of what was
done and when (truth.py, timeline.py). The clock stands still but for the machine.
"""

import gc
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import exc

from pool_exporter.hook_errors import errors
from tests.fakes import FakeClock
from tests.property.side import Held, ListenerError, Side
from tests.property.strategies import A_MOMENT, Shape, durations, shapes, which

sides = st.sampled_from([0, 0, 1])


class PoolMachine(RuleBasedStateMachine):
    """Two engines and everything that is done to them."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(1_000_000_000)
        self.errors = errors.count
        self.sides: list[Side] = []

    @initialize(shape=shapes(), other=shapes())
    def start(self, shape: Shape, other: Shape) -> None:
        """Make the two engines."""
        self.sides = [Side(self.clock, shape), Side(self.clock, other)]

    def _held(self, side: int, n: int) -> tuple[Side, Held | None]:
        """Return the n-th connection that is out; if there is none, one that is checked out for it."""
        found = self.sides[side]
        if not found.held:
            found.acquire()
        return found, found.held[n % len(found.held)] if found.held else None

    def _idle(self, side: int, n: int) -> tuple[Side, list[Any]]:
        """Return the drivers' connections in the pool; if there are none, one that is returned for it."""
        found = self.sides[side]
        if not found.idle():
            _, held = self._held(side, n)
            if held is not None:
                found.release(held)
        return found, [record.dbapi_connection for record in found.idle()]

    def _detached(self, side: int, n: int) -> tuple[Side, Held | None]:
        """Return the n-th detached connection; if there is none, one that is detached for it."""
        found, held = self._held(side, n)
        if not found.detached and held is not None:
            found.detach(held)
        return found, found.detached[n % len(found.detached)] if found.detached else None

    # Taking and giving back.

    @rule(side=sides, callers=st.integers(1, 3))
    def acquire(self, side: int, callers: int) -> None:
        """Check connections out, or be refused."""
        for _ in range(callers):
            self.sides[side].acquire()

    @rule(side=sides, n=which(), is_all=st.booleans())
    def release(self, side: int, n: int, is_all: bool) -> None:
        """Return a connection, or all of them."""
        found, held = self._held(side, n)
        for each in [*found.held] if is_all else [held]:
            if each is not None:
                found.release(each)

    @rule(side=sides, n=which())
    def drop(self, side: int, n: int) -> None:
        """Lose a connection."""
        found, held = self._held(side, n)
        if held is not None:
            found.drop(held)

    @rule(side=sides, n=which(), whole_pool=st.booleans())
    def invalidate(self, side: int, n: int, whole_pool: bool) -> None:
        """Give a connection up, or all of the pool."""
        found, held = self._held(side, n)
        if held is not None:
            found.invalidate(held, whole_pool=whole_pool)

    @rule(side=sides, n=which())
    def soft_invalidate(self, side: int, n: int) -> None:
        """Have a connection replaced before its next use."""
        found, held = self._held(side, n)
        if held is not None:
            found.soft_invalidate(held)

    # Detaching.

    @rule(side=sides, n=which())
    def detach(self, side: int, n: int) -> None:
        """Take a connection out of its pool."""
        found, held = self._held(side, n)
        if held is not None:
            found.detach(held)

    @rule(side=sides, n=which())
    def close_detached(self, side: int, n: int) -> None:
        """Close a connection that has left its pool."""
        found, held = self._detached(side, n)
        if held is not None:
            found.close_detached(held)

    @rule(side=sides, n=which())
    def drop_detached(self, side: int, n: int) -> None:
        """Lose a connection that has left its pool."""
        found, held = self._detached(side, n)
        if held is not None:
            found.drop_detached(held)

    @rule(side=sides, n=which())
    def invalidate_detached(self, side: int, n: int) -> None:
        """Give up a connection that has left its pool."""
        found, held = self._detached(side, n)
        if held is not None:
            found.invalidate_detached(held)

    # What goes wrong.

    @rule(side=sides, is_refusing=st.booleans(), opening_ns=durations())
    def change_server(self, side: int, is_refusing: bool, opening_ns: int) -> None:
        """Have the server refuse connections, or accept them again, after some time."""
        self.sides[side].database.is_refusing = is_refusing
        self.sides[side].database.opening_ns = opening_ns

    @rule(side=sides)
    def fail_connect_event(self, side: int) -> None:
        """Have the application's own connect listener raise at the next opening."""
        self.sides[side].connect_trouble = 1

    @rule(side=sides, kinds=st.lists(st.sampled_from([ListenerError, exc.DisconnectionError]), min_size=1, max_size=2))
    def fail_checkout_event(self, side: int, kinds: list[type[Exception]]) -> None:
        """Have the application's own checkout listener raise at the next checkouts."""
        self.sides[side].checkout_trouble = [kind("checkout") for kind in kinds]

    @rule(side=sides, is_idle=st.booleans(), n=which())
    def kill(self, side: int, is_idle: bool, n: int) -> None:
        """End a connection on the server's side."""
        found, drivers = self._idle(side, n) if is_idle else (self.sides[side], [])
        drivers = drivers or [held.driver for held in (*found.held, *found.detached)]
        if drivers:
            drivers[n % len(drivers)].kill()

    # The pool as a whole.

    @rule(side=sides, close=st.booleans())
    def dispose(self, side: int, close: bool) -> None:
        """Replace the pool."""
        self.sides[side].dispose(close=close)

    @rule(side=sides)
    def age(self, side: int) -> None:
        """Let the idle connections grow old."""
        self._idle(side, 0)[0].age()

    @rule(side=sides)
    def rewatch(self, side: int) -> None:
        """Stop watching and begin anew, in the middle of everything."""
        self.sides[side].rewatch()

    @rule()
    def collect(self) -> None:
        """Run the garbage collector, which frees the pools that nobody has any more."""
        gc.collect()

    @rule(nanoseconds=durations())
    def wait(self, nanoseconds: int) -> None:
        """Let time pass."""
        self.clock.advance_ns(nanoseconds)

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


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=100, stateful_step_count=40)
