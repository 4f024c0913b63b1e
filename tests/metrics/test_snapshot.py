"""A snapshot refuses a value that no pool can have, and cannot be changed."""

import dataclasses
from collections import ChainMap
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_metrics import (
    BUCKETS,
    CLOSE_REASONS,
    ERROR_TYPES,
    EXHAUSTION_VERDICTS,
    EXPORTER_METRICS,
    INVALIDATIONS,
    POOL_LABELS,
    POOL_METRICS,
)
from pool_exporter.metrics.pool_snapshot import COUNTERS, Counter, Histogram, PoolSnapshot
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.state.decode import decode
from tests.fixtures.health import health, push_health
from tests.golden import SNAPSHOT
from tests.state.test_decode import CONFIG, IDENTITY, ORIGIN, read, slots_with

NO_DURATIONS = Histogram((0,) * BUCKETS, 0.0)


# Histograms.


def test_histogram_counts_what_is_in_its_buckets() -> None:
    """A histogram's count is the sum of its buckets."""
    assert 5 == Histogram((2,) + (0,) * (BUCKETS - 2) + (3,), 1.5).count


def test_histogram_cumulates() -> None:
    """Cumulated, each bucket counts what is at or below its bound, and the last one all."""
    histogram = Histogram((1,) * BUCKETS, 1.0)

    assert tuple(range(1, BUCKETS + 1)) == histogram.cumulative()


# Pools.


def test_every_metric_is_in_the_snapshot() -> None:
    """What the catalogue declares is an attribute of a snapshot under the name that it says."""
    pool, snapshot = read({}), SNAPSHOT
    limits = {"max", "idle_max"}
    missing = [metric.name for metric in POOL_METRICS if pool.value(metric.field) is None]

    assert len(limits) == len(missing)
    assert [] == [metric.name for metric in EXPORTER_METRICS if snapshot.value(metric.field) is None]


def test_pool_without_events_is_all_zeros() -> None:
    """Zeros and all values of a closed label set are there from the beginning."""
    expected = PoolSnapshot(
        identity=IDENTITY,
        config=CONFIG,
        used=0,
        idle=0,
        pending=0,
        wait_time=NO_DURATIONS,
        create_time=NO_DURATIONS,
        use_time=NO_DURATIONS,
        counters={
            "connects": 0,
            "acquire_failures": dict.fromkeys(ERROR_TYPES.values, 0),
            "closes": dict.fromkeys(CLOSE_REASONS.values, 0),
            "invalidations": dict.fromkeys(INVALIDATIONS.values, 0),
            "leaked": 0,
            "exhaustions": dict.fromkeys(EXHAUSTION_VERDICTS.values, 0),
            "nested_acquires": 0,
        },
        detached=0,
        used_peak=0,
        pending_peak=0,
        used_seconds=0.0,
        pending_seconds=0.0,
        saturated_seconds=0.0,
        oldest_use_seconds=0.0,
        orphaned=0,
        accounting_drift=0,
        lost_places=0,
    )

    assert expected == read({})


@pytest.mark.parametrize("kind", [dict, MappingProxyType, ChainMap], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", COUNTERS)
def test_negative_counter_is_refused(name: str, kind: Callable[[dict[str, int]], Mapping[str, int]]) -> None:
    """No counter of a pool is negative, whatever mapping holds its values."""
    label = COUNTERS[name]
    value = kind(dict.fromkeys(label.values, -1)) if label is not None else -1

    with pytest.raises(ValueError, match=f"'orders': counters.*{name}.* must be finite"):
        dataclasses.replace(read({}), counters={**read({}).counters, name: value})


@pytest.mark.parametrize("wrong", [{"nonsense": 1}, {}, 1], ids=["unknown value", "none", "no mapping"])
def test_labelled_counter_has_its_closed_set(wrong: Counter) -> None:
    """A labelled counter has every value of its label set and nothing else."""
    with pytest.raises(ValueError, match=r"'orders': counters\['closes'\] must have"):
        dataclasses.replace(read({}), counters={**read({}).counters, "closes": wrong})


@pytest.mark.parametrize("counters", [{}, {**read({}).counters, "novelties": 1}, {**read({}).counters, "leaked": {}}])
def test_counters_are_the_catalogues(counters: Mapping[str, Counter]) -> None:
    """A snapshot has each counter of the catalogue, as a number or by label as declared there, and no other."""
    with pytest.raises(ValueError, match="'orders'"):
        dataclasses.replace(read({}), counters=counters)


@pytest.mark.parametrize(
    "mapping",
    [
        read({}).counters,
        read({}).closes,
        PoolConfig(labels={"lifo": "true"}).labels,
        Snapshot(build={"version": "1"}).build,
        health(SNAPSHOT).workers,
        push_health(SNAPSHOT).otlp_pushes,
    ],
    ids=["counters", "closes", "config", "build", "workers", "pushes"],
)
def test_mappings_are_frozen(mapping: Any) -> None:
    """What a renderer gets cannot be changed by it, its mappings included."""
    with pytest.raises(TypeError, match="does not support item assignment"):
        mapping["dispose"] = -5


def test_snapshot_does_not_follow_the_mapping_it_was_made_of() -> None:
    """A snapshot is of the moment of its making."""
    labels = {"lifo": "true"}
    config = PoolConfig(labels=labels)
    labels["lifo"] = "false"

    assert {"lifo": "true"} == config.labels


# Names and limits.


def test_limits_and_labels_are_the_configurations() -> None:
    """What a pool is set up with is read from its configuration."""
    pool = decode(slots_with({}), ORIGIN, IDENTITY, PoolConfig(max=15, idle_max=5, labels={"lifo": "true"}))

    assert (15, 5, {"lifo": "true"}) == (pool.max, pool.idle_max, pool.info)


def test_identity_values_are_those_of_the_pool_labels() -> None:
    """There is a value for each label of a pool, in the same order."""
    identity = PoolIdentity("n", "postgresql", "orders", "db", "5432", "shop", "w1")

    assert ("n", "postgresql", "orders", "db", "5432", "shop", "w1") == identity.values()
    assert len(POOL_LABELS) == len(identity.values())
    assert "n" == dataclasses.replace(read({}), identity=identity).name


def test_pools_are_ordered_by_name() -> None:
    """Two snapshots of the same pools print the same, in whatever order the pools were found."""
    one, other = (dataclasses.replace(read({}), identity=PoolIdentity(name)) for name in ("a", "b"))

    assert Snapshot((one, other)) == Snapshot((other, one))
    assert ["a", "b"] == [pool.name for pool in Snapshot((other, one)).pools]


@pytest.mark.parametrize(
    "value", [NO_DURATIONS, IDENTITY, CONFIG, read({}), Snapshot()], ids=lambda v: type(v).__name__
)
def test_values_are_frozen(value: Any) -> None:
    """Nothing that a renderer gets can be changed by it."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, None)
