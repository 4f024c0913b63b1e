"""What reads and writes the shared directory, imported only by an application that has one.

Where the system lacks a module or function that it needs (Windows), there is nothing instead. Nothing here may allocate
slots.
"""

from collections.abc import Callable
from errno import ENOSYS
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.state.aggregate import Counted
from pool_exporter.version import build

if TYPE_CHECKING:
    from pool_exporter.workers.directory_snapshot import DirectoryReader
    from pool_exporter.workers.file_writer import WorkerFiles
    from pool_exporter.workers.mapped_file import MappedFile
    from pool_exporter.workers.reports.directory_reports import DirectoryReports


class Created(NamedTuple):
    """What `created()` has done, for `use()`.

    Attributes:
        files: The new files; None where the directory cannot be used.
        lost: What pools have counted in files that were left, and then deleted before they were compacted.
        further: Instead of new files, further ones for the pools that have no space in the present *files*.
    """

    files: "WorkerFiles | None"
    lost: list[tuple[PoolIdentity, Counted]]
    further: "list[MappedFile] | None" = None

    @property
    def has_files(self) -> bool:
        """Whether it has new files: new ones of the process, or further ones."""
        return self.files is not None and self.further != []

    def add_further_to(self, present: "WorkerFiles | None") -> None:
        """Add the further files to the *present* ones of the process, if those were not left or deleted since."""
        if present is not None and present is self.files:
            present.add_further(self.further or [])
        else:
            self.unmap()

    def unmap(self) -> None:
        """Close the mappings of the new files, as a forked child does with its parent's."""
        made = [] if self.files is None else [self.files]
        for each in made if self.further is None else self.further:
            each.unmap()


def readers(directory: Path, file_mode: int) -> "tuple[DirectoryReader, DirectoryReports] | tuple[None, None]":
    """Return what reads the directory: its pools, and its processes' reports; None where the system lacks something.

    What the first compacts gets the permissions *file_mode*.
    """
    try:
        from pool_exporter.workers.directory_snapshot import DirectoryReader  # An application in memory never loads it.
        from pool_exporter.workers.reports.directory_reports import DirectoryReports
    except ImportError:
        return None, None
    return DirectoryReader(directory, file_mode=file_mode), DirectoryReports(directory)


def writer(file_mode: int, *, is_degraded: bool = False) -> "Callable[[Path], WorkerFiles]":
    """Return the function that creates a file of these permissions, which says if this process *is_degraded*."""
    try:
        from pool_exporter.workers.file_format import degraded_version  # As above.
        from pool_exporter.workers.file_writer import WorkerFiles
    except (ImportError, AttributeError):
        return no_files
    version = build()["version"]  # It may import modules too.
    if is_degraded:
        version = degraded_version(version)
    return lambda directory: WorkerFiles(directory, version, file_mode)


def no_files(_: Path) -> "WorkerFiles":
    """Raise OSError, where files cannot be created."""
    raise OSError(ENOSYS, "this system has no function that it needs")
