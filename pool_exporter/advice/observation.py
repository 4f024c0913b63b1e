"""One pool at one moment as sizes are computed from it, out of a snapshot or out of samples of Prometheus.

A shared directory gives snapshots; a page of metrics and a Prometheus give samples. The numbers of both become the same
values here. Samples lack `present` and `exhausted`. Nothing here may read anything, or know a text format.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Final, NamedTuple, TypeAlias

from pool_exporter.advice.load import Load
from pool_exporter.advice.present import Present
from pool_exporter.advice.traffic import Totals, totals_of
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, POOL_LABELS, POOL_METRICS
from pool_exporter.metrics.pool_snapshot import PoolSnapshot

_NAME: Final = {metric.field: metric.prometheus for metric in POOL_METRICS}
_LABEL: Final = {metric.field: metric.label.prometheus for metric in POOL_METRICS if metric.label is not None}
_EXTRA: Final = ("job", "instance")
"""Labels that a Prometheus adds: the same pool of two replicas is two pools."""

PoolKey: TypeAlias = tuple[str, ...]
"""Which pool: the values of `POOL_LABELS`, then of the labels that a Prometheus adds."""


class Sample(NamedTuple):
    """One sample: a metric's name, its labels and its value."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Observation:
    """One pool at one moment, or the pools of one identity in all workers.

    Attributes:
        totals: Its counters.
        limit: The limits of all workers' pools together; None if there is none.
        size: The limit of each pool, pool_size + max_overflow; None if there is none.
        pending: Callers that wait.
        orphaned: Connections that are held and that no code would return.
        pending_peak: The most callers that waited at once, of the last minute or of a longer period; None if unknown.
        present: What is seen besides the counters; None where it is unknown.
        is_ended: Whether no living process has it.
        exhausted: In how many workers every place is taken and callers wait; 0 where that is unknown, as of samples.
    """

    totals: Totals
    limit: int | None
    size: int | None
    pending: int = 0
    orphaned: int = 0
    pending_peak: int | None = None
    present: Present | None = None
    is_ended: bool = False
    exhausted: int = 0

    @property
    def pools(self) -> int:
        """In how many workers there is a pool of this identity; 1 where the pools have no limit to count by."""
        return max(1, round(self.limit / self.size)) if self.limit and self.size else 1

    def load_since(self, before: "Observation", seconds: float) -> Load:
        """Return the load of the period from *before* to this one.

        Args:
            before: The same pool earlier.
            seconds: How much earlier.

        Raises:
            ValueError: A counter has fallen, because the process was started again in between.
        """
        load = self.load(self.totals.since(before.totals), seconds)
        present = before.present if self.present is None else self.present.merged(before.present)
        exhausted, pending = max(self.exhausted, before.exhausted), max(self.pending, before.pending)
        return replace(load, pending=pending, present=present, exhausted=exhausted)

    def load(self, grown: Totals, seconds: float, highest: float | None = None, *, use_rises: bool = False) -> Load:
        """Return the load of a period in which the counters grew by *grown*; see `Load` for the arguments."""
        return Load(
            grown=grown,
            seconds=seconds,
            size=self.size or self.limit,
            pools=self.pools,
            orphaned=self.orphaned,
            highest=highest,
            use_rises=use_rises,
            pending_peak=self.pending_peak,
            nested=max(grown.nested, self.totals.nested),
            pending=self.pending,
            present=self.present,
            exhausted=self.exhausted,
        )


def of_snapshot(pool: PoolSnapshot) -> Observation:
    """Return *pool* as it is."""
    return Observation(
        totals_of(pool),
        pool.max,
        _size(pool.info),
        pool.pending,
        pool.orphaned,
        pool.pending_peak,
        is_ended=not pool.info,  # Each living pool has labels.
        exhausted=len(pool.exhausted_in),
    )


def of_samples(samples: Iterable[Sample]) -> dict[PoolKey, Observation]:
    """Return every pool that *samples* of one moment, or of the growth in one period, are about.

    A value that is no number, or infinite, is none: a proxy may write one for what it does not know.
    """
    pools: dict[PoolKey, list[Sample]] = defaultdict(list)
    for sample in samples:
        if POOL_LABELS[0].prometheus in sample.labels and isfinite(sample.value):
            pools[key_of(sample.labels)].append(sample)
    return {key: _observation(found) for key, found in pools.items()}


def key_of(labels: Mapping[str, str]) -> PoolKey:
    """Return which pool a sample with these *labels* is about."""
    return tuple(labels.get(name, "") for name in (*(label.prometheus for label in POOL_LABELS), *_EXTRA))


def _observation(samples: list[Sample]) -> Observation:
    values = {sample.name: sample.value for sample in samples if not {"le", *_LABEL.values()} & sample.labels.keys()}
    failures = _by_label(samples, "acquire_failures")
    limit, pending = values.get(_NAME["max"]), values.get(_NAME["pending"], 0)
    totals = Totals(
        arrivals=values.get(_NAME["wait_time"] + "_count", 0)
        + sum(failures.values())
        - failures.get("timeout", 0)
        + pending,
        timeouts=failures.get("timeout", 0),
        use_seconds=values.get(_NAME["use_time"] + "_sum", 0),
        uses=_uses(samples),
        used_seconds=values.get(_NAME["used_seconds"], 0),
        nested=values.get(_NAME["nested_acquires"], 0),
        verdicts=_by_label(samples, "exhaustions"),
        pending_seconds=values.get(_NAME["pending_seconds"], 0),
    )
    info = next((sample.labels for sample in samples if sample.name == _NAME["info"]), {})
    orphaned, peak = values.get(_NAME["orphaned"], 0), values.get(_NAME["pending_peak"])
    return Observation(
        totals=totals,
        limit=None if limit is None else round(limit),
        size=_size(info),
        pending=round(pending),
        orphaned=round(orphaned),
        pending_peak=None if peak is None else round(peak),
        is_ended=not info,
    )


def _by_label(samples: Iterable[Sample], field: str) -> dict[str, float]:
    """Return the values of a metric by those of its label."""
    name, label = _NAME[field], _LABEL[field]
    return {sample.labels.get(label, ""): sample.value for sample in samples if sample.name == name}


def _uses(samples: Iterable[Sample]) -> tuple[float, ...]:
    """Return how many uses are in each bucket, of buckets that have all uses up to their bound."""
    name = _NAME["use_time"] + "_bucket"
    cumulative = {float(sample.labels["le"]): sample.value for sample in samples if sample.name == name}
    uses, below = [], 0.0
    for bound in (*BOUNDS_SECONDS, float("inf")):
        at_most = max(below, cumulative.get(bound, below))
        uses.append(at_most - below)
        below = at_most
    return tuple(uses)


def _size(info: Mapping[str, str]) -> int | None:
    """Return pool_size + max_overflow of the labels `pool_metrics.INFO_LABELS`; None where a pool has no limit."""
    try:
        size, overflow = int(info["pool_size"]), int(info.get("max_overflow", 0))
    except (KeyError, ValueError):
        return None
    return None if overflow < 0 or not size else size + overflow
