"""A pool gives the same values for sizing by its snapshot and by the samples that a page of metrics has of it."""

from math import inf, nan

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pool_exporter import instrument, unit
from pool_exporter.advice.observation import Observation, Sample, key_of, of_samples, of_snapshot
from pool_exporter.advice.rules_of_thumb import rule_for
from pool_exporter.advice.traffic import Totals
from pool_exporter.metrics.pool_metrics import BUCKETS, POOL_LABELS, POOL_METRICS
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.prometheus_families import families
from tests.pools import Database, checked

NOTHING = Totals(0, 0, 0, (0,) * BUCKETS, 0)


def test_a_page_of_metrics_has_what_a_snapshot_has() -> None:
    """Every counter, limit and gauge is the same on both ways, after uses, timeouts and nested checkouts."""
    engine = Database().engine(pool_size=2, max_overflow=1, pool_timeout=0)
    with instrument(engine, name="orders") as monitor:
        with unit("job"), engine.connect(), engine.connect(), engine.connect(), pytest.raises(PoolTimeoutError):
            engine.connect()
        pool = checked(monitor)
    shown = families(Snapshot(pools=(pool,)))
    (found,) = of_samples(Sample(*sample[:3]) for family in shown for sample in family.samples).values()

    assert (3, 1) == (found.size, found.pools)
    assert (4, 1, 3) == (found.totals.arrivals, found.totals.timeouts, found.totals.ended)
    assert 2 <= found.totals.nested
    assert 1 <= (found.pending_peak or 0)
    assert 0 <= found.totals.pending_seconds == pool.pending_seconds
    assert of_snapshot(pool) == found
    assert not found.is_ended
    engine.dispose()


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_value_that_is_no_number_is_unknown(value: float) -> None:
    """A page that another program has written is no error of the command."""
    labels = {POOL_LABELS[0].prometheus: "orders"}
    names = [name for metric in POOL_METRICS for name in (metric.prometheus, f"{metric.prometheus}_sum")]
    (found,) = of_samples([Sample("up", labels, 1.0), *(Sample(name, labels, value) for name in names)]).values()

    assert Observation(NOTHING, limit=None, size=None, is_ended=True) == found


def test_workers_are_counted_by_the_limit() -> None:
    """A limit of 20 of pools of 5 each is that of four workers; without a limit it is one."""
    assert 4 == Observation(NOTHING, limit=20, size=5).pools
    assert 1 == Observation(NOTHING, limit=None, size=None).pools


def test_pools_of_two_instances_are_two() -> None:
    """What a Prometheus adds, job and instance, tells pools apart."""
    names = ({"db_client_connection_pool_name": "a", "instance": instance} for instance in ("x", "y"))

    assert 2 == len({key_of(labels) for labels in names})


@pytest.mark.parametrize(
    ("rate", "load"), [(0, "light"), (99, "light"), (100, "medium"), (1000, "heavy"), (9e9, "heavy")]
)
def test_rules_of_thumb(rate: float, load: str) -> None:
    """Each number of callers a second has its rule."""
    assert load == rule_for(rate).load
