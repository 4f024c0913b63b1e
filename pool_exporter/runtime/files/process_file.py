"""The worker file of this process and the slots in it: the base of the registry, without adding and removing pools.

What runs before a pool event waits a few milliseconds at most, for a lock or for the file. A file that is created later
is used by the next pool event: until then events are counted in memory, and a process that is killed loses them. What
else could not be done, the next heartbeat does. Nothing here may instrument a pool.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from pool_exporter.hook_errors import guarded
from pool_exporter.hooks.callers.bounded_lock import BoundedLock
from pool_exporter.runtime.ended_pools import EndedPools
from pool_exporter.runtime.files.directory_access import Created
from pool_exporter.runtime.files.file_maker import END_SECONDS, FileMaker
from pool_exporter.runtime.files.file_need import FileNeed, Need
from pool_exporter.runtime.forks.fork_detection import ForkSentinel
from pool_exporter.runtime.instrumented_pool import (
    InstrumentedPool,
    beat,
    end,
    is_idle,
    leave_files,
    move_to_files,
    set_sentinels,
)
from pool_exporter.runtime.storage import Storage
from pool_exporter.runtime.watchdog.watchdog import watchdog
from pool_exporter.state.layout import Slots

if TYPE_CHECKING:
    from pool_exporter.runtime.reports.held_pools import Seen

WAITING: Final = b"\0"
"""The sentinel of a pool that needs a file before its next event, or has to move into one that was created."""


class ProcessFile(ABC):
    """The file of this process, from its first pool event to its end; the registry is one, and shares its state."""

    def __init__(self) -> None:
        self._lock = BoundedLock()
        self.storage = Storage(None)
        self._entries: dict[int, InstrumentedPool] = {}
        self._ended = EndedPools(self._is_in_file)
        self._sentinel = ForkSentinel()
        #: Only where there is a shared directory.
        self._find_holders: Callable[[Sequence[InstrumentedPool]], list[Seen]] | None = None
        self._need, self._maker = FileNeed(), FileMaker(self._created, self._ask_for_move)

    def _created(self) -> Created | None:
        """Create the file in the present directory, and wait for as long as its volume does."""
        return self.storage.created()

    def _ask_for_move(self) -> None:
        """Let the next event of each pool in memory move the slots into what was created. This needs no lock."""
        set_sentinels([pool for pool in self._pools() if not pool.is_in_file], WAITING)

    def _is_in_file(self, slots: Slots) -> bool:
        return self.storage.has(slots)

    def _pools(self) -> list[InstrumentedPool]:
        """Return the pools that are alive."""
        return [entry for entry in list(self._entries.values()) if entry.hooks() is not None]

    def _prepare_holders(self) -> None:
        from pool_exporter.runtime.reports.held_pools import held_by  # An application in memory never loads it.

        self._find_holders = held_by

    def _holders(self) -> "list[Seen] | None":
        """Return what the pools hold, for the file; None where there is no directory, or reports are turned off."""
        find = self._find_holders
        return None if find is None or not watchdog.is_on else find(self._pools())

    def _locked_now(self, call: Callable[[], None]) -> bool:
        """Call *call* under the lock, unless a pool is being added or removed; return whether it was called."""
        if not self._lock.lock.acquire(blocking=False):
            return False
        try:
            call()
        finally:
            self._lock.lock.release()
        return True

    def _beat_file(self) -> None:
        """Create the file if it is needed, write the heartbeat into it, and end it when it is not needed any more."""
        # The file is created or looked for without the lock, because that takes as long as the volume does; also before
        # it is left, because it may have been deleted.
        if self._locked_now(self._note_need) and (self._need.is_present or self.storage.has_file):
            self._maker.run()
        self._locked_now(self._write_heartbeat)
        if self.storage.needs_further:
            self._maker.run()
            self._locked_now(self._write_heartbeat)

    def _note_need(self) -> None:
        is_busy = self.storage.pools_in_file > 0 and not is_idle(self._pools(), self.storage)
        self._need.at_heartbeat(has_pools=bool(self._entries) or self.storage.is_degraded, is_busy=is_busy)

    def _write_heartbeat(self) -> None:
        need = self._need.last
        self.storage.use(self._maker.take())
        if need is Need.PRESENT or self.storage.has_file:
            self._move_slots(self._sentinel.byte if need is Need.PRESENT else WAITING)
            beat(self._pools(), self.storage)
        if need is Need.OVER:
            leave_files(self._pools(), self.storage)

    def _move_slots(self, sentinel: Sequence[int]) -> None:
        with self._ended.serialized():
            move_to_files(self._pools(), self.storage, sentinel)
            if self._maker.has_files:  # It was created after `take()`, so its request for a move was overwritten.
                self._ask_for_move()
            self._ended.put(self.storage.take_ended())
            if self.storage.has_file:
                self._ended.move(self.storage.keep)
                in_memory = sum(not pool.is_in_file for pool in self._pools())
                self.storage.note_without_space(in_memory + len(self._ended.monitors()))

    @guarded
    def _before_event(self) -> None:
        """Have the file created before the first pool event, and before the first one after a fork."""
        if not self._restart_if_forked():
            return
        with self._lock.taken_soon():  # Without it, a file that ends at this moment is followed by another one.
            self._need.note_event()
        if not self.storage.has_file and not self._maker.has_files:
            self._maker.start()
        if not self._move_soon():
            set_sentinels(self._pools(), self._sentinel.byte)

    @abstractmethod
    def _restart_if_forked(self) -> bool:
        """In a child that was forked in C, begin anew; return whether this process may count."""

    def _move_soon(self) -> bool:
        """Move the slots into the file that was created, unless a lock is held; return whether that was done."""
        with self._lock.taken_soon() as is_taken, self._ended.serialized() as is_serialized:
            if is_taken and is_serialized:
                self.storage.use(self._maker.take())
                self._move_slots(self._sentinel.byte)
            return is_taken and is_serialized

    def _end(self) -> None:
        """Mark this process's files as cleanly closed, unless they belong to the parent of an undetected fork."""
        if self._sentinel.is_original_process:
            if not self.storage.has_file:
                self._maker.finish(END_SECONDS)
            self._move_soon()
            if self.storage.needs_further:
                self._maker.start(END_SECONDS)
                self._move_soon()
            end(self._pools(), self.storage)
