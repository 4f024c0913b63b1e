"""Slots that move while another thread is inside a transition: what it stores late in the old ones is not lost."""

from collections.abc import Callable
from weakref import ref

import pytest

from pool_exporter.state import layout
from pool_exporter.state.connection import NO_CALLER, Connection
from pool_exporter.state.layout import Slots
from pool_exporter.state.pool_slots import MovedSlots, new_slots
from pool_exporter.state.pool_state import PoolState
from tests.fakes import FakeClock


class Owner:
    """What a checkout refers to."""


class MovingClock(FakeClock):
    """A clock that calls a function when it is read for the next time, as another thread may run then."""

    def __init__(self) -> None:
        super().__init__(layout.SECOND)
        self.meanwhile: Callable[[], None] | None = None

    def __call__(self) -> int:
        """Run the function, and return the time."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().__call__()


class Pool:
    """A pool of one connection; each step takes a second, and its slots move within one of the steps."""

    def __init__(self, moving: str) -> None:
        self.clock, self.owner, self.moved = MovingClock(), Owner(), list[MovedSlots]()
        self.state = PoolState(self.clock, 1)
        self.moving, self.token = moving, 0
        self.connection: Connection = self.state.opened(7)

    def step(self, name: str, step: Callable[[], None]) -> None:
        """Take a step."""
        self.clock.advance(1)
        if name == self.moving:
            self.clock.meanwhile = lambda: self.moved.append(self.state.move_to(new_slots()))
        step()

    def use(self, untracked: int) -> None:
        """Check the connection out, return it, and check it out again, beside so many callers that have waited long."""
        for _ in range(untracked):
            self.state.acquire_started()
        self.step("ask", self.ask)
        self.step("acquire", self.acquire)
        self.step("return", lambda: self.state.released(self.connection))
        self.step("ask again", self.ask)
        self.step("acquire again", self.acquire)

    def ask(self) -> None:
        """Begin to wait."""
        self.token = self.state.acquire_started()

    def acquire(self) -> None:
        """Get the connection."""
        self.state.acquired(self.token, self.connection, ref(self.owner), (ref(self.owner), "", *NO_CALLER[2:]))

    def slots(self) -> Slots:
        """Return the slots as they are a moment after the move."""
        for moved in self.moved:
            self.state.add_late_stores(moved)
        return list(self.state.slots)


@pytest.mark.parametrize("untracked", [0, layout.TRACKED_MAX])
@pytest.mark.parametrize("moving", ["ask", "acquire", "return", "ask again", "acquire again"])
def test_stores_into_slots_that_were_left(moving: str, untracked: int) -> None:
    """Whichever transition the move meets, all numbers are those of a pool that has not moved, but for one wait."""
    moving_pool, still = Pool(moving), Pool("never")
    for pool in (moving_pool, still):
        pool.use(untracked)
    found, expected = moving_pool.slots(), still.slots()
    if moving.startswith("ask") and not untracked:  # The beginning of the wait is not known: it counts as none.
        for slots in (found, expected):
            slots[layout.WAIT : layout.WAIT_SUM + 1] = [sum(slots[layout.WAIT : layout.WAIT_SUM])]

    assert 1 == len(moving_pool.moved)
    assert expected == found


ENDS: dict[str, Callable[[PoolState, int], object]] = {
    "acquired": lambda state, token: state.acquired(token, state.opened(), None),
    "timeout": lambda state, token: state.acquire_failed(token, "timeout"),
    "connect": lambda state, token: state.acquire_failed(token, "connect"),
    "abandoned": lambda state, token: state.acquire_abandoned(token),
}


@pytest.mark.parametrize("untracked", [0, layout.TRACKED_MAX])
@pytest.mark.parametrize("end", ENDS)
def test_acquire_that_began_in_slots_that_were_left_ends(end: str, untracked: int) -> None:
    """However it ends, its caller is pending no more, and its slot is free for the next one: once, if it ends twice.

    An interrupt behind the end of an acquire ends it again.
    """
    pool = Pool("ask")
    others = [pool.state.acquire_started() for _ in range(untracked)]
    free = len(pool.state._free_pending_slots)
    pool.step("ask", pool.ask)

    ENDS[end](pool.state, pool.token)
    if pool.token > 0:
        pool.state.acquire_abandoned(pool.token)
    slots = pool.slots()

    assert (len(others), free) == (pool.state.pending, len(pool.state._free_pending_slots))
    assert (
        len(others)
        == sum(map(bool, slots[layout.PENDING_TIMES : layout.PENDING_TIMES + layout.TRACKED_MAX]))
        + (slots[layout.UNTRACKED_PENDING])
    )


def test_caller_that_begins_to_wait_after_the_move_still_waits() -> None:
    """A caller that gets the slot of one whose wait has ended in the slots that were left keeps its own beginning."""
    pool = Pool("acquire")
    pool.step("ask", pool.ask)
    pool.step("acquire", pool.acquire)
    pool.step("ask again", pool.ask)
    slots = pool.slots()

    assert slots[pool.token] == pool.clock() - pool.state.origin
