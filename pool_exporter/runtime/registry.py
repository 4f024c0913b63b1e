"""What is watched in this process, where its words stand, and the heartbeat that keeps them fresh for readers.

The list holds weakly: a pool that the application drops takes its numbers with it. `changing()` guards additions and
removals; reading needs none. Nothing here may render, or know what a monitor is.
"""

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import finalize, ref

from pool_exporter.hook_errors import errors, guarded
from pool_exporter.hooks.method_patches import patches
from pool_exporter.hooks.pool_hooks import PoolHooks
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.runtime.fork_detection import ForkSentinel
from pool_exporter.runtime.heartbeat import Heartbeat
from pool_exporter.runtime.storage import Storage
from pool_exporter.state.layout import Slots

if TYPE_CHECKING:
    from pool_exporter.workers.directory_snapshot import DirectoryReader


def _reader(directory: Path) -> "DirectoryReader":
    from pool_exporter.workers.directory_snapshot import DirectoryReader  # An application in memory never loads it.

    return DirectoryReader(directory)


class Registry:
    """The hooks that are installed in this process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.transport = Storage(None)
        #: Who wants to meet the pools that nobody watches yet: for this the doors stay open too.
        self.all_pools: object | None = None
        self._hooks: dict[int, ref[PoolHooks]] = {}
        self._heartbeat: Heartbeat | None = None
        self._reader: DirectoryReader | None = None
        self._reading = threading.Lock()
        self._mark: ForkSentinel | None = None
        self._is_prepared = False

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep others from adding and removing; on leaving, end what nobody needs any more."""
        with self._lock:
            try:
                yield
            finally:
                self._rest(wait=True)

    def prepare(self, directory: Path | None) -> None:
        """Take the shared directory into use, and see forks; once in a process."""
        if not self._is_prepared:
            self._is_prepared = True
            self._mark = None if directory is None else ForkSentinel()
            self.transport = Storage(directory)
            self._reader = None if directory is None else _reader(directory)
            os.register_at_fork(after_in_child=self._after_fork)
            atexit.register(self._end)

    def add(self, hooks: PoolHooks) -> None:
        """Note what is installed, for as long as it lives."""
        key = id(hooks)
        self._hooks[key] = ref(hooks, lambda _: self._gone(key))
        self._give_back(hooks)
        if self._mark is not None and self._heartbeat is None:
            self._heartbeat = Heartbeat(self._beat)

    def drop(self, hooks: PoolHooks) -> None:
        """Uninstall, and note that it is."""
        self._hooks.pop(id(hooks), None)
        hooks.remove()
        if hooks.release is not None:
            hooks.release()

    def _gone(self, key: int) -> None:
        self._hooks.pop(key, None)
        # This may run in the middle of anything: whoever has the lock will see to the rest when he leaves.
        if self._lock.acquire(blocking=False):
            try:
                self._rest(wait=False)
            finally:
                self._lock.release()

    def _rest(self, *, wait: bool) -> None:
        if self._hooks:
            return
        if self._heartbeat is not None:
            heartbeat, self._heartbeat = self._heartbeat, None
            heartbeat.stop(wait=wait)
        if self.all_pools is None:
            patches.remove()

    def all(self) -> list[PoolHooks]:
        """Return the hooks whose pools are there."""
        found = [reference() for reference in list(self._hooks.values())]
        return [hooks for hooks in found if hooks is not None]

    def place(self, identity: PoolIdentity, config: PoolConfig) -> Slots:
        """Return words for a pool, as `Transport.place`."""
        return self.transport.place(identity, config)

    def _give_back(self, hooks: PoolHooks) -> None:
        """Have the words of the pool given back by `hooks.release`, at the latest with the last of its connections."""
        if self._mark is not None:
            hooks.release = finalize(hooks.state, self.transport.free, hooks.state.slots)
            hooks.release.atexit = False
            hooks.state.sentinel, hooks.state.on_fork_detected = self._mark.byte, self._after_fork

    def shared_snapshot(self) -> Snapshot | None:
        """Return what all workers of the directory have, this one included; None when there is none to be read."""
        if self._reader is None:
            return None
        self._beat()
        with self._reading:
            try:
                return self._reader() if self.transport.is_shared else None
            except OSError:
                return None

    def _beat(self) -> None:
        for hooks in self.all():
            hooks.refresh()
        with self._reading:
            if not self.transport.beat():
                self._move()

    def _move(self) -> None:
        for hooks in self.all():
            hooks.release.detach()
            hooks.state.move_to(self.place(hooks.monitor.identity, hooks.monitor.config))
            self._give_back(hooks)

    @guarded
    def _after_fork(self) -> None:
        """Start at zero in the child: a thread that is not there may hold a lock, the connections are not ours."""
        self._lock, self._reading, patches.lock = threading.RLock(), threading.Lock(), threading.RLock()
        errors.count = 0
        if self._mark is not None:
            self._mark.renew()
        unmap = self.transport.leave()
        for hooks in self.all():
            if hooks.release is not None:
                hooks.release.detach()
            hooks.monitor.restart_after_fork(hooks, self.place(hooks.monitor.identity, hooks.monitor.config))
            self._give_back(hooks)
        unmap()
        if self._heartbeat is not None:
            self._heartbeat = Heartbeat(self._beat)

    def _end(self) -> None:
        """Say that this process ends by itself; one that was forked in C and has done nothing has nothing to say."""
        if self._mark is None or self._mark.is_original_process:
            self.transport.end()


registry = Registry()
"""This process's."""
