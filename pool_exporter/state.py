"""The machine of one connection and the words that its pool's connections share.

Rule 1: all that changes a pool's words stands here. Rule 2: nothing here knows SQLAlchemy. Rule 3: no IO, no lock, no
clock but the one passed in. Rule 4: between a transition's first and last store there is no call, which could hand over
the GIL, and no new container, which could start the garbage collector and with it another transition (see slots.py).

One `Connection` is one opened database connection, from its opening to its close. Its transitions:

    state    | opened | granted | returned  | detached      | closed(reason) | replaced
    CLOSED   | IDLE   | -       | -         | -             | -              | -
    IDLE     | -      | USED    | -         | DETACHED      | CLOSED         | OLD
    USED     | -      | -       | IDLE, use | DETACHED, use | CLOSED, use    | STALE
    OLD      | -      | STALE   | -         | DETACHED      | CLOSED         | -
    STALE    | -      | -       | OLD, use  | DETACHED, use | CLOSED, use    | -
    DETACHED | -      | -       | -         | -             | CLOSED         | -

"-" changes nothing: SQLAlchemy announces a return without a checkout (after a failed reconnect), grants one connection
twice (StaticPool) and closes one in use (SingletonThreadPool). "use" ends a use and observes its duration. OLD and
STALE are IDLE and USED of a pool that was replaced and still serves who waits there: they do not count against the new
pool's limit. (Without a limit they are not told apart.)

Gauges are memberships: OPEN counts those that are neither CLOSED nor DETACHED; a row is taken by each that is USED or
STALE, and by each caller that waits; DETACHED counts those that are DETACHED. Each is changed only together with the
state of a connection or caller. What has ended is counted before the row is given back: a reader in between sees it
twice, never not at all.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final
from weakref import ref

from pool_exporter import layout
from pool_exporter.connection import CLOSED, DETACHED, IDLE, OLD, STALE, USED, Connection, Reference, nothing
from pool_exporter.layout import BOUNDS_NS, FIRST_BOUND_NS, USE, USE_SUM, WAIT, WAIT_SUM
from pool_exporter.slots import Words, allocate
from pool_exporter.slow import Slow

UNLIMITED: Final = -1


class PoolState:
    """The words of one pool and the connections behind them."""

    def __init__(self, clock: Callable[[], int], limit: int = UNLIMITED, words: Words | None = None) -> None:
        self.clock, self.connections = clock, dict[int, ref[Connection]]()
        #: 0 in a process that was forked without a word; then `strayed` has another state take this one's place.
        self.mark: Sequence[int] = b"\1"
        self.strayed: Callable[[], None] = nothing
        # The counters of given words go on, and their gauges are zero but for these.
        self.words = allocate() if words is None else words
        self.slow = Slow()
        self.words[layout.WINDOW] = self.words[layout.USED_PEAK] = self.words[layout.PENDING_PEAK] = 0
        self.origin = self.words[layout.ORIGIN] = clock() - 1
        # These stand among the words too; read there, they would cost more.
        self.limit = self.words[layout.LIMIT] = self.own_limit = limit
        self.used = self.used_peak = self.pending = self.pending_peak = self.stale = 0
        self.window_end = layout.WINDOW_NS
        self._use_rows, self._ask_rows = list(layout.USE_ROWS), list(layout.ASK_ROWS)

    def move(self, words: Words) -> None:
        """Go on elsewhere, with no call between the copy and the first store to it."""
        words[:] = array("q", self.words)
        self.words = words

    def live(self) -> list[Connection]:
        """Return the connections that are not closed."""
        found = [reference() for reference in list(self.connections.values())]
        return [connection for connection in found if connection is not None]

    def abandon(self) -> None:
        """Let go of every connection without counting it: nobody watches any more."""
        for connection in self.live():
            connection.state = CLOSED
        self.connections.clear()

    def leave(self) -> None:
        """Touch the words no more, which are the parent process's; what callers under way still say goes nowhere."""
        self.words, self.mark = allocate(), b"\1"

    def asked(self) -> int:
        """Note that a caller asks for a connection; return what `granted`, `failed` or `forgotten` wants to know."""
        words, now = self.words, self.clock() - self.origin
        try:
            ask = self._ask_rows.pop()
        except IndexError:
            ask = -now
            words[layout.ASKS] += 1
            words[layout.ASKS_SINCE] += now
        else:
            words[ask] = now
        pending = self.pending = self.pending + 1
        if pending > self.pending_peak:
            self.pending_peak = words[layout.PENDING_PEAK] = pending
        return ask

    def granted(self, ask: int | None, connection: Connection, checkout: Reference, owner: Reference) -> int:
        """Give *connection* to the caller of *ask*, None if it was found used; return the wait in nanoseconds."""
        words, now, wait = self.words, self.clock() - self.origin, 0
        if now >= self.window_end:
            self._roll(now)
        if ask is not None:
            wait = now - (words[ask] if ask > 0 else -ask)
            bucket = WAIT if wait <= FIRST_BOUND_NS else WAIT + bisect_left(BOUNDS_NS, wait)
            words[bucket] += 1
            words[WAIT_SUM] += wait
            if ask > 0:
                words[ask] = 0
            else:
                words[layout.ASKS] -= 1
                words[layout.ASKS_SINCE] += ask
            self.pending -= 1
        connection.checkout = checkout
        state = connection.state
        if state == IDLE or state == OLD:
            connection.state = USED if state == IDLE else STALE
            connection.owner = owner
            connection.since = now
            if connection.row:
                words[connection.row] = now
            else:
                words[layout.USES] += 1
                words[layout.USES_SINCE] += now
            used = self.used = self.used + 1
            if used > self.used_peak:
                self.used_peak = words[layout.USED_PEAK] = used
            if state == OLD:
                self.stale += 1
                self.limit = words[layout.LIMIT] = self.own_limit + self.stale
            elif used == self.limit:
                words[layout.SATURATED_SINCE] = now
        if ask is not None and ask > 0:
            self._ask_rows.append(ask)
        return wait

    def failed(self, ask: int, error_type: str) -> int:
        """Note that the caller of *ask* got no connection, and return its wait; unless by a timeout, it is not one."""
        words, now = self.words, self.clock() - self.origin
        if now >= self.window_end:
            self._roll(now)
        wait = now - (words[ask] if ask > 0 else -ask)
        failure, bucket = layout.FAILURE_AT[error_type], WAIT + bisect_left(BOUNDS_NS, wait)
        words[failure] += 1
        if error_type == "timeout":
            words[bucket] += 1
            words[WAIT_SUM] += wait
        else:
            words[layout.FAILED_NS] += wait
        self.forgotten(ask)
        return wait

    def forgotten(self, ask: int) -> None:
        """Take back that the caller of *ask* is pending; by itself, when nothing better can be said of it."""
        words = self.words
        if ask > 0 and not words[ask]:  # A caller from before a fork.
            return
        self.pending -= 1
        if ask > 0:
            words[ask] = 0
            self._ask_rows.append(ask)
        else:
            words[layout.ASKS] -= 1
            words[layout.ASKS_SINCE] += ask

    def opened(self, took: int | None = None, *, is_old: bool = False) -> Connection:
        """Return the machine of a connection just opened in *took* nanoseconds, or found open (None)."""
        connection = Connection(self)
        self.connections[id(connection)] = ref(connection)
        words = self.words
        bucket = layout.CREATE + bisect_left(BOUNDS_NS, took or 0)
        connection.row = self._use_rows.pop() if self._use_rows else 0
        connection.state = OLD if is_old and self.limit != UNLIMITED else IDLE
        words[layout.CONNECTS] += 1
        words[layout.OPEN] += 1
        if took is not None:
            words[bucket] += 1
            words[layout.CREATE_SUM] += took
        return connection

    def returned(self, connection: Connection) -> None:
        """End the connection's use, if there is one."""
        if not self.mark[0]:
            self.strayed()
        words = self.words
        now = self.clock() - self.origin
        if now >= self.window_end:
            self._roll(now)
        use = max(0, now - connection.since)
        bucket = USE if use <= FIRST_BOUND_NS else USE + bisect_left(BOUNDS_NS, use)
        checkout = connection.checkout
        lost = checkout is not None and checkout() is None
        state = connection.state  # Read after the last call: StaticPool lends one connection to several threads.
        if state != USED and state != STALE:
            return
        connection.state = IDLE if state == USED else OLD
        words[bucket] += 1
        words[USE_SUM] += use
        if connection.row:
            words[connection.row] = 0
        else:
            words[layout.USES] -= 1
            words[layout.USES_SINCE] -= connection.since
        used = self.used
        self.used = used - 1
        if lost:
            words[layout.LEAKED] += 1
        if state == STALE:
            self.stale -= 1
            self.limit = words[layout.LIMIT] = self.own_limit + self.stale
        elif used == self.limit and now > words[layout.SATURATED_SINCE]:  # It began anew since the clock was read.
            words[layout.SATURATED] += now - words[layout.SATURATED_SINCE]

    def invalidated(self, kind: str) -> None:
        """Count an invalidation, "hard" or "soft"."""
        self.words[layout.INVALIDATION_AT[kind]] += 1

    def detached(self, connection: Connection) -> None:
        """Note that the connection has left the pool and is still open."""
        if connection.state == CLOSED or connection.state == DETACHED:
            return
        self.returned(connection)
        words = self.words
        if connection.state != IDLE and connection.state != OLD:  # Another thread got it meanwhile.
            self.detached(connection)
            return
        connection.state = DETACHED
        words[layout.OPEN] -= 1
        words[layout.DETACHED] += 1
        self._free(connection)

    def closed(self, connection: Connection, reason: str) -> None:
        """Note that the connection is gone, for one of `catalog.CLOSE_REASONS`."""
        if connection.state == CLOSED:
            return
        self.returned(connection)
        words, slot = self.words, layout.CLOSE_AT[reason]
        state = connection.state
        if state != IDLE and state != OLD and state != DETACHED:  # As above.
            self.closed(connection, reason)
            return
        connection.state = CLOSED
        words[layout.DETACHED if state == DETACHED else layout.OPEN] -= 1
        words[slot] += 1
        self._free(connection)
        self.connections.pop(id(connection), None)

    def replaced(self, limit: int) -> None:
        """Note that a new pool with its own *limit* takes over, and that what is used now is the old one's."""
        words, now = self.words, self.clock() - self.origin
        if 0 <= self.limit <= self.used:
            words[layout.SATURATED] += max(0, now - words[layout.SATURATED_SINCE])
        self.own_limit, self.stale = limit, 0
        used, idle = (USED, IDLE) if limit == UNLIMITED else (STALE, OLD)
        for connection in self.live():
            if connection.is_used:
                connection.state = used
                self.stale += limit != UNLIMITED
            elif connection.is_idle:
                connection.state = idle
        self.limit = words[layout.LIMIT] = limit + self.stale

    def read(self) -> list[int]:
        """Return a copy of the words at one moment."""
        return list(self.words)

    def events(self) -> int:
        """Return a number that stays the same only if nothing happens."""
        words = self.read()
        words[layout.ORPHANED] = words[layout.DRIFT] = words[layout.OLDEST] = 0
        return hash(tuple(words))

    def observe(self, orphaned: int, drift: int) -> None:
        """Write what only looking can tell: the orphans, the drift, and the oldest use without a row."""
        rowless = (connection.since for connection in self.live() if connection.is_used and not connection.row)
        self.words[layout.OLDEST] = min(rowless, default=0)
        self.words[layout.ORPHANED], self.words[layout.DRIFT] = orphaned, drift

    def _free(self, connection: Connection) -> None:
        row, connection.row = connection.row, 0
        if row:
            self.words[row + layout.SERVER_ROW - layout.USE_ROW] = 0
            self._use_rows.append(row)

    def _roll(self, now: int) -> None:
        """Begin the peaks' window of *now*: keep the last one's, and the level for each that saw no event."""
        words, used, pending = self.words, self.used, self.pending
        last, window = words[layout.WINDOW], now // layout.WINDOW_NS
        if window <= last:  # Another thread was faster.
            return
        for passed in range(max(last, window - layout.WINDOWS), window):
            at = passed % layout.WINDOWS
            words[layout.USED_PEAKS + at] = self.used_peak if passed == last else used
            words[layout.PENDING_PEAKS + at] = self.pending_peak if passed == last else pending
        words[layout.WINDOW] = window
        self.used_peak = words[layout.USED_PEAK] = used
        self.pending_peak = words[layout.PENDING_PEAK] = pending
        self.window_end = (window + 1) * layout.WINDOW_NS
