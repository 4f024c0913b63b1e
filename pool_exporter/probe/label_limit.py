"""Limits the label values that come from clients: a fixed number get series of their own, the rest are `other`.

A client sends any application_name that it likes. The limit keeps it from creating any number of series. A name that
was admitted keeps its series until it has not been seen for `QUERIES_KEPT` queries, so that names do not move between a
series of their own and `other` at each query. Pure; the content of a name does not matter.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from pool_exporter.metrics.server_metrics import BACKEND_STATES, OTHER
from pool_exporter.metrics.server_snapshot import Backend, LabelValues

NAMES_MAX: Final = 50
QUERIES_KEPT: Final = 240
"""For how many queries a name that is not seen stays admitted: an hour, at the default interval."""

CHARACTERS_MAX: Final = 128


class LabelCardinalityLimit:
    """Decides which names have series of their own: call `admit` for each query, then `of` and `summed`."""

    def __init__(self, size: int = NAMES_MAX) -> None:
        self._size = size
        self._queries = 0
        self._seen: dict[LabelValues, int] = {}

    def admit(self, sizes: Mapping[LabelValues, int]) -> None:
        """Admit the names of one query, those with the most connections first, up to the limit."""
        self._queries += 1
        self._seen = {names: query for names, query in self._seen.items() if self._queries - query <= QUERIES_KEPT}
        for names in sorted(sizes, key=lambda names: (-sizes[names], names)):
            if names in self._seen or len(self._seen) < self._size:
                self._seen[names] = self._queries

    def of(self, names: LabelValues) -> LabelValues:
        """Return the label values of *names*: cut to CHARACTERS_MAX if admitted, else `other`."""
        return tuple(name[:CHARACTERS_MAX] for name in names) if names in self._seen else (OTHER,) * len(names)

    def summed(self, counts: Mapping[LabelValues, Mapping[str, int]]) -> dict[LabelValues, dict[str, int]]:
        """Add up *counts* by the label values of their names."""
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
