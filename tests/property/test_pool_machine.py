"""Whatever an application does to a real QueuePool, every number of its snapshot is right.

Two engines with pools of their own are used at once: what is done to one must not change the other. The oracles are the
database's count of its connections, the real pool's count of those that are checked out, and a list of what was done
and when (truth.py, timeline.py). Only the machine moves the clock.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from sqlalchemy import exc

from tests.property.pair_machine import PairMachine, sides
from tests.property.side import ListenerError, Side
from tests.property.strategies import Shape, durations, shapes, which


class PoolMachine(PairMachine[Side]):
    """Two synchronous engines and everything that is done to them."""

    @initialize(shape=shapes(), other=shapes())
    def start(self, shape: Shape, other: Shape) -> None:
        """Make the two engines."""
        self.sides = [Side(self.clock, shape), Side(self.clock, other)]

    def _fill(self, side: int, n: int) -> Side:
        """Return the side; if it has no idle connection, one is returned for it."""
        found = self.sides[side]
        if not found.idle():
            self.with_held(side, n, lambda found, held: found.release(held))
        return found

    # Taking and giving back.

    @rule(side=sides, callers=st.integers(1, 3))
    def acquire(self, side: int, callers: int) -> None:
        """Check connections out, or fail."""
        for _ in range(callers):
            self.sides[side].acquire()

    @rule(side=sides, n=which(), is_all=st.booleans())
    def release(self, side: int, n: int, is_all: bool) -> None:
        """Return a connection, or all of them."""
        found, held = self.sides[side], self.choose_held(side, n)
        for each in [*found.held] if is_all else [held]:
            if each is not None:
                found.release(each)

    @rule(side=sides, n=which(), whole_pool=st.booleans())
    def invalidate(self, side: int, n: int, whole_pool: bool) -> None:
        """Invalidate a connection, or all of the pool."""
        self.with_held(side, n, lambda found, held: found.invalidate(held, whole_pool=whole_pool))

    @rule(side=sides, n=which())
    def invalidate_detached(self, side: int, n: int) -> None:
        """Invalidate a connection that has left its pool."""
        self.with_detached(side, n, lambda found, held: found.invalidate_detached(held))

    # Faults.

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
        found = self._fill(side, n) if is_idle else self.sides[side]
        found.kill(n, is_idle=is_idle)

    # The pool as a whole.

    @rule(side=sides)
    def age(self, side: int) -> None:
        """Let the idle connections grow old."""
        self._fill(side, 0).age()

    @rule(side=sides)
    def instrument_again(self, side: int) -> None:
        """Uninstrument and instrument again, in the middle of everything."""
        self.sides[side].instrument_again()


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=100, stateful_step_count=40)
