"""Turns what SQLAlchemy's pool does into transitions of the state machine, for one pool and its successors.

`dispose()` replaces an engine's pool by a successor; all of them share one `PoolHooks`. Nothing is counted here: the
transitions of the state machine do that. Checkouts arrive from `checkout_patches`, rarer events from
`lifecycle_patches`, which call the methods below.

Rules: no exception may reach the application, so each method that a patch calls is guarded, or its caller is (`adopt`).
Nothing here holds a strong reference to an engine, pool, record, driver's connection, task or thread. A pool holds its
`PoolBinding`, which holds the `PoolHooks`; a record holds its `Connection`; all of them die with their pool.
"""

from collections.abc import Callable
from functools import partial
from types import FrameType
from weakref import ref

from sqlalchemy.pool import Pool

from pool_exporter.hook_errors import guarded, guarded_once
from pool_exporter.hooks import checkout_patches
from pool_exporter.hooks.call_stack import close_reason, invalidation_reason, is_dispose
from pool_exporter.hooks.callers.bounded_lock import BoundedLock
from pool_exporter.hooks.checkout_owner import up_to_date
from pool_exporter.hooks.checkout_patches import patch_instance_connect, restore_instance_connect
from pool_exporter.hooks.corrections import catch_up, correct, find_orphans, is_abandoned, records_closed_unseen
from pool_exporter.hooks.drift_check import Drift
from pool_exporter.hooks.lifecycle_patches import PATCH_FACTORIES, mend_patches
from pool_exporter.hooks.method_patches import PatchSet, patches
from pool_exporter.hooks.open_records import open_records
from pool_exporter.hooks.pool_binding import (
    ATTRIBUTE,
    Hooks,
    PoolBinding,
    Proxied,
    Record,
    alive,
    binding_of,
    drop_dead,
    unset,
)
from pool_exporter.hooks.server_pids import server_pid_of
from pool_exporter.hooks.sqlalchemy_private import has_terminate, is_async, is_failed_ping, limit_of, pool_of, record_of
from pool_exporter.state.checkout_details import write_server_pid
from pool_exporter.state.connection import CLOSED, DETACHED, Connection
from pool_exporter.state.pool_state import PoolState


