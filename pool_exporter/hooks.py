"""From SQLAlchemy's pool to the state machine: what is installed for one engine, and what each event means.

Nothing is counted here: each thing that happens becomes one transition of state.py. Checkouts come by acquire.py, the
rarer things by events of the pool, whose listeners SQLAlchemy copies to the pool that `Engine.dispose()` puts in its
place. Private names of SQLAlchemy stand in records.py, acquire.py, listeners.py and here, nowhere else.

What may not happen here: an exception that reaches the application (each entry point is guarded), and a strong
reference to an engine, pool, record, connection, task or thread. What hangs on what: a pool's event collections and its
replaced methods hold the `Hooks` or their state; a record holds its `Connection`; both die with their pool.
"""

import time
from collections.abc import Callable
from functools import partial
from threading import RLock
from typing import Any, Final
from weakref import ref

from sqlalchemy import exc
from sqlalchemy.pool import Pool, QueuePool

from pool_exporter.acquire import arm, disarm
from pool_exporter.beside import write_owner, write_server
from pool_exporter.connection import CLOSED, Connection
from pool_exporter.guard import guarded
from pool_exporter.layout import DRIFT
from pool_exporter.listeners import listen, unlisten
from pool_exporter.owners import is_finished, name_of
from pool_exporter.records import ATTRIBUTE, close_reason, limit_of, open_records, pool_of, server_number
from pool_exporter.slots import Words
from pool_exporter.state import UNLIMITED, PoolState

_POOL_EVENTS: Final = ("connect", "close", "invalidate", "soft_invalidate", "detach", "close_detached")


