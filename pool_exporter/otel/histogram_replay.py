"""Replays histograms into a MeterProvider that can have no metric producer, value by value at each collection.

The values are not those that were measured, but they give the same histogram: as many in each bucket, and the same sum.
A collection records at most `VALUES_MAX` values, about 7 microseconds each; the next collections record the rest.
Exemplars cannot be replayed.
"""

from collections.abc import Iterator
from itertools import islice, pairwise, repeat
from math import inf, nextafter
from typing import Final

from opentelemetry.metrics import Histogram as Instrument
from opentelemetry.metrics import Meter

from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS
from pool_exporter.metrics.pool_snapshot import Histogram
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.otel.points import GROWING, METRICS, Attributes, PointStream

VALUES_MAX: Final = 10_000

_EDGES: Final = (0.0, *BOUNDS_SECONDS)


class HistogramReplay:
    """The histograms of one meter, and what was recorded in them. One thread at a time."""

    def __init__(self, meter: Meter, start: int) -> None:
        self._stream = PointStream(start, GROWING)
        self._instruments = {
            metric.name: meter.create_histogram(
                metric.name, metric.unit, metric.help, explicit_bucket_boundaries_advisory=BOUNDS_SECONDS
            )
            for metric in METRICS
            if metric.kind is Kind.HISTOGRAM
        }
        self._waiting: Iterator[tuple[Instrument, float, Attributes]] = iter(())

    def replay(self, snapshot: Snapshot, now: int) -> None:
        """Record what is left of the snapshot before, then what is new in this one. *now* is nanoseconds since 1970."""
        left = VALUES_MAX - self._record_waiting(VALUES_MAX)
        if left:
            points = self._stream.read(snapshot, now)
            self._stream.commit(now)
            self._waiting = (
                (instrument, value, point.attributes)
                for name, instrument in self._instruments.items()
                for point in points.get(name, ())
                if isinstance(point.value, Histogram)
                for value in values(point.value)
            )
            self._record_waiting(left)

    def _record_waiting(self, most: int) -> int:
        number = 0
        for instrument, value, attributes in islice(self._waiting, most):
            instrument.record(value, attributes)
            number += 1
        return number


def values(histogram: Histogram) -> Iterator[float]:
    """Yield values that fall into the histogram's buckets and have its sum."""
    lows = [low * number for low, number in zip(_EDGES, histogram.buckets, strict=True)]
    widths = [high - low for low, high in pairwise(_EDGES)]
    room = sum(width * number for width, number in zip(widths, histogram.buckets, strict=False))
    over = histogram.sum - sum(lows)
    share = min(1.0, max(0.0, over / room)) if room else 0.0
    for low, width, number in zip(_EDGES, widths, histogram.buckets, strict=False):
        yield from repeat(max(low + width * share, nextafter(low, inf) if low else 0.0), number)
    if endless := histogram.buckets[-1]:
        yield from repeat(max(_EDGES[-1] + (over - room * share) / endless, nextafter(_EDGES[-1], inf)), endless)
