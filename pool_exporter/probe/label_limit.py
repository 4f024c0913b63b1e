"""Names from outside, bounded: so many stay themselves, the rest are `other`. Pure; no name is looked into.

An application_name is whatever a client sends. A cap keeps a client from making as many series as it likes, and memory
keeps a series from changing sides at each look: a name that was let in stays until it has been away for a while.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from pool_exporter.metrics.server_metrics import BACKEND_STATES, OTHER
from pool_exporter.metrics.server_snapshot import Backend, LabelValues

NAMES_MAX: Final = 50
LOOKS_KEPT: Final = 240
"""How many looks a name keeps its place without being seen: an hour, at the usual interval."""

CHARACTERS_MAX: Final = 128


class LabelCardinalityLimit:
    """Which names have a series of their own. `admit` at each look, then ask `of` and `summed`."""

    def __init__(self, size: int = NAMES_MAX) -> None:
        self._size = size
        self._looks = 0
        self._seen: dict[LabelValues, int] = {}

    def admit(self, sizes: Mapping[LabelValues, int]) -> None:
        """Note the names of one look; where there are not places for all, the largest new ones come in first."""
        self._looks += 1
        self._seen = {names: look for names, look in self._seen.items() if self._looks - look <= LOOKS_KEPT}
        for names in sorted(sizes, key=lambda names: (-sizes[names], names)):
            if names in self._seen or len(self._seen) < self._size:
                self._seen[names] = self._looks

    def of(self, names: LabelValues) -> LabelValues:
        """Return what stands for *names* as label values."""
        return tuple(name[:CHARACTERS_MAX] for name in names) if names in self._seen else (OTHER,) * len(names)

    def summed(self, counts: Mapping[LabelValues, Mapping[str, int]]) -> dict[LabelValues, dict[str, int]]:
        """Add up *counts* by what stands for their names."""
        totals: dict[LabelValues, Counter[str]] = {}
        for names, states in counts.items():
            totals.setdefault(self.of(names), Counter()).update(states)
        return {names: dict(total) for names, total in totals.items()}


def by_name_and_state(backends: Iterable[Backend]) -> dict[LabelValues, dict[str, int]]:
    """Count backends by application and database, in every state."""
    counts: dict[LabelValues, dict[str, int]] = {}
    for backend in backends:
        names = (backend.application, backend.database)
        states = counts.setdefault(names, dict.fromkeys(BACKEND_STATES.values, 0))
        states[backend.state] += 1
    return counts
