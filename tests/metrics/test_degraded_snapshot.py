"""A pool that cannot be measured shows how many connections are used, and no other number."""

import re

import pytest

from pool_exporter.metrics.degraded_snapshot import DegradedPoolSnapshot
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_metrics import POOL_METRICS
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.otel.points import PointStream
from pool_exporter.web.prometheus_families import families

ORDERS = PoolIdentity("orders")


def samples(snapshot: Snapshot) -> list[tuple[str, dict[str, str], float]]:
    """Return the samples of all families of pools."""
    names = {metric.family for metric in POOL_METRICS}
    found = [family for family in families(snapshot) if family.name in names]
    return [(sample.name, sample.labels, sample.value) for family in found for sample in family.samples]


def test_used_is_all_that_prometheus_gets() -> None:
    """One sample says how many connections are used."""
    labels = {"db_client_connection_pool_name": "orders", "db_client_connection_state": "used"}

    assert [("db_client_connection_count", labels, 3)] == samples(
        Snapshot(degraded_pools=(DegradedPoolSnapshot(ORDERS, 3),))
    )


def test_without_a_public_count_there_is_nothing() -> None:
    """A pool that does not count its connections has no sample."""
    assert [] == samples(Snapshot(degraded_pools=(DegradedPoolSnapshot(ORDERS, None),)))


@pytest.mark.parametrize("reads", [1, 2])
def test_used_is_all_that_opentelemetry_gets(reads: int) -> None:
    """The first read and the next ones have one point, also when they are compared with what was sent before."""
    stream, snapshot = PointStream(0), Snapshot(degraded_pools=(DegradedPoolSnapshot(ORDERS, 3),))
    for now in range(reads - 1):
        stream.read(snapshot, now)
        stream.commit(now)

    found = stream.read(snapshot, reads)

    assert {"db.client.connection.count"} == found.keys() & {metric.name for metric in POOL_METRICS}
    assert [3] == [point.value for point in found["db.client.connection.count"]]


def test_it_lacks_what_its_docstring_says() -> None:
    """Of the attributes of a measured pool it has all but those that its docstring names."""
    measured, degraded = (
        {name for name in dir(kind) if name[0] != "_"} for kind in (PoolSnapshot, DegradedPoolSnapshot)
    )
    lacking = measured - degraded
    named = set(re.findall(r"`(\w+)`", (DegradedPoolSnapshot.__doc__ or "").partition("PoolSnapshot` has")[2]))

    assert set() == degraded - measured
    assert named == lacking
