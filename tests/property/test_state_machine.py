"""For any transitions in any order, the slots have the numbers that a list of all events has.

The state machine is tested alone, without pool and hooks, also with transitions in an order that no pool makes.
"""

from dataclasses import dataclass
from typing import ClassVar
from weakref import ref

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_metrics import CLOSE_REASONS, ERROR_TYPES, INVALIDATIONS
from pool_exporter.state.connection import Connection
from pool_exporter.state.decode import decode
from pool_exporter.state.layout import TRACKED_MAX
from pool_exporter.state.locked_pool_state import LockedPoolState
from pool_exporter.state.pool_slots import UNLIMITED
from pool_exporter.state.pool_state import PoolState
from tests.fakes import FakeClock
from tests.property.strategies import A_MOMENT, durations
from tests.property.truth import Truth

limits = st.sampled_from([UNLIMITED, 1, 2, 3])


def any_of() -> st.SearchStrategy[int]:
    """Draw which of several is meant, modulo their number, which may be more than there are slots."""
    return st.integers(0, 3 * TRACKED_MAX)


class Checkout:
    """Stands for the proxy of a checkout."""


@dataclass(eq=False)
class Thing:
    """A connection, and what the test knows of it."""

    connection: Connection
    #: The number of the pool that opened it.
    pool: int
    is_detached: bool = False
    #: Since when it is used; None when it is not.
    since: int | None = None
    #: The proxy of its last checkout, if it is known and not lost.
    checkout: Checkout | None = None
    is_lost: bool = False


