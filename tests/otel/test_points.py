"""The points say of each pool what the snapshot says, since the right time, as they are or as what is new."""

from dataclasses import replace
from typing import Any

import pytest

from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, BUCKETS
from pool_exporter.metrics.pool_snapshot import Exemplar, Histogram, PoolSnapshot
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.metrics.unit_use import UnitUse
from pool_exporter.otel.points import GROWING, METRICS, Point, PointStream, attributes_of, unit_of
from tests.golden import FRESH, NOTHING, ORDERS, SNAPSHOT
from tests.web.test_server_families import DATABASE

START, THEN, NOW = 1_000, 2_000, 3_000
WAITS, CHECKOUTS = "db.client.connection.wait_time", "sqlalchemy.pool.checkouts"
CLOSES, COUNT = "sqlalchemy.pool.closes", "db.client.connection.count"


def of_orders(found: dict[str, list[Point]], name: str, **own: str) -> Point:
    """Return the point of the pool "orders" that has the metric's own attributes."""
    (point,) = (
        point
        for point in found[name]
        if point.attributes["db.client.connection.pool.name"] == "orders" and own.items() <= point.attributes.items()
    )
    return point


def grown(pool: PoolSnapshot, **more: Any) -> Snapshot:
    """Return a snapshot in which the pool had two waits more, and whatever else is given."""
    waits = (pool.wait_time.buckets[0] + 2, *pool.wait_time.buckets[1:])
    return Snapshot((replace(pool, wait_time=Histogram(waits, pool.wait_time.sum + 0.5), **more),), 4, SNAPSHOT.build)


def test_every_metric_has_points() -> None:
    """All metrics of the catalogue are there, none is without a point."""
    found = PointStream(START).read(SNAPSHOT, NOW)

    assert [metric.name for metric in METRICS] == [metric.name for metric in METRICS if found[metric.name]]
    assert {metric.name for metric in METRICS} == set(found)


def test_a_limit_that_is_not_there_has_no_point() -> None:
    """A pool without a limit has no series of it; zero would be a limit."""
    assert "db.client.connection.max" not in PointStream(START).read(Snapshot((FRESH,)), NOW)


def test_attributes_are_the_conventions() -> None:
    """The attributes have the conventions' names and types; what a pool does not have is left out."""
    attributes = {
        "db.client.connection.pool.name": "orders",
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        "server.address": "db.example.com",
        "server.port": 5432,
        "service.name": "checkout",
        "service.instance.id": "0123456789abcdef",
    }

    assert attributes == attributes_of(ORDERS.identity)
    assert {"db.client.connection.pool.name": "x"} == attributes_of(PoolIdentity("x"))


def test_port_that_is_no_number() -> None:
    """It stays text."""
    assert "http" == attributes_of(PoolIdentity("a", port="http"))["server.port"]


def test_an_info_has_no_unit() -> None:
    """Prometheus' translation adds `_ratio` to what has the unit 1."""
    assert {""} == {unit_of(metric) for metric in METRICS if metric.kind is Kind.INFO}
    assert {"s"} == {unit_of(metric) for metric in METRICS if metric.kind is Kind.HISTOGRAM}


def test_cumulative_values_count_since_the_start() -> None:
    """However often they are read, cumulative values keep the time since when they count."""
    stream = PointStream(START)
    for now in (THEN, NOW):
        found = stream.read(SNAPSHOT, now)
        stream.commit(now)

        assert Point(attributes_of(ORDERS.identity), ORDERS.wait_time, START) == of_orders(found, WAITS)
        assert 7 == of_orders(found, COUNT, **{"db.client.connection.state": "used"}).value


def test_a_pool_that_comes_later_counts_since_the_read_before() -> None:
    """A pool that was not there yet counts since it was not."""
    stream = PointStream(START)
    stream.read(Snapshot((FRESH,)), THEN)
    stream.commit(THEN)

    assert THEN == of_orders(stream.read(SNAPSHOT, NOW), WAITS).start


def test_deltas_are_what_is_new() -> None:
    """The first read of deltas has all there was, the next what came since, by counter, label and bucket."""
    stream = PointStream(START, GROWING)
    first = stream.read(Snapshot((ORDERS,)), THEN)
    stream.commit(THEN)
    second = stream.read(grown(ORDERS, counters={**ORDERS.counters, "closes": {**ORDERS.closes, "recycle": 5}}), NOW)

    assert (ORDERS.checkouts, START) == (of_orders(first, CHECKOUTS).value, of_orders(first, CHECKOUTS).start)
    assert (2, THEN) == (of_orders(second, CHECKOUTS).value, of_orders(second, CHECKOUTS).start)
    assert Histogram((2, *(0,) * (BUCKETS - 1)), 0.5) == of_orders(second, WAITS).value
    assert (4, 0) == (
        of_orders(second, CLOSES, reason="recycle").value,
        of_orders(second, CLOSES, reason="overflow").value,
    )
    assert 4 == second["pool_exporter.hook_errors"][0].value


