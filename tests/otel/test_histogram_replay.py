"""A histogram that is replayed ends up as it was: as many values in each bucket, and their sum."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, BUCKETS
from pool_exporter.metrics.pool_snapshot import Exemplar, Histogram
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.otel import histogram_replay
from pool_exporter.otel.histogram_replay import HistogramReplay, values
from pool_exporter.otel.points import METRICS
from tests.golden import FRESH, ORDERS
from tests.telemetry import collected, points

WAITS = "db.client.connection.wait_time"


def measured(durations: list[float]) -> Histogram:
    """Return the histogram of some durations."""
    buckets = [0] * BUCKETS
    for seconds in durations:
        buckets[Exemplar(seconds, 0, 0, 0).bucket] += 1
    return Histogram(tuple(buckets), sum(durations))


def waits(*durations: float) -> Snapshot:
    """Return a snapshot with these waits."""
    return Snapshot((replace(FRESH, wait_time=measured([*durations])),))


@pytest.fixture(name="reader")
def _reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture(name="replay")
def _reported(reader: InMemoryMetricReader) -> HistogramReplay:
    return HistogramReplay(MeterProvider([reader], shutdown_on_exit=False).get_meter("pool_exporter"), 1)


DURATIONS = st.one_of(st.floats(0, 500, allow_subnormal=False), st.sampled_from([0.0, *BOUNDS_SECONDS]))


@given(st.lists(DURATIONS, max_size=50))
def test_buckets_and_sum_are_kept(durations: list[float]) -> None:
    """Whatever was measured, the values that are replayed fall into the same buckets and have the same sum."""
    histogram = measured(durations)
    again = measured(list(values(histogram)))

    assert histogram.buckets == again.buckets
    assert histogram.sum == pytest.approx(again.sum, rel=1e-6, abs=1e-6 * len(durations))


def test_a_sum_that_cannot_be() -> None:
    """Between two stores of the writer a sum may be too small for the buckets: the values stay in their buckets."""
    histogram = replace(ORDERS.wait_time, sum=0.0)

    assert histogram.buckets == measured(list(values(histogram))).buckets


def test_what_is_new_is_recorded(replay: HistogramReplay, reader: InMemoryMetricReader) -> None:
    """Each replay records what was added since the one before, in real histograms with the package's bounds."""
    replay.replay(waits(0.2, 0.02), 2)
    replay.replay(waits(0.2, 0.02, 0.02, 7.0), 3)
    replay.replay(waits(0.2, 0.02, 0.02, 7.0), 4)
    (point,) = points(collected(reader)[WAITS])

    assert (measured([0.2, 0.02, 0.02, 7.0]).buckets, BOUNDS_SECONDS) == (
        tuple(point.bucket_counts),
        tuple(point.explicit_bounds),
    )
    assert 7.24 == pytest.approx(point.sum)


def test_names_and_units_are_the_catalogues(replay: HistogramReplay, reader: InMemoryMetricReader) -> None:
    """The instruments are named as the histograms that other ways report."""
    replay.replay(Snapshot((ORDERS,)), 2)
    expected = {metric.name: (metric.unit, metric.help) for metric in METRICS if metric.kind.value == "histogram"}

    assert expected == {name: (metric.unit, metric.description) for name, metric in collected(reader).items()}


def test_one_collection_takes_its_time(
    replay: HistogramReplay, reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collection gets at most the limit of values; later ones get the rest, and none is lost or recorded twice."""
    monkeypatch.setattr(histogram_replay, "VALUES_MAX", 10)
    counts = []
    for number in range(5):
        replay.replay(waits(*[0.2] * 25), number)
        counts.append(points(collected(reader)[WAITS])[0].count)

    assert [10, 20, 25, 25, 25] == counts
