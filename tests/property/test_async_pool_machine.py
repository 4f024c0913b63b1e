"""Whatever tasks do to a real AsyncAdaptedQueuePool, and wherever they are cancelled, every number is right.

As test_pool_machine.py, with asyncio. Each operation of the driver can be made to wait, so that a task is cancelled or
times out in the queue, while connecting, in a ping, in a rollback or in a close. The machine moves the loop's time.
"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests.property.async_database import OPERATIONS
from tests.property.async_side import AsyncSide
from tests.property.pair_machine import PairMachine, sides
from tests.property.still_loop import StillLoop
from tests.property.strategies import Shape, shapes, which

# SQLAlchemy warns when an async connection is lost, which this machine does.
pytestmark = pytest.mark.filterwarnings("ignore:The garbage collector is trying:sqlalchemy.exc.SAWarning")


class AsyncPoolMachine(PairMachine[AsyncSide]):
    """Two asynchronous engines and everything that is done to them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = StillLoop(self.clock)

    @initialize(shape=shapes(), other=shapes(), has_terminate=st.booleans())
    def start(self, shape: Shape, other: Shape, has_terminate: bool) -> None:
        """Make the two engines, of dialects that can end a connection without the loop, or cannot."""
        self.sides = [AsyncSide(self.loop, self.clock, each, has_terminate=has_terminate) for each in (shape, other)]

    def settle(self) -> None:
        """Run the loop until each task waits for the machine."""
        for side in self.sides:
            side.settle()

    # Taking and giving back.

    @rule(side=sides, stays=st.booleans(), callers=st.integers(1, 3))
    def acquire(self, side: int, stays: bool, callers: int) -> None:
        """Call connect() in one task or in several."""
        for _ in range(callers):
            self.sides[side].acquire(stays=stays)
            self.settle()

    @rule(side=sides, n=which())
    def finish(self, side: int, n: int) -> None:
        """Let a task end that has a connection in use."""
        held = self.sides[side].held
        task = held[n % len(held)].acquiring if held else None
        if task is not None:
            task.may_end.set()
            self.settle()

    @rule(side=sides, n=which(), how=st.sampled_from(["close", "close", "invalidate"]))
    def give_back(self, side: int, n: int, how: str) -> None:
        """Return, invalidate or detach a connection."""
        self.with_held(side, n, lambda found, held: found.give_back(held, how))

    # Slow operations and faults.

    @rule(side=sides, operations=st.sets(st.sampled_from(OPERATIONS)))
    def bar(self, side: int, operations: set[str]) -> None:
        """Let some of the driver's operations wait from now on."""
        self.sides[side].database.barred = operations

    @rule(side=sides, n=which())
    def let_pass(self, side: int, n: int) -> None:
        """Let a waiting operation go on."""
        self.sides[side].database.let_pass(n)
        self.settle()

    @rule(side=sides, n=which())
    def cancel(self, side: int, n: int) -> None:
        """Cancel a task, whatever it is waiting for."""
        running = self.sides[side].running()
        if running:
            running[n % len(running)].cancel()
            self.settle()

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

    @rule(side=sides)
    def age(self, side: int) -> None:
        """Let the idle connections grow old."""
        self.sides[side].age()

    def teardown(self) -> None:
        """Return everything, and end the loop."""
        super().teardown()
        self.loop.close()


TestAsyncPoolMachine = AsyncPoolMachine.TestCase
TestAsyncPoolMachine.settings = settings(max_examples=100, stateful_step_count=40)
