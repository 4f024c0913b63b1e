"""The state machine of one pool: its counters, and the state of each of its connections.

Rule 1: only this module changes a pool's slots. Rule 2: nothing here knows SQLAlchemy. Rule 3: no IO, no lock, no clock
but the one passed in. Rule 4: between the first and the last store of a transition there is no call, at which CPython
may hand over the GIL, and no new container, which may start the garbage collector and with it another transition.

One `Connection` is one opened database connection, from its opening to its close. Its transitions:

    state            | opened | acquired         | released          | detached  | closed(reason) | replaced
    CLOSED           | IDLE   | -                | -                 | -         | -              | -
    IDLE             | -      | USED             | -                 | DETACHED  | CLOSED         | IDLE_IN_OLD_POOL
    USED             | -      | -                | IDLE*             | DETACHED* | CLOSED*        | USED_IN_OLD_POOL
    IDLE_IN_OLD_POOL | -      | USED_IN_OLD_POOL | -                 | DETACHED  | CLOSED         | -
    USED_IN_OLD_POOL | -      | -                | IDLE_IN_OLD_POOL* | DETACHED* | CLOSED*        | -
    DETACHED         | -      | -                | -                 | -         | CLOSED         | -

"-" changes nothing: SQLAlchemy returns a connection without a checkout (after a failed reconnect), hands out one
connection twice (StaticPool) and closes one in use (SingletonThreadPool). "*" ends a use and observes its duration.
The two states IN_OLD_POOL are those of a pool that was replaced and still serves its callers: such a connection does
not count against the new pool's limit. Without a limit they are not told apart.

Gauges are memberships, never sums of plus and minus: OPEN counts connections that are neither CLOSED nor DETACHED; each
connection that is used, and each pending caller, occupies one slot; DETACHED counts those that are DETACHED. Each
changes only together with the state of a connection or caller. What has ended is counted before its slot is released,
so that a reader in between sees it twice, never not at all.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final
from weakref import ref

from pool_exporter.state import layout
from pool_exporter.state.connection import (
    CLOSED,
    DETACHED,
    IDLE,
    IDLE_IN_OLD_POOL,
    USED,
    USED_IN_OLD_POOL,
    Connection,
    Reference,
    nothing,
)
from pool_exporter.state.layout import BOUNDS_NS, FIRST_BOUND_NS, USE, USE_SUM, WAIT, WAIT_SUM, Slots, new_slots
from pool_exporter.state.slow_acquire import SlowAcquireHook

UNLIMITED: Final = -1


class PoolState:
    """The words of one pool and the connections behind them."""

    def __init__(self, clock: Callable[[], int], limit: int = UNLIMITED, slots: Slots | None = None) -> None:
        self.clock, self.connections = clock, dict[int, ref[Connection]]()
        #: 0 in a process that was forked without a word; then `strayed` has another state take this one's place.
        self.sentinel: Sequence[int] = b"\1"
        self.on_fork_detected: Callable[[], None] = nothing
        # The counters of given words go on, and their gauges are zero but for these.
        self.slots = new_slots() if slots is None else slots
        self.slow_acquire = SlowAcquireHook()
        self.slots[layout.WINDOW] = self.slots[layout.USED_PEAK] = self.slots[layout.PENDING_PEAK] = 0
        self.origin = self.slots[layout.ORIGIN] = clock() - 1
        # These stand among the words too; read there, they would cost more.
        self.limit = self.slots[layout.LIMIT] = self.own_limit = limit
        self.used = self.used_peak = self.pending = self.pending_peak = self.stale = 0
        self.window_end = layout.WINDOW_NS
        self._free_checkout_slots, self._free_pending_slots = list(layout.CHECKOUT_SLOTS), list(layout.PENDING_SLOTS)

    def move(self, slots: Slots) -> None:
        """Go on elsewhere, with no call between the copy and the first store to it."""
        slots[:] = array("q", self.slots)
        self.slots = slots

    def live(self) -> list[Connection]:
        """Return the connections that are not closed."""
        found = [reference() for reference in list(self.connections.values())]
        return [connection for connection in found if connection is not None]

    def forget_connections(self) -> None:
        """Let go of every connection without counting it: nobody watches any more."""
        for connection in self.live():
            connection.state = CLOSED
        self.connections.clear()

    def leave(self) -> None:
        """Touch the words no more, which are the parent process's; what callers under way still say goes nowhere."""
        self.slots, self.sentinel = new_slots(), b"\1"

    def acquire_started(self) -> int:
        """Note that a caller asks for a connection; return what `granted`, `failed` or `forgotten` wants to know."""
        slots, now = self.slots, self.clock() - self.origin
        try:
            token = self._free_pending_slots.pop()
        except IndexError:
            token = -now
            slots[layout.UNTRACKED_PENDING] += 1
            slots[layout.UNTRACKED_PENDING_SINCE] += now
        else:
            slots[token] = now
        pending = self.pending = self.pending + 1
        if pending > self.pending_peak:
            self.pending_peak = slots[layout.PENDING_PEAK] = pending
        return token

    def acquired(self, token: int | None, connection: Connection, checkout: Reference, owner: Reference) -> int:
        """Give *connection* to the caller of *ask*, None if it was found used; return the wait in nanoseconds."""
        slots, now, wait = self.slots, self.clock() - self.origin, 0
        if now >= self.window_end:
            self._roll(now)
        if token is not None:
            wait = now - (slots[token] if token > 0 else -token)
            bucket = WAIT if wait <= FIRST_BOUND_NS else WAIT + bisect_left(BOUNDS_NS, wait)
            slots[bucket] += 1
            slots[WAIT_SUM] += wait
            if token > 0:
                slots[token] = 0
            else:
                slots[layout.UNTRACKED_PENDING] -= 1
                slots[layout.UNTRACKED_PENDING_SINCE] += token
            self.pending -= 1
        connection.checkout = checkout
        state = connection.state
        if state == IDLE or state == IDLE_IN_OLD_POOL:
            connection.state = USED if state == IDLE else USED_IN_OLD_POOL
            connection.owner = owner
            connection.since = now
            if connection.row:
                slots[connection.row] = now
            else:
                slots[layout.UNTRACKED_CHECKOUTS] += 1
                slots[layout.UNTRACKED_CHECKOUTS_SINCE] += now
            used = self.used = self.used + 1
            if used > self.used_peak:
                self.used_peak = slots[layout.USED_PEAK] = used
            if state == IDLE_IN_OLD_POOL:
                self.stale += 1
                self.limit = slots[layout.LIMIT] = self.own_limit + self.stale
            elif used == self.limit:
                slots[layout.SATURATED_SINCE] = now
        if token is not None and token > 0:
            self._free_pending_slots.append(token)
        return wait

    def acquire_failed(self, token: int, error_type: str) -> int:
        """Note that the caller of *ask* got no connection, and return its wait; unless by a timeout, it is not one."""
        slots, now = self.slots, self.clock() - self.origin
        if now >= self.window_end:
            self._roll(now)
        wait = now - (slots[token] if token > 0 else -token)
        failure, bucket = layout.FAILURE_AT[error_type], WAIT + bisect_left(BOUNDS_NS, wait)
        slots[failure] += 1
        if error_type == "timeout":
            slots[bucket] += 1
            slots[WAIT_SUM] += wait
        else:
            slots[layout.FAILED_NS] += wait
        self.acquire_abandoned(token)
        return wait

    def acquire_abandoned(self, token: int) -> None:
        """Take back that the caller of *ask* is pending; by itself, when nothing better can be said of it."""
        slots = self.slots
        if token > 0 and not slots[token]:  # A caller from before a fork.
            return
        self.pending -= 1
        if token > 0:
            slots[token] = 0
            self._free_pending_slots.append(token)
        else:
            slots[layout.UNTRACKED_PENDING] -= 1
            slots[layout.UNTRACKED_PENDING_SINCE] += token

    def opened(self, took: int | None = None, *, is_old: bool = False) -> Connection:
        """Return the machine of a connection just opened in *took* nanoseconds, or found open (None)."""
        connection = Connection(self)
        self.connections[id(connection)] = ref(connection)
        slots = self.slots
        bucket = layout.CREATE + bisect_left(BOUNDS_NS, took or 0)
        connection.row = self._free_checkout_slots.pop() if self._free_checkout_slots else 0
        connection.state = IDLE_IN_OLD_POOL if is_old and self.limit != UNLIMITED else IDLE
        slots[layout.CONNECTS] += 1
        slots[layout.OPEN] += 1
        if took is not None:
            slots[bucket] += 1
            slots[layout.CREATE_SUM] += took
        return connection

    def released(self, connection: Connection) -> None:
        """End the connection's use, if there is one."""
        if not self.sentinel[0]:
            self.on_fork_detected()
        slots = self.slots
        now = self.clock() - self.origin
        if now >= self.window_end:
            self._roll(now)
        use = max(0, now - connection.since)
        bucket = USE if use <= FIRST_BOUND_NS else USE + bisect_left(BOUNDS_NS, use)
        checkout = connection.checkout
        lost = checkout is not None and checkout() is None
        state = connection.state  # Read after the last call: StaticPool lends one connection to several threads.
        if state != USED and state != USED_IN_OLD_POOL:
            return
        connection.state = IDLE if state == USED else IDLE_IN_OLD_POOL
        slots[bucket] += 1
        slots[USE_SUM] += use
        if connection.row:
            slots[connection.row] = 0
        else:
            slots[layout.UNTRACKED_CHECKOUTS] -= 1
            slots[layout.UNTRACKED_CHECKOUTS_SINCE] -= connection.since
        used = self.used
        self.used = used - 1
        if lost:
            slots[layout.LEAKED] += 1
        if state == USED_IN_OLD_POOL:
            self.stale -= 1
            self.limit = slots[layout.LIMIT] = self.own_limit + self.stale
        elif used == self.limit and now > slots[layout.SATURATED_SINCE]:  # It began anew since the clock was read.
            slots[layout.SATURATED] += now - slots[layout.SATURATED_SINCE]

    def invalidated(self, kind: str) -> None:
        """Count an invalidation, "hard" or "soft"."""
        self.slots[layout.INVALIDATION_AT[kind]] += 1

    def detached(self, connection: Connection) -> None:
        """Note that the connection has left the pool and is still open."""
        if connection.state == CLOSED or connection.state == DETACHED:
            return
        self.released(connection)
        slots = self.slots
        if connection.state != IDLE and connection.state != IDLE_IN_OLD_POOL:  # Another thread got it meanwhile.
            self.detached(connection)
            return
        connection.state = DETACHED
        slots[layout.OPEN] -= 1
        slots[layout.DETACHED] += 1
        self._free(connection)

    def closed(self, connection: Connection, reason: str) -> None:
        """Note that the connection is gone, for one of `catalog.CLOSE_REASONS`."""
        if connection.state == CLOSED:
            return
        self.released(connection)
        slots, slot = self.slots, layout.CLOSE_AT[reason]
        state = connection.state
        if state != IDLE and state != IDLE_IN_OLD_POOL and state != DETACHED:  # As above.
            self.closed(connection, reason)
            return
        connection.state = CLOSED
        slots[layout.DETACHED if state == DETACHED else layout.OPEN] -= 1
        slots[slot] += 1
        self._free(connection)
        self.connections.pop(id(connection), None)

    def replaced(self, limit: int) -> None:
        """Note that a new pool with its own *limit* takes over, and that what is used now is the old one's."""
        slots, now = self.slots, self.clock() - self.origin
        if 0 <= self.limit <= self.used:
            slots[layout.SATURATED] += max(0, now - slots[layout.SATURATED_SINCE])
        self.own_limit, self.stale = limit, 0
        used, idle = (USED, IDLE) if limit == UNLIMITED else (USED_IN_OLD_POOL, IDLE_IN_OLD_POOL)
        for connection in self.live():
            if connection.is_used:
                connection.state = used
                self.stale += limit != UNLIMITED
            elif connection.is_idle:
                connection.state = idle
        self.limit = slots[layout.LIMIT] = limit + self.stale

    def read(self) -> list[int]:
        """Return a copy of the words at one moment."""
        return list(self.slots)

    def events(self) -> int:
        """Return a number that stays the same only if nothing happens."""
        slots = self.read()
        slots[layout.ORPHANED] = slots[layout.DRIFT] = slots[layout.OLDEST] = 0
        return hash(tuple(slots))

    def observe(self, orphaned: int, drift: int) -> None:
        """Write what only looking can tell: the orphans, the drift, and the oldest use without a row."""
        rowless = (connection.since for connection in self.live() if connection.is_used and not connection.row)
        self.slots[layout.OLDEST] = min(rowless, default=0)
        self.slots[layout.ORPHANED], self.slots[layout.DRIFT] = orphaned, drift

    def _free(self, connection: Connection) -> None:
        row, connection.row = connection.row, 0
        if row:
            self.slots[row + layout.SERVER_PIDS - layout.CHECKOUT_TIMES] = 0
            self._free_checkout_slots.append(row)

    def _roll(self, now: int) -> None:
        """Begin the peaks' window of *now*: keep the last one's, and the level for each that saw no event."""
        slots, used, pending = self.slots, self.used, self.pending
        last, window = slots[layout.WINDOW], now // layout.WINDOW_NS
        if window <= last:  # Another thread was faster.
            return
        for passed in range(max(last, window - layout.WINDOWS), window):
            at = passed % layout.WINDOWS
            slots[layout.USED_PEAKS + at] = self.used_peak if passed == last else used
            slots[layout.PENDING_PEAKS + at] = self.pending_peak if passed == last else pending
        slots[layout.WINDOW] = window
        self.used_peak = slots[layout.USED_PEAK] = used
        self.pending_peak = slots[layout.PENDING_PEAK] = pending
        self.window_end = (window + 1) * layout.WINDOW_NS
