"""The state machine of one pool: its counters, and the state of each of its connections.

1. Of an instrumented pool, only this module, pool_slots.py, locked_pool_state.py and checkout_details.py change slots.
2. Nothing here knows SQLAlchemy, IO, a lock, or a clock but the one that is passed in.
3. A transition is one step or several. After each step, slots and connections are consistent.
4. Between the first and the last store of a step there is no call and no loop, where CPython may switch threads, and no
   new container, which may start the garbage collector and with it another transition.

Several steps have: `acquired`, which may end the last use first; `acquire_failed`, which counts the failure and then
ends the acquire; `detached` and `closed`, which end the use, change the state, and then clear the slot; and the loops
in `replaced` and `_start_peak_window`, which the first transition of a window calls.

What is relied on. Of the GIL: a step that keeps rule 4 is indivisible for all other threads. Where there is no GIL, and
for Python code on CPython 3.10, which switches at any jump, locked_pool_state.py takes a lock. Of the machine: a slot
is 8 bytes at an address that 8 divides, and one assignment to it is one store, which a reader in another process sees
whole or not at all, on x86-64 and on arm64. Of the order of stores: nothing. x86-64 keeps it, arm64 does not, and
Python has no barrier. So no reader needs two slots to agree. One that reads between two stores is wrong by that
transition until it reads again: the next reading is correct. A sum can seem to fall for a moment, which `Monitor` and
the directory's reader hide.

One `Connection` is one opened database connection, from its opening to its close. Its transitions; the last two columns
are `replaced` by a pool with a limit and by one without (tests/state/test_transition_table.py executes both tables):

    state            | acquired         | released          | detached  | closed  | replaced         | without limit
    CLOSED           | -                | -                 | -         | -       | -                | -
    IDLE             | USED             | -                 | DETACHED  | CLOSED  | IDLE_IN_OLD_POOL | -
    USED             | -                | IDLE*             | DETACHED* | CLOSED* | USED_IN_OLD_POOL | -
    IDLE_IN_OLD_POOL | USED_IN_OLD_POOL | -                 | DETACHED  | CLOSED  | -                | IDLE
    USED_IN_OLD_POOL | -                | IDLE_IN_OLD_POOL* | DETACHED* | CLOSED* | -                | USED
    DETACHED         | -                | -                 | -         | CLOSED  | -                | -

    opened           | by the current pool | by an old pool
    with limit       | IDLE                | IDLE_IN_OLD_POOL
    without limit    | IDLE                | IDLE

"-" leaves the state: SQLAlchemy returns a connection without a checkout (after a failed reconnect), hands out one
connection twice (StaticPool) and closes one in use (SingletonThreadPool). "*" ends a use and observes its duration. A
use ends when the pool has its record back, where the next caller may get it at once: `acquired` then ends the old use.
The two states IN_OLD_POOL are for connections of a pool that was replaced and still serves its callers: they do not
count against the current pool's limit. Where that has no limit, they are not needed.

Each gauge changes only together with the state of a connection, so that it is the number of connections in that state:
OPEN_COUNT of those that are neither CLOSED nor DETACHED, DETACHED_COUNT of those that are DETACHED. Each tracked
checkout and each tracked pending caller has one slot; the untracked ones are counted. What has ended is counted before
its slot is cleared, so that a reader in between may count it twice; on arm64 it may also miss it.
"""

from bisect import bisect_left
from weakref import ref

from pool_exporter.state import layout
from pool_exporter.state.connection import (
    CLOSED,
    DETACHED,
    IDLE,
    IDLE_IN_OLD_POOL,
    NO_CALLER,
    STATE_AFTER_USE,
    USED,
    USED_IN_OLD_POOL,
    Caller,
    Connection,
    Reference,
    Token,
    place_of,
)
from pool_exporter.state.layout import BOUND, BOUNDS_NS, BUCKET, FIRST_NS, USE, USE_SUM, WAIT, WAIT_SUM
from pool_exporter.state.pool_slots import IS_COMPILED, UNLIMITED, PoolSlots
from pool_exporter.state.report_hooks import Leak
from pool_exporter.state.unit_uses import Unit


