"""Finds what is wrong with the shared directory of a sidecar, and logs each fault once when it begins and when it ends.

It looks at the directory, at the names and permissions of its files and at the volume. Nothing here may read a worker
file: `workers` does, and sets aside what is damaged.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pool_exporter.diagnosis.texts.wording import size
from pool_exporter.encodable import encodable
from pool_exporter.environment import DIRECTORY
from pool_exporter.metrics.exporter_metrics import FILES_UNREADABLE
from pool_exporter.metrics.snapshot import DirectoryFaults
from pool_exporter.workers.contents.readable import IN_GROUP, denied_files, worker_files
from pool_exporter.workers.dead_worker_totals import TOTALS_FILE

CHECK_SECONDS: Final = 15.0
"""The time between two looks while nothing is scraped."""
NO_WORKER_SECONDS: Final = 30.0
"""How long after its start a sidecar waits for the first worker without a fault."""
FREE_SHARE_MIN: Final = 0.1
FREE_BYTES_MIN: Final = 16 * 1024 * 1024
"""A volume is nearly full if less than a tenth of it is free, and less than this: 160 workers with one pool each."""
FREE_FILES_MIN: Final = 160

_log = logging.getLogger("pool_exporter")


class DirectoryCheck:
    """Looks at the shared directory; call it for the faults that there are now. Any thread may.

    Attributes:
        last: What the last look found.
    """

    def __init__(self, directory: Path, other: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare to look; nothing is opened yet.

        Args:
            directory: The directory that the sidecar reads.
            other: Another directory, which POOL_EXPORTER_DIR names; None without one.
            clock: Monotonic time in seconds.
        """
        self.last = DirectoryFaults({})
        self._directory, self._other, self._clock = directory, other, clock
        self._started = clock()
        self._has_seen_worker = False
        self._looking, self._has_ended = threading.Lock(), threading.Event()

    def __call__(self) -> DirectoryFaults:
        """Look at the directory, and log what has changed since the last look."""
        with self._looking:
            before, self.last = self.last, DirectoryFaults({fault: encodable(text) for fault, text in self._found()})
            self._log_changes(before)
            return self.last

    @contextmanager
    def running(self) -> Iterator[None]:
        """Look at once, and every CHECK_SECONDS in a thread for the time of the block."""
        self()
        threading.Thread(target=self._run, name="pool_exporter directory", daemon=True).start()
        try:
            yield
        finally:
            self._has_ended.set()  # The thread is not joined: it may be blocked in the file system.

    def _run(self) -> None:
        while not self._has_ended.wait(CHECK_SECONDS):
            self()

    def _found(self) -> Iterator[tuple[str, str]]:
        """Yield each fault with its text."""
        directory = self._directory
        if self._other is not None:
            yield (
                "two_directories",
                f"--dir is {directory}, and {DIRECTORY} is {self._other}: only the first is read; name one directory",
            )
        try:
            names = os.listdir(directory)  # noqa: PTH208  # its errors say what is wrong
        except FileNotFoundError:
            yield "missing", f"{directory} does not exist: name the directory of the workers' {DIRECTORY}, or create it"
        except NotADirectoryError:
            yield "no_directory", f"{directory} is no directory: name the directory of the workers' {DIRECTORY}"
        except OSError as error:
            reason = f"{directory} cannot be read by user {os.geteuid()}: {error.strerror}"
            yield "unreadable", f"{reason}; run the sidecar as a user of the workers' group"
        else:
            yield from self._found_among(names)
            with suppress(OSError):
                yield from _found_on_volume(directory)

    def _found_among(self, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        directory = self._directory
        files = worker_files(names)
        self._has_seen_worker = self._has_seen_worker or bool(files) or TOTALS_FILE in names
        if not self._has_seen_worker and self._clock() - self._started >= NO_WORKER_SECONDS:
            hint = f"set {DIRECTORY} to this directory in the application, on the same volume, and use a pool"
            yield "no_worker", f"no worker was ever seen in {directory}: {hint}"
        denied = denied_files(directory, files)
        if denied:
            count = f"{len(denied)} of {len(files)} worker files in {directory} cannot be read, such as {denied[0]}"
            yield FILES_UNREADABLE, f"{count}: run the sidecar {IN_GROUP}"

    def _log_changes(self, before: DirectoryFaults) -> None:
        for fault, text in self.last.texts.items():
            if fault not in before.texts:
                _log.warning("the shared directory has a fault: %s", text, extra={"fields": {"fault": fault}})
        for fault in before.texts:
            if fault not in self.last.texts:
                _log.info("a fault of the shared directory has ended", extra={"fields": {"fault": fault}})


def _found_on_volume(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield the fault of a volume that is nearly full. Raises OSError where nothing is known of it."""
    volume = os.statvfs(directory)
    free, whole = volume.f_bavail * volume.f_frsize, volume.f_blocks * volume.f_frsize
    hint = "make it larger; in a full one, pools of new workers are not seen"
    if free < min(FREE_SHARE_MIN * whole, FREE_BYTES_MIN):
        yield "nearly_full", f"the volume of {directory} has {size(free)} of {size(whole)} left: {hint}"
    elif volume.f_favail < min(FREE_SHARE_MIN * volume.f_files, FREE_FILES_MIN):  # A volume without inodes has 0 of 0.
        yield "nearly_full", f"the volume of {directory} has {volume.f_favail} of {volume.f_files} files left: {hint}"