class StateMachine(RuleBasedStateMachine):
    """One PoolState, and a list of what was done to it."""

    kind: ClassVar[type[PoolState]] = PoolState

    @initialize(limit=limits)
    def start(self, limit: int) -> None:
        """Make a pool."""
        self.clock = FakeClock(1_000_000_000)
        self.state = self.kind(self.clock, limit)
        self._forget(limit)

    def _forget(self, limit: int) -> None:
        self.truth = Truth(self.clock)
        self.limit, self.pool = limit, 0
        self.things: list[Thing] = []
        self.gone: list[Connection] = []
        self.tokens: list[tuple[int, int]] = []
        self.orphaned = 0
        self._note()

    def _note(self) -> None:
        used = [thing for thing in self.things if thing.since is not None]
        current = sum(thing.pool == self.pool for thing in used)
        self.truth.timeline.note(
            len(used), len(self.tokens), is_saturated=self.limit != UNLIMITED and current >= self.limit
        )

    # Callers.

    @rule(callers=st.sampled_from([1, 1, 2, TRACKED_MAX + 1]))
    def begin_acquires(self, callers: int) -> None:
        """Begin acquires, sometimes more than there are slots."""
        for _ in range(callers if len(self.tokens) <= 2 * TRACKED_MAX else 1):
            self.tokens.append((self.state.acquire_started(), self.clock()))
            self._note()

    def _answer(self, n: int, *, is_wait: bool) -> int:
        if not self.tokens:
            self.begin_acquires(1)
        token, since = self.tokens.pop(n % len(self.tokens))
        if is_wait:
            self.truth.waits.append(self.clock() - since)
        return token

    @rule(n=any_of(), m=any_of(), is_known=st.booleans())
    def grant(self, n: int, m: int, is_known: bool) -> None:
        """End an acquire with a connection, also with a used or detached one, with a proxy or without."""
        self._grant(self._pick(m), self._answer(n, is_wait=True), is_known=is_known)

    @rule(m=any_of())
    def find_used(self, m: int) -> None:
        """Find a connection in use."""
        self._grant(self._pick(m), None, is_known=False)

    def _grant(self, thing: Thing, token: int | None, *, is_known: bool) -> None:
        thing.checkout, thing.is_lost = Checkout() if is_known else None, False
        self.state.acquired(token, thing.connection, None if thing.checkout is None else ref(thing.checkout))
        if thing.since is None and not thing.is_detached:
            thing.since = self.clock()
        self._note()

    @rule(n=any_of(), error_type=st.sampled_from(ERROR_TYPES.values))
    def fail(self, n: int, error_type: str) -> None:
        """End an acquire without a connection."""
        self.state.acquire_failed(self._answer(n, is_wait=error_type == "timeout"), error_type)
        self.truth.failures[error_type] += 1
        self._note()

    # Connections.

    @rule(took=st.none() | durations(), number=st.sampled_from([1, 1, 2, TRACKED_MAX + 1]))
    def open(self, took: int | None, number: int) -> None:
        """Open connections, or find some open, sometimes more than there are slots."""
        for _ in range(number if len(self.things) <= 2 * TRACKED_MAX else 1):
            self.things.append(Thing(self.state.opened(took), self.pool))
            self.truth.connects += 1
            self.truth.adopted += took is None

    @precondition(lambda self: self.pool)
    @rule(took=durations())
    def open_elsewhere(self, took: int) -> None:
        """Open a connection for a pool that has been replaced."""
        self.things.append(Thing(self.state.opened(took, is_old=True), self.pool - 1))
        self.truth.connects += 1

    def _pick(self, m: int) -> Thing:
        if not self.things:
            self.open(0, 1)
        return self.things[m % len(self.things)]

    def _end_use(self, thing: Thing) -> None:
        if thing.since is not None:
            self.truth.uses.append(self.clock() - thing.since)
            self.truth.leaked += thing.is_lost
            thing.since = None

    @rule(m=any_of())
    def lose(self, m: int) -> None:
        """Drop the proxy of a checkout, as an application with a leak does."""
        thing = self._pick(m)
        if thing.checkout is not None:
            thing.checkout, thing.is_lost = None, True

    @rule(m=any_of())
    def give_back(self, m: int) -> None:
        """Return a connection, be it used or not."""
        thing = self._pick(m)
        self.state.released(thing.connection)
        self._end_use(thing)
        self._note()

    @rule(m=any_of())
    def detach(self, m: int) -> None:
        """Detach a connection."""
        thing = self._pick(m)
        self.state.detached(thing.connection)
        self._end_use(thing)
        thing.is_detached = True
        self._note()

    @rule(m=any_of(), reason=st.sampled_from(CLOSE_REASONS.values))
    def close(self, m: int, reason: str) -> None:
        """Close a connection."""
        thing = self._pick(m)
        self.state.closed(thing.connection, reason)
        self._close(thing, reason)
        self.gone.append(thing.connection)

    @rule(m=any_of())
    def forget(self, m: int) -> None:
        """Drop the last reference to a connection: nothing has returned its use, so that no leak is counted."""
        thing = self._pick(m)
        thing.is_lost = False
        self._close(thing, "discarded")
        del thing.connection
        self._note()

    def _close(self, thing: Thing, reason: str) -> None:
        self._end_use(thing)
        self.things.remove(thing)
        self.truth.closes[reason] += 1
        self._note()

    @precondition(lambda self: self.gone)
    @rule(m=any_of(), what=st.sampled_from(["released", "detached", "closed", "acquired"]))
    def do_to_the_gone(self, m: int, what: str) -> None:
        """Call a transition of a closed connection, which changes nothing."""
        connection = self.gone[m % len(self.gone)]
        if what == "acquired":
            self.state.acquired(None, connection, None)
        elif what == "closed":
            self.state.closed(connection, "dispose")
        else:
            getattr(self.state, what)(connection)

    @rule(kind=st.sampled_from(INVALIDATIONS.values))
    def invalidate(self, kind: str) -> None:
        """Count an invalidation."""
        self.state.invalidated(kind)
        self.truth.invalidations[kind] += 1

    # The pool as a whole.

    @rule(limit=limits)
    def replace(self, limit: int) -> None:
        """Let another pool take over."""
        self.state.replaced(limit)
        self.limit = limit
        self.pool += 1
        self._note()

    @precondition(lambda self: len(self.things) > TRACKED_MAX)
    @rule(limit=limits)
    def reset(self, limit: int) -> None:
        """Sometimes begin anew, as after a fork, and call transitions of the parent's connections."""
        before = [thing.connection for thing in self.things]
        self.state.forget_connections()
        self.state = type(self.state)(self.clock, limit)
        self._forget(limit)
        self.gone += before

    @rule(orphaned=st.integers(0, 3))
    def refresh(self, orphaned: int) -> None:
        """Write the results of a refresh."""
        self.state.set_refreshed(orphaned, 0)
        self.orphaned = orphaned

    @rule(nanoseconds=durations())
    def wait(self, nanoseconds: int) -> None:
        """Let time pass."""
        self.clock.advance_ns(nanoseconds)

    # What holds after each of these.

    @invariant()
    def numbers_are_true(self) -> None:
        """Every number is that of the list, also a moment later."""
        self.clock.advance_ns(A_MOMENT)
        used = [thing.since for thing in self.things if thing.since is not None]
        detached = sum(thing.is_detached for thing in self.things)
        # The age of an untracked use is known after a refresh.
        self.state.set_refreshed(self.orphaned, 0)
        actual = decode(self.state.copy_slots(), self.clock(), PoolIdentity("alone"), PoolConfig())
        others = {
            "open": len(self.things) - detached,
            "idle": len(self.things) - detached - len(used),
            "pending": len(self.tokens),
            "detached": detached,
            "orphaned": self.orphaned,
        }

        assert {} == self.truth.differences(actual, used, others)
        assert {id(thing.connection) for thing in self.things} == {id(found) for found in self.state.live_connections()}


class LockedStateMachine(StateMachine):
    """The same for interpreters without the GIL."""

    kind = LockedPoolState


TestStateMachine = StateMachine.TestCase
TestStateMachine.settings = settings(max_examples=100, stateful_step_count=50)
TestLockedStateMachine = LockedStateMachine.TestCase
TestLockedStateMachine.settings = settings(max_examples=20, stateful_step_count=50)
