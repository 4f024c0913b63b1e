"""The rules and invariants that the machines for synchronous and asynchronous pools share."""

import gc
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pool_exporter.hook_errors import errors
from tests.fakes import FakeClock
from tests.property.pool_side import PoolSide
from tests.property.strategies import A_MOMENT, durations, which

S = TypeVar("S", bound="PoolSide[Any, Any]")

sides = st.sampled_from([0, 0, 1])


class PairMachine(RuleBasedStateMachine, Generic[S]):
    """Two engines; an action on one must not change the numbers of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(1_000_000_000)
        self.errors = errors.count
        self.sides: list[S] = []

    def settle(self) -> None:
        """Let all that was begun go on as far as it can."""

    def with_held(self, side: int, n: int, act: Callable[[S, Any], object]) -> None:
        """Act on the n-th connection in use; if there is none, on one that is checked out for it, if it can be."""
        found = self.sides[side]
        held = self.choose_held(side, n)
        if held is not None:
            act(found, held)
            self.settle()

    def choose_held(self, side: int, n: int) -> Any:
        """Return the n-th connection in use, or one that is checked out for it; None if the pool gives none."""
        found = self.sides[side]
        if not found.usable(found.held):
            found.acquire_one(n)
            self.settle()
        usable = found.usable(found.held)
        return usable[n % len(usable)] if usable else None

    def with_detached(self, side: int, n: int, act: Callable[[S, Any], object]) -> None:
        """Act on the n-th detached connection; if there is none, on one that is detached for it."""
        found = self.sides[side]
        if not found.usable(found.detached):
            self.with_held(side, n, lambda found, held: found.detach(held))
        if usable := found.usable(found.detached):
            act(found, usable[n % len(usable)])
            self.settle()

    @rule(side=sides, n=which())
    def drop(self, side: int, n: int) -> None:
        """Lose a connection."""
        self.with_held(side, n, lambda found, held: found.drop(held))

    @rule(side=sides, n=which())
    def soft_invalidate(self, side: int, n: int) -> None:
        """Have a connection replaced before its next use."""
        self.with_held(side, n, lambda found, held: found.soft_invalidate(held))

    @rule(side=sides, n=which())
    def detach(self, side: int, n: int) -> None:
        """Take a connection out of its pool."""
        self.with_held(side, n, lambda found, held: found.detach(held))

    @rule(side=sides, n=which())
    def close_detached(self, side: int, n: int) -> None:
        """Close a connection that has left its pool."""
        self.with_detached(side, n, lambda found, held: found.close_detached(held))

    @rule(side=sides, n=which())
    def drop_detached(self, side: int, n: int) -> None:
        """Lose a connection that has left its pool."""
        self.with_detached(side, n, lambda found, held: found.drop_detached(held))

    @rule(side=sides, close=st.booleans())
    def dispose(self, side: int, close: bool) -> None:
        """Replace the pool."""
        self.sides[side].dispose(close=close)
        self.settle()

    @rule()
    def collect(self) -> None:
        """Run the garbage collector, which frees the pools that nothing refers to any more."""
        gc.collect()
        self.settle()

    @rule(nanoseconds=durations())
    def wait(self, nanoseconds: int) -> None:
        """Let time pass."""
        self.clock.advance_ns(nanoseconds)
        self.settle()

    @invariant()
    def numbers_are_true(self) -> None:
        """Each number of both snapshots is right, also a moment later."""
        self.clock.advance_ns(A_MOMENT)
        for side in self.sides:
            side.check()

    @invariant()
    def no_hook_failed(self) -> None:
        """No hook has caught an error of its own."""
        assert self.errors == errors.count

    def teardown(self) -> None:
        """Return everything."""
        for side in self.sides:
            side.end()