def test_levels_are_never_deltas() -> None:
    """What goes up and down is reported as it is, whatever is asked for."""
    stream = PointStream(START, frozenset(Kind))
    for now in (THEN, NOW):
        found = stream.read(SNAPSHOT, now)
        stream.commit(now)

        assert (7, START) == (
            of_orders(found, COUNT, **{"db.client.connection.state": "used"}).value,
            of_orders(found, COUNT, **{"db.client.connection.state": "used"}).start,
        )
    assert GROWING == stream.deltas


def test_an_export_that_fails_loses_nothing() -> None:
    """What was read and not committed is in the next read again, and counts since the last one that was."""
    stream = PointStream(START, GROWING)
    stream.read(Snapshot((ORDERS,)), THEN)
    stream.commit(THEN)
    for now in (THEN + 1, THEN + 2, NOW):
        found = of_orders(stream.read(grown(ORDERS), now), CHECKOUTS)

        assert (2, THEN) == (found.value, found.start)


@pytest.mark.parametrize(("deltas", "expected"), [(GROWING, 1), (frozenset(), 1)], ids=["delta", "cumulative"])
def test_another_pool_of_the_name_begins_anew(deltas: frozenset[Kind], expected: int) -> None:
    """Counters that fell are another pool's: they are reported whole, since the read before, and never negative."""
    stream = PointStream(START, deltas)
    stream.read(SNAPSHOT, THEN)
    stream.commit(THEN)
    one = Histogram((1, *(0,) * (BUCKETS - 1)), 0.00005)
    counters = {**ORDERS.counters, "acquire_failures": FRESH.acquire_failures}
    fallen = replace(ORDERS, wait_time=one, counters=counters, used_seconds=1.0)
    found = of_orders(stream.read(Snapshot((fallen,)), NOW), CHECKOUTS)

    assert (expected, THEN) == (found.value, found.start)


def test_only_the_fallen_pool_begins_anew() -> None:
    """Another pool's reset changes nothing of the others."""
    stream = PointStream(START)
    other = replace(ORDERS, identity=PoolIdentity("other"))
    stream.read(Snapshot((ORDERS, other)), THEN)
    stream.commit(THEN)
    found = stream.read(Snapshot((ORDERS, replace(other, use_time=NOTHING))), NOW)

    assert START == of_orders(found, WAITS).start
    assert {START, THEN} == {point.start for point in found[WAITS]}


def test_servers_are_reported_as_pools_are() -> None:
    """A server's errors are deltas when these are asked for, also when a name that pools know it under has gone."""
    stream, name = PointStream(START, GROWING), "sqlalchemy.pool.server.errors"
    stream.read(Snapshot(servers=(DATABASE,)), THEN)
    stream.commit(THEN)
    more = {error: number + 2 for error, number in DATABASE.errors.items()}
    later = replace(DATABASE, errors=more, identity=replace(DATABASE.identity, aliases=(("another", "1"),)))
    found = stream.read(Snapshot(servers=(later,)), NOW)[name]

    assert {(2, THEN)} == {(point.value, point.start) for point in found}
    assert set(more) == {point.attributes["error.type"] for point in found}


def test_exemplars_are_reported_once() -> None:
    """An exemplar that has been reported is not reported again; one that is new is."""
    old, new = Exemplar(0.3, THEN, 1, 2), Exemplar(0.7, NOW, 3, 4)
    stream = PointStream(START)
    before = replace(ORDERS, wait_time=replace(ORDERS.wait_time, exemplars=(old,)))
    reported = of_orders(stream.read(Snapshot((before,)), THEN), WAITS).value
    stream.commit(THEN)
    after = replace(ORDERS, wait_time=replace(ORDERS.wait_time, exemplars=(old, new)))
    now = of_orders(stream.read(Snapshot((after,)), NOW), WAITS).value

    assert isinstance(reported, Histogram)
    assert isinstance(now, Histogram)
    assert ((old,), (new,)) == (reported.exemplars, now.exemplars)


def test_an_exemplar_knows_its_bucket() -> None:
    """A duration at a bound is in that bound's bucket, as Prometheus' `le` has it; one over the last is in the last."""
    buckets = [Exemplar(seconds, NOW, 1, 2).bucket for seconds in (0.0, BOUNDS_SECONDS[3], 0.3, 1e6)]

    assert [0, 3, BOUNDS_SECONDS.index(0.5), BUCKETS - 1] == buckets


def test_share_of_a_unit_that_falls_is_no_new_pool() -> None:
    """After a restart, a reader may give a part of the time to another unit: no delta is below 0."""
    stream = PointStream(0, GROWING)
    before = replace(ORDERS, units={"a": UnitUse(0, 5.0), "b": UnitUse(0, 1.0)})
    stream.read(Snapshot((before,)), 1)
    stream.commit(1)
    after = replace(ORDERS, units={"a": UnitUse(0, 4.0), "b": UnitUse(0, 3.0), "c": UnitUse(0, 2.0)})
    found = stream.read(Snapshot((after,)), 2)
    units = {point.attributes["unit"]: point.value for point in found["sqlalchemy.pool.unit.used"]}

    assert {"none": 0, "other": 0.0, "a": 0, "b": 2.0, "c": 2.0} == units
    assert 0 == of_orders(found, "sqlalchemy.pool.checkouts").value
