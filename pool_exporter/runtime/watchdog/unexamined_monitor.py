"""A monitor of a pool that cannot be examined: it has ended, or only its number of used connections is known.

Nothing here may know why.
"""

from typing_extensions import override

from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.runtime.watchdog.examined_pool import unknown_diagnosis


class UnexaminedMonitor(Monitor):
    """A monitor without reports."""

    @override
    def diagnose(self) -> Diagnosis:
        """Return a diagnosis that says that nothing is known: neither holders nor waiters are seen."""
        return unknown_diagnosis(self.identity.name)

    @property
    @override
    def diagnoses(self) -> tuple[Diagnosis, ...]:
        """Always empty."""
        return ()