class PoolHooks:
    """The connections of one pool and its successors."""

    def __init__(self, pool: Pool, state: PoolState, patch_set: PatchSet = patches) -> None:
        self.state, self._patches = state, patch_set
        self._pools: list[ref[Pool]] = [ref(pool)]
        #: Pools that `recreate()` made and that have not served a caller yet.
        self._successors: list[ref[Pool]] = []
        #: Connections that have left the pool, by the id() of the driver's connection.
        self._detached: dict[int, Connection] = {}
        #: The id() of each record that is being closed, which takes as long as its server takes to answer.
        self._closing: set[int] = set()
        #: The id() of each record that is being opened.
        self.opening_records: set[int] = set()
        self.drift = Drift()
        self._is_removed = False
        #: Held while a pool becomes the current one, and during `remove()`.
        self._lock = BoundedLock()

    # Installing and removing.

    def install(self) -> None:
        """Instrument the pool, and count the connections that it has already."""
        checkout_patches.threads = up_to_date(checkout_patches.threads)
        for pool in self.pools():
            binding = self._bind(pool)
            binding.patch = self._patches.open(type(pool), PATCH_FACTORIES)
            patch_instance_connect(pool, binding)
            for record in open_records(pool):
                connection = self.adopt(record)
                catch_up(self.state, connection, record.fairy_ref, connection.since)

    def remove(self) -> None:
        """Remove the attributes from the pools and their records, and stop counting."""
        with self._lock.lock:
            self._is_removed = True
            for pool in [*self.pools(), *alive(self._successors)]:
                binding = binding_of(pool)
                if binding is not None and binding.hooks is self:
                    restore_instance_connect(pool, binding)
                    unset(pool)
        self._forget_connections(self.state)

    def restart_after_fork(self, state: PoolState) -> None:
        """Drop every connection without counting it and go on with *state*, in a forked child."""
        self._lock = BoundedLock()  # In the child, a thread that does not exist may hold the old one.
        parents, self.state = self.state, state
        for pool in [*self.pools(), *alive(self._successors)]:
            binding = binding_of(pool)
            if binding is not None and binding.hooks is self:
                binding.state = state
        parents.abandon_slots()  # Only now: other threads of the child wait until the new state may be used.
        self._forget_connections(parents)
        self._closing.clear()
        self.opening_records.clear()

    def pools(self) -> list[Pool]:
        """Return the pools that have served callers and are alive, the current one last."""
        return alive(self._pools)

    def adopt(self, record: Record) -> Connection:
        """Count a connection that was opened before its pool was instrumented."""
        return self._tracked(record) or self._track(record, self.state.opened())

    def _bind(self, pool: Pool) -> PoolBinding:
        binding = PoolBinding(self, self.state, is_async=is_async(pool))
        setattr(pool, ATTRIBUTE, binding)
        return binding

    def _forget_connections(self, state: PoolState) -> None:
        self._detached.clear()
        connections = state.live_connections()
        state.forget_connections()
        for connection in connections:
            record = connection.record()
            if getattr(record, ATTRIBUTE, None) is connection:
                unset(record)

    def _track(self, record: Record, connection: Connection, opened: int = 0) -> Connection:
        connection.record = ref(record)
        connection.identity = id(record.dbapi_connection)
        if not self._is_removed:
            setattr(record, ATTRIBUTE, connection)
        server_pid = server_pid_of(record)
        if server_pid and self.state.has_twice(connection):  # A creator has returned one connection twice.
            opened = 0
        write_server_pid(self.state.slots, connection.slot, server_pid, opened)
        return connection

    def _tracked(self, record: object) -> Connection | None:
        """Return the record's connection; None without one, or after a later monitor has begun to count it."""
        connection: Connection | None = getattr(record, ATTRIBUTE, None)
        if connection is None or connection.pool is not self.state:
            return None
        return None if connection.state in (CLOSED, DETACHED) else connection

    # A pool and its successor.

    @guarded
    def pool_recreated(self, pool: Pool, caller: FrameType) -> None:
        """Instrument the pool that `recreate()` made: at once for `dispose()`, else at its first checkout."""
        if hooks_of(pool) is None:  # Without the lock: there is no later occasion.
            drop_dead(self._successors)
            self._successors.append(ref(pool))
            self._bind(pool)
            if self._is_removed:  # Asked last: `remove()` may have looked before the pool was bound.
                unset(pool)
        if is_dispose(caller):
            self.activate_recreated_pool(pool)

    @guarded
    def activate_recreated_pool(self, pool: Pool) -> None:
        """Make *pool* the current one, unless it is that; where a lock is held, its next `connect()` tries again."""
        with self._lock.taken_soon() as is_taken, self._patches.lock.taken_soon() as are_patches_taken:
            binding = binding_of(pool)
            if is_taken and are_patches_taken and binding is not None and binding.patch is None:
                self.state.replaced(limit_of(pool))
                self._pools = [*map(ref, self.pools()), ref(pool)]
                drop_dead(self._successors, pool)
                binding.patch = self._patches.open(type(pool), PATCH_FACTORIES)

    # The life of a connection, in order.

    @guarded
    def opening(self, record: Record) -> None:
        """Note that the record is about to open a connection, which occupies a place of the pool."""
        self.opening_records.add(id(record))

    @guarded
    def not_opened(self, record: Record, error: BaseException) -> None:
        """Note that this has failed with *error*."""
        self.opening_records.discard(id(record))
        self.state.report_hooks.on_open_failed(error)

    @guarded
    def opened(self, record: Record, began: int | None) -> None:
        """Count a connection that the record has opened; *began* is the state's clock before that, in nanoseconds."""
        took = None if began is None else self.state.clock() - began
        before = self._tracked(record)
        if before is not None:
            self.state.closed(before, "discarded")
        connection = self.state.opened(took, is_old=self._pools[-1]() is not pool_of(record))
        self._track(record, connection, self.state.clock() - self.state.origin)
        self.opening_records.discard(id(record))
        self.state.report_hooks.on_opened()

    @guarded_once
    def invalidated(self, record: Record, e: object = None, soft: object = None, *_: object, **__: object) -> None:
        """Count the invalidation that `invalidate` makes of these arguments; a record without a connection has none."""
        if record.dbapi_connection is None:
            return
        if not self.state.sentinel[0]:
            self.state.before_event()
        connection = self._tracked(record)
        if connection is not None and not soft:
            connection.close_reason = "pre_ping" if is_failed_ping(record, e) else invalidation_reason(e)
        self.state.invalidated("soft" if soft else "hard")

    @guarded
    def closing(self, record: Record) -> None:
        """Note that the record's connection is about to be closed, and find out why."""
        connection = self._tracked(record)
        if connection is not None:
            self._closing.add(id(record))
            connection.close_reason = close_reason(record, connection.close_reason)

    @guarded
    def not_closed(self, record: Record) -> None:
        """Note that this will not happen."""
        self._closing.discard(id(record))

    @guarded
    def closed(self, record: Record) -> None:
        """Count the close of the record's connection."""
        connection = self._tracked(record)
        if connection is not None:
            # Without a reason, the pool was instrumented when the close was under way already.
            self.state.closed(connection, connection.close_reason or "discarded")
        self._closing.discard(id(record))

    @guarded
    def detaching(self, proxied: Proxied) -> None:
        """Note that the connection of *proxied* is about to leave the pool."""
        record = record_of(proxied)
        connection: Connection | None = getattr(record, ATTRIBUTE, None)
        if record is None or connection is None or connection.pool is not self.state or connection.state == CLOSED:
            return
        if connection.state != DETACHED:
            is_lost = connection.checkout is None or connection.checkout() is None
            connection.close_reason = "discarded" if is_lost else "detached"
            self.state.detached(connection)
        self._detached[connection.identity] = connection
        if connection.close_reason == "detached":
            connection.checkout = ref(proxied, partial(_collected, ref(self), connection.identity))
        elif not has_terminate(pool_of(record)):
            # The garbage collector detached it and its driver cannot close it here: no further event will come.
            self._close_detached(connection.identity, "discarded")
        if getattr(record, ATTRIBUTE, None) is connection:
            unset(record)

    @guarded
    def detached_closed(self, dbapi_connection: object) -> None:
        """Count the close of a connection, if it is one that has left the pool."""
        self._close_detached(id(dbapi_connection))

    def _close_detached(self, identity: int, reason: str = "") -> None:
        connection = self._detached.get(identity)
        if connection is not None:
            self.state.closed(connection, reason or connection.close_reason)
            self._detached.pop(identity, None)

    # Correction by polling, once for each scrape or heartbeat.

    @guarded
    def refresh(self) -> None:
        """Write what no event reports: uses that an interrupt hid, connections lost silently, orphans and the drift."""
        if not self.state.sentinel[0]:
            self.state.before_refresh()
        checkout_patches.threads = up_to_date(checkout_patches.threads)
        self.state.end_lost_acquires()
        for pool in self.pools():
            mend_patches(pool, self._patches)
        closing, connections = set(self._closing), self.state.live_connections()
        self._closing.difference_update(closing.difference(id(each.record()) for each in connections))
        for record in records_closed_unseen(connections):
            self.closed(record)
        for connection in connections:
            record = connection.record()
            if getattr(record, ATTRIBUTE, None) is connection:
                correct(self.state, connection, record, is_closing=id(record) in self._closing)
        for connection in list(self._detached.values()):  # Not items: the garbage collector may change it meanwhile.
            if is_abandoned(connection):
                self._close_detached(connection.identity, "discarded")
        orphans = find_orphans(self.state, [connection for connection in connections if connection.is_used])
        current = next(reversed([*self.pools(), *alive(self._successors)]), None)
        drift = self.drift.read(self.state, current, len(self.opening_records), is_closing=bool(self._closing))
        self.state.set_refreshed(len(orphans), max(0, drift))
        self.state.report_hooks.on_orphans(orphans)
        self.state.set_lost_places(max(0, -drift))


def hooks_of(pool: Pool) -> Hooks | None:
    """Return the hooks of *pool*; None if it is not instrumented."""
    binding = binding_of(pool)
    return None if binding is None else binding.hooks


@guarded
def _collected(hooks: Callable[[], PoolHooks | None], identity: int, _: object) -> None:
    """Count the close of a detached connection that its user has dropped: the driver's connection dies silently."""
    found = hooks()
    if found is not None:
        found._close_detached(identity, "discarded")
