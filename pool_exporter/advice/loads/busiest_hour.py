"""The load of each pool in its busiest hour, as a Prometheus has it.

The busiest hour of a pool is the one with the most used connections on average. Counters are taken by `increase()` over
that hour, so restarts of the application within it do not matter. Where Prometheus has scraped the pool in a part of
that hour only, because the service is new or was ended, the load is that of this part.

Nothing here may connect to a server: the caller gives what answers queries.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import ceil
from typing import Final, Protocol, TypeAlias

from pool_exporter.advice.knee import Window, use_rises
from pool_exporter.advice.load import Load
from pool_exporter.advice.loads.named_load import NamedLoad, names_of
from pool_exporter.advice.observation import Observation, PoolKey, Sample, key_of, of_samples
from pool_exporter.metrics.pool_metrics import POOL_METRICS

HOUR_SECONDS: Final = 3600
PEAK_STEP_SECONDS: Final = 60
"""The peaks are those of the last minute, so one value a minute has them all."""

_STEPS: Final = 720
"""At how many times of a window it is looked whether a pool was scraped: every 5 s of an hour."""

Labels: TypeAlias = Mapping[str, str]
Windows: TypeAlias = Mapping[float, Window]
"""The windows of one pool by the time at which each ends."""

_NAME: Final = {metric.field: metric.prometheus for metric in POOL_METRICS}
_USES: Final = _NAME["use_time"]
_COUNTERS: Final = (
    *(_NAME["wait_time"] + "_count", _NAME["acquire_failures"], _USES + "_sum", _USES + "_bucket"),
    *(_NAME["used_seconds"], _NAME["pending_seconds"], _NAME["nested_acquires"], _NAME["exhaustions"]),
)
_GAUGES: Final = (_NAME["max"], _NAME["info"], _NAME["orphaned"])
_PEAKS: Final = (_NAME["pending_peak"],)


def _step(window: int) -> int:
    """Return the resolution of a subquery on so many seconds, in seconds."""
    return max(1, window // _STEPS)


class Queries(Protocol):
    """What answers queries in PromQL; times are seconds of Unix time."""

    def at(self, query: str, time: float) -> Iterable[tuple[Labels, float]]:
        """Return the series that *query* has at *time*, each with its value."""

    def between(self, query: str, start: float, end: float, step: float) -> Iterable[tuple[Labels, dict[float, float]]]:
        """Return the series that *query* has from *start* to *end*, each with its values by time."""


class PrometheusRange:
    """One range of time of one Prometheus."""

    def __init__(self, queries: Queries, seconds: int, end: float) -> None:
        """Prepare to ask; no query is made yet.

        Args:
            queries: Answers the queries.
            seconds: How long the range is.
            end: When it ends, in seconds of Unix time.
        """
        self._queries, self._seconds, self._end = queries, seconds, end
        self._window = min(seconds, HOUR_SECONDS)

    def loads(self) -> list[NamedLoad]:
        """Return the load of each pool in its busiest hour. What a query raises goes to the caller."""
        windows = self._windows()
        observed = dict(self._busiest(windows))
        peaks, nested, names = self._peaks(), self._nested(), names_of(list(observed))
        loads = {key: self._load(*found, peaks.get(key), windows[key]) for key, found in sorted(observed.items())}
        return [
            NamedLoad(names[key], replace(load, nested=max(load.nested, nested.get(key, 0.0))), key=key)
            for key, load in loads.items()
        ]

    def _load(self, found: Observation, seconds: float, peak: float | None, windows: Windows) -> Load:
        each = None if peak is None else peak / found.pools
        return found.load(found.totals, seconds, each, use_rises=use_rises(list(windows.values())))

    def _busiest(self, windows: Mapping[PoolKey, Windows]) -> Iterator[tuple[PoolKey, tuple[Observation, float]]]:
        """Yield each pool as it was in its busiest window, and for how many seconds of the window it was scraped.

        Pools that were busy at one time share the queries.
        """
        by_time: dict[float, set[PoolKey]] = defaultdict(set)
        for key, of_pool in windows.items():
            by_time[max(of_pool, key=lambda time: of_pool[time].used)].add(key)
        for time, keys in by_time.items():
            pools, seconds = of_samples(self._samples(time)), self._scraped_seconds(time)
            yield from ((key, (pools[key], seconds.get(key, self._window))) for key in keys & pools.keys())

    def _windows(self) -> dict[PoolKey, Windows]:
        used, uses, seconds = (
            dict(self._increases(name)) for name in (_NAME["used_seconds"], _USES + "_count", _USES + "_sum")
        )
        return {
            key: {
                time: Window(value / self._window, uses.get(key, {}).get(time, 0), seconds.get(key, {}).get(time, 0))
                for time, value in values.items()
            }
            for key, values in used.items()
        }

    def _increases(self, name: str) -> Iterable[tuple[PoolKey, dict[float, float]]]:
        first = self._end - self._seconds + self._window
        found = self._queries.between(f"increase({name}[{self._window}s])", first, self._end, self._window)
        return ((key_of(labels), values) for labels, values in found)

    def _scraped_seconds(self, time: float) -> dict[PoolKey, float]:
        """Return for how long each pool was scraped in the window that ends at *time*.

        A Prometheus that is new has scraped in the last part of the window only: a second query reads that part alone,
        with a finer resolution.
        """
        found = self._scraped_within(self._window, time)
        part = ceil(max(found.values(), default=0)) + 2 * _step(self._window)
        if part >= self._window:
            return found
        closer = self._scraped_within(part, time)  # It has less of a pool that was ended before.
        return {key: max(found.get(key, 0), closer.get(key, 0)) for key in {**found, **closer}}

    def _scraped_within(self, window: int, time: float) -> dict[PoolKey, float]:
        """Return the same of the *window* seconds that end at *time*; up to one step is missing at each end.

        Like `increase()`, it takes half of a scrape interval more at each end.
        """
        name = _NAME["used_seconds"]
        at = f"timestamp({name})[{window}s:{_step(window)}s]"
        count = f"count_over_time({name}[{window}s])"
        between = f"(max_over_time({at}) - min_over_time({at}))"
        found = self._queries.at(f"{between} * {count} / ({count} - 1) > 0", time)
        return {key_of(labels): min(window, seconds) for labels, seconds in found}

    def _peaks(self) -> dict[PoolKey, float]:
        """Return the most connections and waiting callers at once of each pool."""
        both = f"{_NAME['used_peak']} + {_NAME['pending_peak']}"
        step = min(PEAK_STEP_SECONDS, self._window)
        found = self._queries.at(f"max_over_time(({both})[{self._seconds}s:{step}s])", self._end)
        return {key_of(labels): value for labels, value in found}

    def _nested(self) -> dict[PoolKey, float]:
        """Return of each pool how often a unit of work asked for a second connection, in the whole range."""
        found = self._queries.at(f"increase({_NAME['nested_acquires']}[{self._seconds}s])", self._end)
        return {key_of(labels): value for labels, value in found}

    def _samples(self, time: float) -> Iterator[Sample]:
        """Yield by how much counters grew in the window that ends at *time*, the gauges then, and the peaks in it."""
        functions = (("increase", _COUNTERS), ("last_over_time", _GAUGES), ("max_over_time", _PEAKS))
        for name, function in ((name, function) for function, names in functions for name in names):
            for labels, value in self._queries.at(f"{function}({name}[{self._window}s])", time):
                yield Sample(name, labels, value)
