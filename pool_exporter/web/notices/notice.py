"""A notice: the snapshots of this process for a page, and a WARNING in the log where that page shows too little.

What a notice looks for is in its subclass. Nothing here may change what the page shows.
"""

import logging
from abc import ABC, abstractmethod

from pool_exporter.metrics.snapshot import Snapshot, Source

_log = logging.getLogger("pool_exporter")


class Notice(ABC):
    """A source of the snapshots of another source, which logs a WARNING with its text where it has one."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __call__(self) -> Snapshot:
        """Return the snapshot of the source."""
        snapshot = self._source()
        text = self._text(snapshot)
        if text:
            _log.warning("%s", text)
        return snapshot

    @abstractmethod
    def _text(self, snapshot: Snapshot) -> str:
        """Return what to log of *snapshot*; "" for nothing, as at each call after the first warning."""
