"""What each source last said: its state, or why there is none. Sources are read in threads of their own.

Nothing here may print.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from pool_exporter.commands.terminal.http_source import SourceError
from pool_exporter.diagnosis.outside.set_aside import set_aside_sentence
from pool_exporter.metrics.exporter_metrics import FILES_UNREADABLE
from pool_exporter.web.status.source import StatusSource, knowledge_without
from pool_exporter.web.status.values import SET_ASIDE, Status
from pool_exporter.workers.contents.readable import fault_of_files, fault_of_listing
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.reports.directory_reports import DirectoryReports


@dataclass(frozen=True)
class Sample:
    """What one source said.

    Attributes:
        source: The name of the source.
        status: The last state that it had; None before the first one.
        fault: Why it has none now; "" if it has.
        at: When *status* was read, in seconds of a monotonic clock.
    """

    source: str
    status: Status | None = None
    fault: str = ""
    at: float = 0.0


class Source(Protocol):
    """Where a state comes from."""

    name: str

    def __call__(self) -> Status:
        """Return the state now. Raises SourceError if there is none."""


class DirectorySource:
    """A shared directory. It is only read: nothing is compacted, and nothing is written."""

    def __init__(self, directory: Path, silenced: Sequence[str] = ()) -> None:
        """Read *directory*, and find nothing by the rules of `check` of these ids."""
        self.name = str(directory)
        self._directory = directory
        self._reader = DirectoryReader(directory, writes=False)
        self._reports = DirectoryReports(directory)
        self._statuses = StatusSource(self._reports, knowledge=knowledge_without(silenced))

    def __call__(self) -> Status:
        """Return the state now. All of it may be seen: the directory can be read anyway."""
        try:
            unreadable = fault_of_files(self._directory)
            status = self._statuses.status(self._reader(), shows_holders=True)
        except FileNotFoundError:
            raise SourceError("there is no such directory") from None
        except OSError as error:
            raise SourceError(fault_of_listing(error)) from None
        if unreadable and not status.pools:
            raise SourceError(unreadable)
        set_aside = [each for each in self._reports.set_aside if not unreadable or each.reason != "unreadable"]
        faults = {**status.faults, FILES_UNREADABLE: unreadable, SET_ASIDE: set_aside_sentence(set_aside)}
        return replace(status, faults={name: text for name, text in faults.items() if text})


def take(source: Source, before: Sample | None = None, clock: Callable[[], float] = time.monotonic) -> Sample:
    """Return what a source says now; without an answer, what it said before, and the fault."""
    try:
        return Sample(source.name, source(), "", clock())
    except SourceError as error:
        fault = str(error)
    except Exception as error:  # noqa: BLE001  # whatever a file or an answer holds, the other sources are shown
        fault = f"cannot be read: {type(error).__name__}"
    return Sample(source.name, None, fault) if before is None else Sample(source.name, before.status, fault, before.at)


def take_all(sources: Sequence[Source]) -> list[Sample]:
    """Return what all sources say now, asked at the same time."""
    found: list[Sample | None] = [None] * len(sources)

    def work(index: int) -> None:
        found[index] = take(sources[index])

    threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(len(sources))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [sample for sample in found if sample is not None]


class Sampler:
    """Reads sources again and again. The last samples are in `samples`, in the order of the sources."""

    def __init__(self, sources: Sequence[Source], interval: float, changed: Callable[[], None]) -> None:
        """Prepare to read all *sources* every *interval* seconds; *changed* is called in any thread after each."""
        self.samples = [Sample(source.name) for source in sources]
        self.is_paused = False
        self._sources, self._interval, self._changed = sources, interval, changed
        self._has_ended = threading.Event()

    def start(self) -> None:
        """Start one thread for each source: one that does not answer keeps no other waiting."""
        for index in range(len(self._sources)):
            threading.Thread(target=self._run, args=(index,), daemon=True).start()

    def close(self) -> None:
        """Have the threads end, without waiting for them."""
        self._has_ended.set()

    def _run(self, index: int) -> None:
        while not self._has_ended.is_set():
            if not self.is_paused:
                self.samples[index] = take(self._sources[index], self.samples[index])
                self._changed()
            self._has_ended.wait(self._interval)
