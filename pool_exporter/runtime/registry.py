"""The instrumented pools of this process: their monitors and slots, the heartbeat, and what happens at a fork.

The registry holds pools weakly: of one that the application drops only the counters stay. `changing()` guards
additions and removals; reading needs no lock. What a hook calls waits a few milliseconds at most. Nothing may render.
"""

import atexit
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.pool import Pool

from pool_exporter.hook_errors import errors, guarded
from pool_exporter.hooks.callers.bounded_lock import BoundedLock
from pool_exporter.hooks.callers.nested import is_nested
from pool_exporter.hooks.method_patches import patches
from pool_exporter.hooks.pool_description import config_of
from pool_exporter.hooks.pool_hooks import PoolHooks, hooks_of
from pool_exporter.hooks.sqlalchemy_private import limit_of
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.ended_pools import EndedPools
from pool_exporter.runtime.files.process_file import WAITING, ProcessFile
from pool_exporter.runtime.forks.unseen_child import UnseenChild
from pool_exporter.runtime.heartbeat import Heartbeat
from pool_exporter.runtime.instrumented_pool import HooksReference, InstrumentedPool, abandon_slots
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.runtime.pool_monitor import PoolMonitor
from pool_exporter.runtime.pool_names import PoolNames
from pool_exporter.runtime.process_end import ProcessEnd
from pool_exporter.runtime.storage import Storage
from pool_exporter.state.layout import Slots
from pool_exporter.state.locked_pool_state import pool_state
from pool_exporter.state.pool_state import PoolState

if TYPE_CHECKING:
    from pool_exporter.metrics.snapshot import Snapshot

RESTART_SECONDS: Final = 0.005
"""How long a call in a child that was forked in C waits while another thread restarts the registry."""


