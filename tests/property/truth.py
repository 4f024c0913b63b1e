"""The expected numbers of a pool's snapshot, noted by the code that acts on the pool.

Durations are kept in lists, one integer each. Nothing is derived in the way of the code under test.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate

from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, CLOSE_REASONS, ERROR_TYPES, INVALIDATIONS
from pool_exporter.metrics.pool_snapshot import Histogram, PoolSnapshot
from tests.fakes import FakeClock
from tests.property.timeline import SECOND, Timeline


class Truth:
    """What was done to one pool since it was instrumented."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.timeline = Timeline(clock)
        self.connects = self.adopted = self.leaked = 0
        self.closes: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.invalidations: Counter[str] = Counter()
        self.waits: list[int] = []
        self.uses: list[int] = []

    def differences(
        self,
        actual: PoolSnapshot,
        used: Sequence[int],
        others: Mapping[str, int],
        unknown: AbstractSet[str] = frozenset(),
    ) -> dict[str, tuple[object, object]]:
        """Return each number that is wrong, with both values.

        *used* has the begin of each present use; *others* are expected numbers that only the caller knows, *unknown*
        the names of numbers that it does not know either.
        """
        expected = self._counters() | self._gauges(used) | dict(others)
        expected = {name: value for name, value in expected.items() if name not in unknown}
        got = {name: getattr(actual, name) for name in expected.keys() - {"created"}} | {
            "created": actual.create_time.count
        }
        return {name: (expected[name], got[name]) for name in expected if expected[name] != got[name]}

    def check(
        self,
        actual: PoolSnapshot,
        used: Sequence[int],
        others: Mapping[str, int],
        unknown: AbstractSet[str] = frozenset(),
    ) -> None:
        """Compare as `differences` does; AssertionError names each number that differs, with both values."""
        found = self.differences(actual, used, others, unknown)

        assert {} == found, "\n".join(f"{name}: expected {found[name][0]}, got {found[name][1]}" for name in found)

    def _counters(self) -> dict[str, object]:
        return {
            "connects": self.connects,
            "created": self.connects - self.adopted,
            "closes": _labelled(self.closes, CLOSE_REASONS.values),
            "acquire_failures": _labelled(self.failures, ERROR_TYPES.values),
            "invalidations": _labelled(self.invalidations, INVALIDATIONS.values),
            "leaked": self.leaked,
            "checkouts": len(self.waits) - self.failures["timeout"],
            "timeouts": self.failures["timeout"],
            "wait_time": _histogram(self.waits),
            "use_time": _histogram(self.uses),
            "used_seconds": self.timeline.seconds("used"),
            "pending_seconds": self.timeline.seconds("pending"),
            "saturated_seconds": self.timeline.seconds("is_saturated"),
        }

    def _gauges(self, used: Sequence[int]) -> dict[str, object]:
        return {
            "used": len(used),
            "oldest_use_seconds": (self.clock() - min(used, default=self.clock())) / SECOND,
            "used_peak": self.timeline.peak("used"),
            "pending_peak": self.timeline.peak("pending"),
            "accounting_drift": 0,
            "lost_places": 0,
        }


def _labelled(counter: Counter[str], values: Sequence[str]) -> dict[str, int]:
    return {value: counter[value] for value in values}


def _histogram(durations: Sequence[int]) -> Histogram:
    """Put durations into buckets one at a time: a duration of just a bound belongs to that bound's bucket."""
    at_most = [sum(duration <= bound * SECOND for duration in durations) for bound in BOUNDS_SECONDS]
    cumulated = [*at_most, len(durations)]
    buckets = [count - before for count, before in zip(cumulated, [0, *cumulated], strict=False)]
    assert cumulated == list(accumulate(buckets))
    return Histogram(tuple(buckets), sum(durations) / SECOND)
