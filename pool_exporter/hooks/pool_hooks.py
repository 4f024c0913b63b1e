"""From SQLAlchemy's pool to the state machine: what hangs on one pool and those that come after it, as an engine's do.

Nothing is counted here: each thing that happens becomes one transition of state.py. Checkouts come by acquire.py, the
rarer things by lifecycle.py, which call the methods below. Private names of SQLAlchemy stand in records.py, doors.py,
acquire.py, lifecycle.py and here, nowhere else.

What may not happen here: an exception that reaches the application (each entry point is guarded), and a strong
reference to an engine, pool, record, connection, task or thread. What hangs on what: a pool holds its `Watch` and that
the `Hooks`; a record holds its `Connection`; both die with their pool.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import RLock
from typing import Any
from weakref import ref

from sqlalchemy import exc
from sqlalchemy.pool import Pool

from pool_exporter.hook_errors import guarded
from pool_exporter.hooks.checkout_owner import is_finished, name_of
from pool_exporter.hooks.checkout_patches import PoolBinding, patch_instance_connect, restore_instance_connect
from pool_exporter.hooks.drift_check import Drift
from pool_exporter.hooks.lifecycle_patches import PATCH_FACTORIES
from pool_exporter.hooks.method_patches import ATTRIBUTE, patches
from pool_exporter.hooks.sqlalchemy_private import close_reason, limit_of, open_records, pool_of, server_pid_of
from pool_exporter.state.checkout_details import write_owner, write_server_pid
from pool_exporter.state.connection import CLOSED, DETACHED, Connection, Reference
from pool_exporter.state.pool_state import PoolState


class PoolHooks:
    """All that is known of one pool and its successors."""

    def __init__(self, pool: Pool, state: PoolState) -> None:
        self.state = state
        #: Who installed it; whoever finds these hooks on a pool finds the monitor by it.
        self.monitor: Any = None
        #: Gives the words back, once; whoever placed them sets it.
        self.release: Any = None
        self._pools: list[ref[Pool]] = [ref(pool)]
        #: Pools that may come after, which nobody has asked for a connection yet.
        self._successors: list[ref[Pool]] = []
        self._detached: dict[int, Connection] = {}
        #: The id() of records that are being closed, which may take as long as a server that hangs.
        self._closing: set[int] = set()
        self.drift = Drift()
        self._is_removed = False
        self._lock = RLock()

    # Installing and removing.

    def install(self) -> None:
        """Watch the pool, and take over the connections that it has already."""
        for pool in self.pools():
            binding = self._watch(pool)
            binding.patch = patches.open(type(pool), PATCH_FACTORIES)
            patch_instance_connect(pool, binding)
            record: Any
            for record in open_records(pool):
                self._catch_up(self.adopt(record), record.fairy_ref)

    def remove(self) -> None:
        """Take away what the pools and their records carry."""
        with self._lock:
            self._is_removed = True
            for pool in [*self.pools(), *_alive(self._successors)]:
                binding: PoolBinding | None = getattr(pool, ATTRIBUTE, None)
                if binding is not None and binding.hooks is self:
                    restore_instance_connect(pool, binding)
                    _take(pool)
        self._let_go()

    def restart_after_fork(self, state: PoolState) -> None:
        """Drop every connection without counting it and go on with *state*, as a forked child does."""
        self._lock = RLock()  # In the child, a thread that is not there may hold the old one.
        self.state.abandon_slots()
        self._let_go()
        self._closing.clear()
        self.state = state
        for pool in [*self.pools(), *_alive(self._successors)]:
            binding: PoolBinding | None = getattr(pool, ATTRIBUTE, None)
            if binding is not None and binding.hooks is self:
                binding.state = state

    def pools(self) -> list[Pool]:
        """Return the pools that have served and are alive, the current one last."""
        return _alive(self._pools)

    def adopt(self, record: Any) -> Connection:
        """Take over a connection that was opened before anyone watched."""
        return self._tracked(record) or self._track(record, self.state.opened())

    def _watch(self, pool: Pool) -> PoolBinding:
        binding = PoolBinding(self, self.state, is_async=pool._dialect.is_async)
        setattr(pool, ATTRIBUTE, binding)
        return binding

    def _let_go(self) -> None:
        self._detached.clear()
        connections = self.state.live_connections()
        self.state.forget_connections()
        for connection in connections:
            record = connection.record()
            if getattr(record, ATTRIBUTE, None) is connection:
                _take(record)

    def _catch_up(self, connection: Connection, checkout: Reference) -> None:
        """Take a connection for used that somebody got who had asked before the pool was watched."""
        if connection.is_idle and checkout is not None and checkout() is not None:
            self.state.acquired(None, connection, checkout, None)

    def _track(self, record: Any, connection: Connection) -> Connection:
        connection.record = ref(record)
        connection.identity = id(record.dbapi_connection)
        if not self._is_removed:
            setattr(record, ATTRIBUTE, connection)
        write_server_pid(self.state.slots, connection.slot, server_pid_of(record))
        return connection

    def _tracked(self, record: Any) -> Connection | None:
        """Return the connection that the record holds, unless it is others': these hooks may have been removed."""
        connection: Connection | None = getattr(record, ATTRIBUTE, None)
        if connection is None or connection.pool is not self.state:
            return None
        return None if connection.state in (CLOSED, DETACHED) else connection

    # One pool comes after another.

    @guarded
    def pool_recreated(self, pool: Pool, *, at_once: bool) -> None:
        """Watch the pool that `recreate()` made: *at_once*, or from its first caller on, for it may never get one."""
        with self._lock:
            if not self._is_removed and hooks_of(pool) is None:
                self._watch(pool)
                self._successors = [*filter(_is_alive, self._successors), ref(pool)]
        if at_once:
            self.activate_recreated_pool(pool)

    @guarded
    def activate_recreated_pool(self, pool: Pool) -> None:
        """Go on with a pool that comes after, unless that is done."""
        with self._lock:
            binding: PoolBinding | None = getattr(pool, ATTRIBUTE, None)
            if binding is not None and binding.patch is None:
                self.state.replaced(limit_of(pool))
                self._pools = [*filter(_is_alive, self._pools), ref(pool)]
                self._successors = [each for each in self._successors if each() not in (None, pool)]
                binding.patch = patches.open(type(pool), PATCH_FACTORIES)

    # What happens to a connection, in the order of its life.

    @guarded
    def opened(self, record: Any, began: int | None) -> None:
        """Note that the record has opened a connection, which *began* at this time of the state's clock."""
        took = None if began is None else self.state.clock() - began
        before = self._tracked(record)
        if before is not None:
            self.state.closed(before, "discarded")
        self._track(record, self.state.opened(took, is_old=self._pools[-1]() is not pool_of(record)))

    @guarded
    def invalidated(self, record: Any, error: BaseException | None, *, is_soft: bool) -> None:
        """Note that the record's connection is being declared unusable."""
        self._settle_down()
        self.state.invalidated("soft" if is_soft else "hard")
        connection = self._tracked(record)
        if connection is not None and not is_soft:
            is_ping = pool_of(record)._pre_ping and isinstance(error, exc.InvalidatePoolError)
            connection.close_reason = "pre_ping" if is_ping else "invalidate"

    @guarded
    def closing(self, record: Any) -> None:
        """Note that the record's connection is about to be closed; who wants it is on the stack."""
        connection = self._tracked(record)
        if connection is not None:
            self._closing.add(id(record))
            connection.close_reason = close_reason(record, connection.close_reason)

    @guarded
    def closed(self, record: Any) -> None:
        """Note that the record's connection is closed."""
        connection = self._tracked(record)
        if connection is not None:
            # Without a mark, who watches now was not there yet when the closing began.
            self.state.closed(connection, connection.close_reason or "discarded")
        self._closing.discard(id(record))

    @guarded
    def detaching(self, record: Any, proxied: Any) -> None:
        """Note that the record's connection is leaving the pool with *proxied*."""
        connection = self._tracked(record)
        if connection is None:
            return
        _take(record)
        is_lost = connection.checkout is None or connection.checkout() is None
        self.state.detached(connection)
        self._detached[connection.identity] = connection
        if not is_lost:
            connection.checkout = ref(proxied, partial(_collected, ref(self), connection.identity))
        elif not pool_of(record)._dialect.has_terminate:
            # The garbage collector returned it, and nobody is able to close it: nothing else will happen to it.
            self._close_detached(connection.identity, "discarded")

    @guarded
    def detached_closed(self, dbapi_connection: object) -> None:
        """Note that a connection is closed, if it is one that has left the pool."""
        self._close_detached(id(dbapi_connection), "detached")

    def _close_detached(self, identity: int, reason: str) -> None:
        connection = self._detached.pop(identity, None)
        if connection is not None:
            self.state.closed(connection, reason)

    def _settle_down(self) -> None:
        if not self.state.sentinel[0]:
            self.state.on_fork_detected()

    # Looking.

    @guarded
    def refresh(self) -> None:
        """Write what nothing tells: uses that an interrupt hid, connections lost unannounced, orphans, the drift."""
        self._settle_down()
        connections = self.state.live_connections()
        for connection in connections:
            record = connection.record()
            if getattr(record, ATTRIBUTE, None) is connection:
                self._correct(connection, record)
        for identity, connection in list(self._detached.items()):
            if _is_let_go(connection):
                self._close_detached(identity, "discarded")
        used = [connection for connection in connections if connection.is_used]
        for connection in used:
            if connection.owner is not None:
                write_owner(self.state.slots, connection.slot, name_of(connection.owner))
        pool = next(reversed([*self.pools(), *_alive(self._successors)]), None)
        drift = self.drift.read(self.state, pool, is_closing=bool(self._closing))
        self.state.set_refreshed(sum(map(_is_orphan, used)), drift)

    def _correct(self, connection: Connection, record: Any) -> None:
        since, checkout = connection.since, record.fairy_ref
        if connection.is_used:
            if checkout is None and connection.since == since:
                self.state.released(connection)  # It is just being returned, or an interrupt kept us from noting it.
        elif not self.state.pending and record.fairy_ref is checkout:
            # A caller who is pending may have the record already and only wait for its ping.
            self._catch_up(connection, checkout)


def hooks_of(pool: Pool) -> PoolHooks | None:
    """Return what watches *pool*."""
    binding: PoolBinding | None = getattr(pool, ATTRIBUTE, None)
    return None if binding is None else binding.hooks


def _take(carrier: object) -> None:
    with suppress(AttributeError):
        delattr(carrier, ATTRIBUTE)


def _is_alive(reference: Callable[[], object]) -> bool:
    return reference() is not None


def _alive(references: list[ref[Pool]]) -> list[Pool]:
    found = [reference() for reference in list(references)]
    return [pool for pool in found if pool is not None]


def _is_let_go(connection: Connection) -> bool:
    """Tell whether a detached connection was dropped unannounced: its proxy's last rollback failed."""
    proxied = None if connection.checkout is None else connection.checkout()
    return proxied is not None and proxied.dbapi_connection is None


def _is_orphan(connection: Connection) -> bool:
    return connection.owner is not None and is_finished(connection.owner)


@guarded
def _collected(hooks: Callable[[], PoolHooks | None], identity: int, _: object) -> None:
    """Close a detached connection whose user has dropped it: its driver's connection goes with it, without an event."""
    found = hooks()
    if found is not None:
        found._close_detached(identity, "discarded")