class Registry(ProcessFile):
    """The instrumented pools of this process."""

    def __init__(self) -> None:
        super().__init__()
        #: Whether SQLAlchemy's methods stay replaced without any pool, as `instrument_all()` needs it.
        self.keeps_patches = False
        self._names, self.unseen_child = PoolNames(), UnseenChild()
        self._instrumented = self._restarting = 0
        self._heartbeat: Heartbeat | None = None
        #: Whether the environment was read.
        self.is_prepared = self._is_in_hook = False
        #: Per process id: the lock under which a forked child restarts. The parent's own lock may be held for ever.
        self._restart_locks: dict[int, threading.RLock] = {}
        self._process_end = ProcessEnd(self._end)
        self._on_collected = self._collected

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep other threads from adding and removing pools; on leaving, end what no pool needs any more."""
        with self._lock.lock:
            try:
                yield
            finally:
                self._end_unused(wait=not self._is_in_hook)

    @contextmanager
    def changing_soon(self) -> Iterator[bool]:
        """As `changing()`, in a hook: wait for no thread or volume, and yield False without a lock that is needed."""
        with (
            self._lock.taken_soon() as is_taken,
            self._ended.serialized() as is_serialized,
            patches.lock.taken_soon() as are_patches_taken,
        ):
            if not (is_taken and is_serialized and are_patches_taken):
                yield False
                return
            self._is_in_hook = True
            try:
                yield True
            finally:
                self._is_in_hook = False

    def prepare(self, directory: Path | None, file_mode: int) -> None:
        """Prepare the directory, if there is one, for files of that mode; register for forks and the end; only once."""
        if not self.is_prepared:
            self.is_prepared = True
            self.storage = Storage(directory, file_mode)
            if directory is not None:
                self._prepare_holders()
                self._sentinel.renew()  # It may be that of a parent, which had no pool.
            if hasattr(os, "register_at_fork"):  # Missing where no process can fork.
                os.register_at_fork(
                    before=self._maker.wait_for_fork,
                    after_in_child=self._restart,
                    after_in_parent=self._need.note_fork,
                )
            atexit.register(self._end)

    def add(self, pool: Pool, identity: PoolIdentity) -> PoolMonitor:
        """Instrument a pool, and return its monitor; its name becomes unique in this process.

        The caller is inside `changing()`.
        """
        identity, config = self._unique(identity), config_of(pool)
        hooks = PoolHooks(pool, self._new_state(limit_of(pool), self._ended.new_slots(self.storage, identity, config)))
        monitor = PoolMonitor(hooks, identity, config, self)
        entry = InstrumentedPool(HooksReference(hooks, self._on_collected), monitor, self.storage)
        with self._ended.serialized():
            monitor.before = self._ended.take(identity)
            self._entries[id(hooks)] = entry
            self._instrumented += 1
        try:
            self._start_heartbeat()
            hooks.install()
        except BaseException:
            self.remove(hooks)
            raise
        return monitor

    def note_degraded(self) -> None:
        """Show other processes that this one cannot measure its SQLAlchemy. The caller is inside `changing()`."""
        self.storage.mark_degraded()
        self._start_heartbeat()  # It writes a file, which has no pool.

    def remove(self, hooks: PoolHooks) -> None:
        """Uninstrument a pool and give its slots back. The caller is inside `changing()`."""
        entry = self._forget(id(hooks))
        hooks.remove()
        if entry is not None:
            entry.remove(hooks)

    def pool_counts(self) -> tuple[int, int]:
        """Return how many pools were instrumented, and how many of them have been dropped or uninstrumented since."""
        return self._instrumented, max(0, self._instrumented - len(self._entries))

    def drop(self, monitor: PoolMonitor) -> None:
        """Drop the counters of an ended pool. The caller is inside `changing()`."""
        self._ended.drop(monitor)

    def rename(self, monitor: PoolMonitor, identity: PoolIdentity) -> None:
        """Give a pool that is in memory another name, and the counters of the ended pools of that name."""
        with self._ended.serialized():
            self._ended.give_back(monitor)
            self._names.free(monitor.identity.name)
            monitor.identity = self._unique(identity)
            monitor.before = self._ended.take(monitor.identity)

    def monitor_of(self, pool: Pool) -> PoolMonitor | None:
        """Return the monitor of *pool*, None if it is not instrumented."""
        hooks = hooks_of(pool)
        entry = None if hooks is None else self._entries.get(id(hooks))
        return None if entry is None else entry.monitor

    def monitors(self) -> list[PoolMonitor]:
        """Return the monitors of the pools that are alive."""
        return [entry.monitor for _, entry in self._living()]

    def shown_monitors(self) -> list[Monitor]:
        """Return the monitors of all pools with counters in memory: living ones, then ended ones."""
        with self._ended.serialized():
            # First: a pool that is collected after this line is in both lists, as one object. So also entries with a
            # dead reference are taken: their pools may not be among the ended ones yet.
            living = [entry.monitor for entry in list(self._entries.values())]
            return list(dict.fromkeys([*living, *self._ended.monitors()]))

    def shared_snapshot(self) -> "Snapshot | None":
        """Return the snapshot of all workers of the directory; None if there is no directory or it cannot be read."""
        if not self.storage.has_reader:
            return None
        self._beat(with_holders=False)
        return self.storage.shared_snapshot()

    def _living(self) -> list[tuple[PoolHooks, InstrumentedPool]]:
        found = [(entry.hooks(), entry) for entry in list(self._entries.values())]
        return [(hooks, entry) for hooks, entry in found if hooks is not None]

    def _new_state(self, limit: int, slots: Slots) -> PoolState:
        state = pool_state(time.monotonic_ns, limit, slots)
        state.is_nested = is_nested
        if self.storage.directory is not None:
            state.sentinel = self._sentinel.byte if self.storage.has(slots) else WAITING
            state.before_event, state.before_refresh = self._before_event, self._before_refresh
        elif self._restarting:
            self.unseen_child.expect_event(state)
        return state

    def _unique(self, identity: PoolIdentity) -> PoolIdentity:
        return replace(identity, name=self._names.take(identity.name))

    def _forget(self, key: int) -> InstrumentedPool | None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._names.free(entry.monitor.identity.name)
        return entry

    def _collected(self, reference: HooksReference) -> None:
        """Remove a pool, in a weak reference's callback; if the lock is taken, its holder ends what is unused."""
        entry = self._entries.get(reference.key)
        if entry is not None and not self.storage.has(entry.monitor.slots):
            self._ended.add(entry.monitor)  # Before its name is free.
        self._forget(reference.key)
        if self._lock.lock.acquire(blocking=False):
            try:
                self._end_unused(wait=False)
            finally:
                self._lock.lock.release()

    def _end_unused(self, *, wait: bool) -> None:
        if self._entries or self.storage.is_degraded:
            return
        if self._heartbeat is not None and not self.storage.has_file:  # Else it has to end the files first.
            heartbeat, self._heartbeat = self._heartbeat, None
            heartbeat.stop(wait=wait)
            self.storage.forget_left()
            guarded(self._process_end.unregister)()
        if not self.keeps_patches:
            with patches.lock.taken_soon() as is_taken:
                if wait or is_taken:  # Else they stay until a pool is added or removed again, and count nothing.
                    patches.remove()

    def _beat(self, *, with_holders: bool = True) -> None:
        for hooks, _ in self._living():
            hooks.refresh()
        seen = self._holders() if with_holders else None
        self._beat_file()
        if seen is not None:
            self._locked_now(lambda: self.storage.write_holders(seen, time.time()))
        self._locked_now(lambda: self._end_unused(wait=False))
        self.storage.compact()

    @guarded
    def _before_refresh(self) -> None:
        self._restart_if_forked()

    def _start_heartbeat(self) -> None:
        if self.storage.directory is None or self._heartbeat is not None:
            return
        guarded(self._process_end.register)()
        heartbeat = self._heartbeat = Heartbeat(self._beat)
        try:
            heartbeat.start()
        except BaseException as error:
            self._heartbeat = None
            heartbeat.stop(wait=False)  # An interrupt may come when the thread has been started already.
            if not isinstance(error, RuntimeError):
                raise
            errors.report(error)  # No further thread is allowed: the next pool tries again.

    def _restart_if_forked(self) -> bool:
        """In a child that was forked in C, restart at its first call; return whether this process may count.

        Other threads wait for a moment. What they do in a longer restart is not counted: their slots are the parent's.
        """
        if not self._sentinel.is_forked():
            return True
        lock = self._restart_locks.setdefault(os.getpid(), threading.RLock())
        if not lock.acquire(timeout=RESTART_SECONDS):
            abandon_slots(self._pools(), self._sentinel.byte)
            return False
        try:
            # A finalizer may run in the middle of the restart, in the same thread.
            if self._sentinel.is_forked() and self._restarting != os.getpid():
                self._restart()
        finally:
            lock.release()
        return True

    @guarded
    def _restart(self) -> None:
        """Count from zero in a forked child: the parent's connections are not its own, and its locks may be held."""
        self._restarting = os.getpid()
        try:
            self._lock, patches.lock = BoundedLock(), BoundedLock()
            self._ended, self._is_in_hook = EndedPools(self._is_in_file), False
            errors.count, self._instrumented = 0, len(self._entries)
            self._need.note_event()
            self._maker.restart_after_fork()
            unmap = self.storage.restart_after_fork()
            for entry in self._pools():
                entry.restart_after_fork(self.storage, self._new_state)
            unmap()
            if self._heartbeat is not None:
                self._heartbeat = None
                self._start_heartbeat()
        finally:
            self._restarting = 0
            self._sentinel.renew()  # Last: until then, other threads wait in `_restart_if_forked`.


registry = Registry()
"""The registry of this process."""