class PoolState(PoolSlots):
    """The transitions of one pool, each called at the moment at which it happens."""

    def acquire_started(self, unit: Unit | None = None) -> int:
        """Note that a caller wants a connection, and return its token, which the end of the acquire needs.

        The token is the index of the caller's slot, which holds when the acquire began; or, if no slot was free, minus
        that time in nanoseconds since `origin`, which is never 0. *unit* is the caller's unit of work.
        """
        slots, get = self.view, self._clock  # `self.clock()` would be looked up on the class first.
        if get is None:  # noqa: SIM108  # compiled, with the system's clock: both have a C type only in two statements
            now = self._now() - self.origin
        else:
            now = get() - self.origin
        if unit is not None and self in unit.held and self.is_nested(self, unit):
            slots[layout.NESTED] += 1
        try:
            token = self._free_pending_slots.pop()
        except IndexError:
            token = -now
        if token > 0:  # Not in the clauses above: CPython 3.12 lets a signal handler raise at their end.
            slots[token] = now
        else:
            slots[layout.UNTRACKED_PENDING] += 1
            slots[layout.UNTRACKED_PENDING_SINCE] += now
        pending = self.pending = self.pending + 1
        if pending > self.pending_peak:
            self.pending_peak = slots[layout.PENDING_PEAK] = pending
        return token

    def acquired(  # noqa: C901, PLR0912  # a further call costs time at each checkout
        self, token: Token, connection: Connection, checkout: Reference, caller: Caller = NO_CALLER, since: int = -1
    ) -> int:
        """End the acquire of *token* with *connection*, and begin its use; return the wait in nanoseconds."""
        if connection.is_returning:  # The pool has it back from its last user; that `returned` is still to come.
            self.returned(connection, connection.checkout)
        slots, held, wait = self.view, None, 0
        now = ((clock := self._now()) if (get := self._clock) is None else (clock := get())) - self.origin
        if clock >= self.window_end:
            self._start_peak_window(now)
        if caller[2] is not None and connection.is_idle:
            (held := caller[2].held).append(self)
        if token is not None:
            if self.waiting:
                self.waiters.granted(token, now)  # The last Python function: an interrupt in one must not find the end.
            wait, at = now - ((slots[index] or now) if (index := token) > 0 else -index), WAIT  # 0: it has moved.
            if wait > FIRST_NS:
                at += self._bucket(wait) if IS_COMPILED else (_ := BUCKET[(b := wait.bit_length())] + (wait > BOUND[b]))
            slots[at] += 1
            slots[WAIT_SUM] += wait
            if index > 0:
                slots[index] = 0
            else:
                slots[layout.UNTRACKED_PENDING] -= 1
                slots[layout.UNTRACKED_PENDING_SINCE] += index
            self.pending -= 1
        elif since >= 0 and connection.since != since:  # It was found used, and that use is not the current one.
            return 0
        connection.checkout, state = checkout, connection.state
        if state == IDLE or state == IDLE_IN_OLD_POOL:
            connection.state = USED_IN_OLD_POOL if state else USED  # IDLE is 0.
            connection.caller, connection.since = caller, clock
            if connection.slot > 0:
                slots[connection.slot] = now
            else:
                slots[layout.UNTRACKED_CHECKOUTS] += 1
                slots[layout.UNTRACKED_CHECKOUTS_SINCE] += now
            used = self.used = self.used + 1
            if used > self.used_peak:
                self.used_peak = slots[layout.USED_PEAK] = used
            if state:  # IDLE_IN_OLD_POOL
                self.used_in_old_pool += 1
                self.limit = slots[layout.LIMIT] = self.pool_limit + self.used_in_old_pool
            elif used == self.limit:
                slots[layout.SATURATED_SINCE] = now
        elif held is not None:  # Of a StaticPool, another thread has begun the use since.
            held.remove(self)
        if token is not None and token > 0:
            self._free_pending_slots.append(token)
        return wait

    def acquire_failed(self, token: int, error_type: str) -> int:
        """End an acquire that failed with one of `ERROR_TYPES`; return its wait in nanoseconds.

        Only timeouts are added to the wait histogram.
        """
        slots, now = self.view, self.clock() - self.origin
        if now >= self.window_end - self.origin:
            self._start_peak_window(now)
        wait = now - ((slots[token] or now) if token > 0 else -token)
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
        """End an acquire without counting a result."""
        slots = self.view
        if token > 0 and not slots[token] and token in self._free_pending_slots:
            return  # It ended before an interrupt. Of a caller from before a move, the slot is 0 too, but not free.
        self.pending -= 1
        if token > 0:
            slots[token] = 0
            self._free_pending_slots.append(token)
        else:
            slots[layout.UNTRACKED_PENDING] -= 1
            slots[layout.UNTRACKED_PENDING_SINCE] += token
        self.waiting.pop(token, None)

    def opened(self, took: int | None = None, *, is_old: bool = False) -> Connection:
        """Return the `Connection` for one that was opened in *took* nanoseconds, or was found open (None)."""
        connection = Connection(self)
        self.connections[id(connection)] = ref(connection)
        slots = self.view
        bucket = layout.CREATE + bisect_left(BOUNDS_NS, took or 0)
        connection.slot = layout.CHECKOUT_TIMES + self._free_checkout_slots.pop() if self._free_checkout_slots else 0
        connection.state = IDLE_IN_OLD_POOL if is_old and self.limit != UNLIMITED else IDLE
        slots[layout.CONNECTS] += 1
        slots[layout.OPEN_COUNT] += 1
        if took is not None:
            slots[bucket] += 1
            slots[layout.CREATE_SUM] += took
        return connection

    def released(self, connection: Connection) -> None:
        """End the connection's use, if there is one, before or without its return."""
        checkout = connection.checkout
        if checkout is not None and checkout() is None:
            connection.is_lost = True
        self.returned(connection, checkout)

    def returned(  # noqa: C901, PLR0912  # a further call costs time at each return
        self, connection: Connection, checkout: Reference
    ) -> None:
        """End the connection's use, if it is the one of *checkout*: another thread may have begun the next one."""
        if not self.sentinel[0]:
            self.before_event()
        slots, get = self.view, self._clock
        if get is None:  # noqa: SIM108  # as above
            clock = self._now()
        else:
            clock = get()
        if clock >= self.window_end:
            self._start_peak_window(clock - self.origin)
        use, at = clock - connection.since, USE
        if use > FIRST_NS:
            at += self._bucket(use) if IS_COMPILED else (_ := BUCKET[(b := use.bit_length())] + (use > BOUND[b]))
        elif use < 0:  # It began in another thread since the clock was read.
            use = 0
        caller = connection.caller
        # Read after the last call: StaticPool lends one connection to several threads.
        state = STATE_AFTER_USE[connection.state]
        if state < 0 or connection.checkout is not checkout:
            return
        connection.state = state
        # Kept any longer, SQLAlchemy's callback of this reference would run whenever a proxy dies.
        connection.checkout = None
        connection.caller = NO_CALLER  # An idle connection would keep a quarter of a KiB.
        connection.is_returning = False
        slots[at] += 1
        slots[USE_SUM] += use
        if connection.slot > 0:
            slots[connection.slot] = 0
        else:
            slots[layout.UNTRACKED_CHECKOUTS] -= 1
            slots[layout.UNTRACKED_CHECKOUTS_SINCE] -= connection.since - self.origin
        used = self.used
        self.used = used - 1
        is_lost = connection.is_lost
        if is_lost:
            connection.is_lost = False
            slots[layout.LEAKED] += 1
        if state == IDLE_IN_OLD_POOL:
            self.used_in_old_pool -= 1
            self.limit = slots[layout.LIMIT] = self.pool_limit + self.used_in_old_pool
        elif used == self.limit and clock - self.origin > slots[layout.SATURATED_SINCE]:  # Not begun anew meanwhile.
            slots[layout.SATURATED] += clock - self.origin - slots[layout.SATURATED_SINCE]
        if caller[2] is not None:
            self._unit_returned(caller[2], use)
        if is_lost:
            self.report_hooks.on_leak(Leak(caller[1], caller[2], place_of(caller), use))

    def detached(self, connection: Connection) -> None:
        """Note that the connection has left the pool and is still open."""
        if connection.state == CLOSED or connection.state == DETACHED:
            return
        self.released(connection)
        slots = self.view
        if connection.state != IDLE and connection.state != IDLE_IN_OLD_POOL:  # Another thread has got it since.
            self.detached(connection)
            return
        connection.state = DETACHED
        slots[layout.OPEN_COUNT] -= 1
        slots[layout.DETACHED_COUNT] += 1
        self._clear_slot(connection)

    def closed(self, connection: Connection, reason: str) -> None:
        """Note that the connection is closed, for one of `CLOSE_REASONS`."""
        if connection.state == CLOSED:
            return
        self.released(connection)
        slots, counter = self.view, layout.CLOSE_AT[reason]
        state = connection.state
        if state != IDLE and state != IDLE_IN_OLD_POOL and state != DETACHED:
            # Another thread has checked it out since.
            self.closed(connection, reason)
            return
        gauge = layout.DETACHED_COUNT if state == DETACHED else layout.OPEN_COUNT
        connection.state = CLOSED
        slots[gauge] -= 1
        slots[counter] += 1
        self._clear_slot(connection)
        self.connections.pop(id(connection), None)
