"""Where the words of this process's pools stand: in its files in the shared directory, or, when that fails, in memory.

Whatever goes wrong with the directory (full, read-only, gone), monitoring goes on in memory with one warning; nothing
of it reaches the application. Nothing here may be called from a hook.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pool_exporter.hook_errors import errors
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state.layout import Slots, new_slots
from pool_exporter.version import build

if TYPE_CHECKING:
    from pool_exporter.workers.file_writer import WorkerFiles

_log = logging.getLogger("pool_exporter")


class Storage:
    """This process's files. `directory` is None when there is none; `errors` counts how often it failed."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.errors = 0
        self._worker: WorkerFiles | None = None
        self._in_file: set[int] = set()
        self._join()

    @property
    def is_shared(self) -> bool:
        """Tell whether other processes can read this one's pools."""
        return self._worker is not None

    def place(self, identity: PoolIdentity, config: PoolConfig) -> Slots:
        """Return words for a pool: in a file, else in memory."""
        slots = None if self._worker is None else self._worker.allocate(identity, config)
        if slots is None:
            return new_slots()
        self._in_file.add(id(slots))
        return slots

    def free(self, slots: Slots) -> None:
        """Note that the pool of *words* is gone."""
        if self._worker is not None and id(slots) in self._in_file:
            self._in_file.discard(id(slots))
            self._worker.free(slots)

    def beat(self) -> bool:
        """Write the heartbeat; return False when somebody deleted our files, so that the words have to move."""
        if self.directory is None or (self._worker is not None and self._worker.is_linked()):
            if self._worker is not None:
                self._worker.write_heartbeat(time.monotonic_ns(), errors.count, self.errors)
            return True
        was_shared, self._worker, self._in_file = self.is_shared, None, set()
        self._join()
        return not (was_shared or self.is_shared)

    def leave(self) -> Callable[[], None]:
        """Begin anew, as a forked child does; return what unmaps the parent's files, when nothing uses their words."""
        parent, self._worker = self._worker, None
        self._in_file, self.errors = set(), 0
        self._join()
        return (lambda: None) if parent is None else parent.unmap

    def end(self) -> None:
        """Say that this process ends by itself."""
        if self._worker is not None:
            self._worker.mark_ended()

    def _join(self) -> None:
        if self.directory is None:
            return
        from pool_exporter.workers.file_writer import WorkerFiles  # An application in memory never loads it.

        try:
            self._worker = WorkerFiles(self.directory, build()["version"])
        except OSError as error:
            self.errors += 1
            if self.errors == 1:
                _log.warning("POOL_EXPORTER_DIR=%s cannot be used (%s); pools stay in memory", self.directory, error)