class Hooks:
    """All that is installed for one pool and those that come after it, as an engine's do."""

    def __init__(self, pool: Pool, state: PoolState, wall_clock: Callable[[], float] = time.time) -> None:
        self.state = state
        #: Who installed it; whoever finds these hooks on a pool finds the monitor by it.
        self.monitor: Any = None
        #: Gives the words back, once; whoever placed them sets it.
        self.release: Any = None
        self._wall_clock = wall_clock
        self._first = ref(pool)
        self._pools: list[ref[Pool]] = []
        self._detached: dict[int, Connection] = {}
        self._closing: list[Callable[[], Any]] = []
        self._looked: tuple[list[int], int] = ([], 0)
        self._is_removed = False
        self._lock = RLock()

    # Installing and removing.

    def install(self) -> None:
        """Listen, and take over the connections that the pool has already."""
        pool = self._first()
        if pool is not None:
            self.arm(pool)
            for name in _POOL_EVENTS:
                listen(pool, name, getattr(self, f"_on_{name}"))
            self._adopt(pool)

    def remove(self) -> None:
        """Take everything away again: the listeners, the replaced methods, and what the records carry."""
        first, pools = self._first(), self.pools()
        with self._lock:
            self._is_removed = True
        for name in _POOL_EVENTS:
            unlisten(first, pools, name, getattr(self, f"_on_{name}"))
        for pool in pools:
            disarm(pool)
            pool.__dict__.pop(ATTRIBUTE, None)
        self.forget()

    def forget(self, words: Words | None = None) -> None:
        """Drop every connection without counting it, as a forked child does with its parent's, and go on on *words*."""
        self._lock = RLock()  # In the child, a thread that is not there may hold the old one.
        self._detached.clear()
        connections = self.state.live()
        # First of all: what is collected below would be counted as closed, and in a child among its parent's numbers.
        self.state.reset(next((limit_of(pool) for pool in reversed(self.pools())), UNLIMITED), words)
        for connection in connections:
            record = connection.record()
            if record is not None and record.__dict__.get(ATTRIBUTE) is connection:
                record.__dict__.pop(ATTRIBUTE, None)

    def pools(self) -> list[Pool]:
        """Return the pools that are watched and alive, the current one last."""
        found = [reference() for reference in list(self._pools)]
        return [pool for pool in found if pool is not None]

    def found(self, record: Any) -> Connection:
        """Take over a connection that was opened before anyone watched."""
        return self._tracked(record) or self._track(record, self.state.opened())

    def arm(self, pool: Pool) -> None:
        """Time the checkouts of a pool that has the listeners."""
        with self._lock:
            # Somebody may have been faster, or have removed the listeners that this thread is running through.
            if not self._is_removed and ATTRIBUTE not in pool.__dict__:
                self._pools = [*(reference for reference in self._pools if reference() is not None), ref(pool)]
                pool.__dict__[ATTRIBUTE] = self
                arm(pool, self.state, self.found, self.succeeded)

    @guarded
    def succeeded(self, pool: Pool) -> None:
        """Go on with the pool that comes after; the listeners are there already."""
        self.state.replaced(limit_of(pool))
        self.arm(pool)

    def _adopt(self, pool: Pool) -> None:
        """Take over the connections that the pool has already."""
        record: Any
        for record in open_records(pool):
            self._catch_up(self.found(record), record.fairy_ref)

    def _catch_up(self, connection: Connection, checkout: Callable[[], object] | None) -> None:
        """Take a connection for used that somebody got who had asked before the pool was watched."""
        if connection.is_idle and checkout is not None and checkout() is not None:
            self.state.granted(None, connection, checkout, None)

    def _track(self, record: Any, connection: Connection) -> Connection:
        connection.record = ref(record)
        connection.identity = id(record.dbapi_connection)
        if not self._is_removed:
            record.__dict__[ATTRIBUTE] = connection
        write_server(self.state.words, connection.row, server_number(record))
        return connection

    def _tracked(self, record: Any) -> Connection | None:
        """Return the record's open connection, unless it is others': these hooks were removed and others installed."""
        connection: Connection | None = record.__dict__.get(ATTRIBUTE)
        is_ours = connection is not None and connection.pool is self.state and connection.state != CLOSED
        return connection if is_ours else None

    # The pool's events, in the order of a connection's life.

    @guarded
    def _on_connect(self, dbapi_connection: object, record: Any) -> None:
        took = max(0, int((self._wall_clock() - record.starttime) * 1e9))
        before = self._tracked(record)
        if before is not None:
            self._settle(before)
        self._track(record, self.state.opened(took, is_old=self._pools[-1]() is not pool_of(record)))

    def _settle(self, connection: Connection) -> None:
        """End what was on a record that opens another connection: it is being detached, or was lost unannounced."""
        if connection.is_idle:
            self.state.closed(connection, "discarded")
        else:
            self._leave(connection)

    @guarded
    def _on_invalidate(self, dbapi_connection: object, record: Any, error: BaseException | None) -> None:
        self._settle_down()
        self.state.invalidated("hard")
        connection = self._tracked(record)
        if connection is not None:
            is_ping = pool_of(record)._pre_ping and isinstance(error, exc.InvalidatePoolError)
            connection.mark = "pre_ping" if is_ping else "invalidate"

    @guarded
    def _on_soft_invalidate(self, dbapi_connection: object, record: Any, error: BaseException | None) -> None:
        self._settle_down()
        self.state.invalidated("soft")

    @guarded
    def _on_close(self, dbapi_connection: object, record: Any) -> None:
        connection = self._tracked(record)
        if connection is not None:
            self.state.closed(connection, close_reason(record, connection.mark))
            self._closing = [*filter(self._is_closing, self._closing), ref(record)]

    @guarded
    def _on_detach(self, dbapi_connection: object, record: Any) -> None:
        connection = self._tracked(record)
        if connection is not None and connection.identity == id(dbapi_connection):
            record.__dict__.pop(ATTRIBUTE, None)
            self._leave(connection)
            lost = connection.checkout is None or connection.checkout() is None
            if lost and not pool_of(record)._dialect.has_terminate:
                # The garbage collector returned it, and nobody is able to close it: no other event will come.
                self._close_detached(connection.identity, "discarded")

    def _leave(self, connection: Connection) -> None:
        self.state.detached(connection)
        self._detached[connection.identity] = connection
        proxied = None if connection.checkout is None else connection.checkout()
        if proxied is not None:
            connection.checkout = ref(proxied, partial(_collected, ref(self), connection.identity))

    @guarded
    def _on_close_detached(self, dbapi_connection: object) -> None:
        self._close_detached(id(dbapi_connection), "detached")

    def _close_detached(self, identity: int, reason: str) -> None:
        connection = self._detached.pop(identity, None)
        if connection is not None:
            self.state.closed(connection, reason)

    def _settle_down(self) -> None:
        if not self.state.mark[0]:
            self.state.strayed()

    # Looking.

    def look(self) -> None:
        """Write what no event tells: connections lost unannounced, orphans, the drift."""
        self._settle_down()
        connections = self.state.live()
        for connection in connections:
            record = connection.record()
            if connection.is_idle and record is not None and record.dbapi_connection is None:
                # It was opened, and another listener of the connect event raised: SQLAlchemy drops it without an event.
                self.state.closed(connection, "discarded")
            elif record is not None and not self.state.pending:
                # While a caller is pending, it may have the record already and only wait for its ping.
                self._catch_up(connection, record.fairy_ref)
        for identity, connection in list(self._detached.items()):
            if _is_let_go(connection):
                self._close_detached(identity, "discarded")
        used = [connection for connection in connections if connection.is_used]
        for connection in used:
            if connection.owner is not None:
                write_owner(self.state.words, connection.row, name_of(connection.owner))
        orphaned = sum(map(_is_orphan, used))
        self.state.observe(orphaned, self._drift())

    def _drift(self) -> int:
        """Compare our used count with the pool's own; it counts only if nothing happened since the look before.

        Nor does it count while a caller is pending or a connection is being closed, which may take as long as a server
        that hangs: either has its place in the pool, and no connection there.
        """
        pool = next(reversed(self.pools()), None)
        if not isinstance(pool, QueuePool):
            return 0
        ours = sum(connection.is_used and _is_of(connection, pool) for connection in self.state.live())
        events, drift = self.state.events(), ours - pool.checkedout()
        is_moving = self.state.pending or any(map(self._is_closing, self._closing))
        settled = self._looked == (events, drift) and not is_moving
        self._looked = (events, drift)
        return drift if settled else self.state.words[DRIFT]

    def _is_closing(self, reference: Callable[[], Any]) -> bool:
        """Tell whether the record that was about to be closed still is: nothing says when that has ended."""
        record = reference()
        return record is not None and record.dbapi_connection is not None and self._tracked(record) is None


def hooks_of(pool: Pool) -> Hooks | None:
    """Return what watches *pool*."""
    found: Hooks | None = pool.__dict__.get(ATTRIBUTE)
    return found


def _is_of(connection: Connection, pool: Pool) -> bool:
    record = connection.record()
    return record is not None and pool_of(record) is pool


def _is_let_go(connection: Connection) -> bool:
    """Tell whether a detached connection was dropped unannounced: its proxy's last rollback failed."""
    proxied = None if connection.checkout is None else connection.checkout()
    return proxied is not None and proxied.dbapi_connection is None


def _is_orphan(connection: Connection) -> bool:
    return connection.owner is not None and is_finished(connection.owner)


@guarded
def _collected(hooks: Callable[[], Hooks | None], identity: int, _: object) -> None:
    """Close a detached connection whose user has dropped it: its driver's connection goes with it, without an event."""
    found = hooks()
    if found is not None:
        found._close_detached(identity, "discarded")
