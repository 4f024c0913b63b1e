"""The exposition formats: whole scrapes against golden files, and read back by Prometheus' own parsers and linter."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
from prometheus_client.core import Metric as Family

from pool_exporter.metrics.exporter_metrics import DIRECTORY_FAULTS
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.metric import Label, Metric
from pool_exporter.metrics.pool_metrics import (
    BOUNDS_SECONDS,
    EXHAUSTION_VERDICTS,
    INFO_LABELS,
    POOL_LABELS,
    POOL_METRICS,
    UNIT,
)
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.metrics.unit_use import NONE, OTHER
from pool_exporter.web.prometheus_families import families
from tests.golden import (
    FILES,
    FORMATS,
    FRESH,
    METRICS,
    OPENMETRICS,
    ORDERS,
    SNAPSHOT,
    TEXT,
    Parse,
    parse_openmetrics,
    parse_text,
    path_of,
    scrape,
)

ORDERS_LABELS = {
    "db_client_connection_pool_name": "orders",
    "db_system_name": "postgresql",
    "db_namespace": "shop",
    "server_address": "db.example.com",
    "server_port": "5432",
    "service_name": "checkout",
    "service_instance_id": "0123456789abcdef",
}
FRESH_LABELS = {"db_client_connection_pool_name": 'a\\b "c"\nd é\U0001f418', "db_system_name": "sqlite"}

# What the pool `orders` of the golden snapshot has to show, buckets aside: written out by hand, the renderer's oracle.
ORDERS_VALUES: Mapping[tuple[str, str], float] = {
    ("db_client_connection_count", "idle"): 3,
    ("db_client_connection_count", "used"): 7,
    ("db_client_connection_max", ""): 15,
    ("db_client_connection_idle_max", ""): 5,
    ("db_client_connection_pending_requests", ""): 2,
    ("db_client_connection_timeouts_total", ""): 20,
    ("db_client_connection_wait_time_seconds_sum", ""): 1234.5,
    ("db_client_connection_wait_time_seconds_count", ""): 210,
    ("db_client_connection_create_time_seconds_sum", ""): 0.1875,
    ("db_client_connection_create_time_seconds_count", ""): 14,
    ("db_client_connection_use_time_seconds_sum", ""): 600.25,
    ("db_client_connection_use_time_seconds_count", ""): 1,
    ("sqlalchemy_pool_checkouts_total", ""): 190,
    ("sqlalchemy_pool_connects_total", ""): 14,
    ("sqlalchemy_pool_acquire_failures_total", "timeout"): 20,
    ("sqlalchemy_pool_acquire_failures_total", "connect"): 3,
    ("sqlalchemy_pool_acquire_failures_total", "cancelled"): 4,
    ("sqlalchemy_pool_acquire_failures_total", "other"): 1,
    ("sqlalchemy_pool_closes_total", "recycle"): 1,
    ("sqlalchemy_pool_closes_total", "invalidate"): 0,
    ("sqlalchemy_pool_closes_total", "cancelled"): 0,
    ("sqlalchemy_pool_closes_total", "pre_ping"): 1,
    ("sqlalchemy_pool_closes_total", "soft_invalidate"): 0,
    ("sqlalchemy_pool_closes_total", "pool_invalidate"): 0,
    ("sqlalchemy_pool_closes_total", "overflow"): 1,
    ("sqlalchemy_pool_closes_total", "not_pooled"): 0,
    ("sqlalchemy_pool_closes_total", "dispose"): 0,
    ("sqlalchemy_pool_closes_total", "detached"): 0,
    ("sqlalchemy_pool_closes_total", "discarded"): 0,
    ("sqlalchemy_pool_invalidations_total", "hard"): 1,
    ("sqlalchemy_pool_invalidations_total", "soft"): 2,
    ("sqlalchemy_pool_leaked_total", ""): 1,
    **{("sqlalchemy_pool_exhaustions_total", verdict): 0 for verdict in EXHAUSTION_VERDICTS.values},
    ("sqlalchemy_pool_exhaustions_total", "leak"): 2,
    ("sqlalchemy_pool_exhaustions_total", "too_small"): 1,
    ("sqlalchemy_pool_nested_acquires_total", ""): 3,
    ("sqlalchemy_pool_detached", ""): 1,
    ("sqlalchemy_pool_used_peak", ""): 15,
    ("sqlalchemy_pool_pending_peak", ""): 9,
    ("sqlalchemy_pool_used_seconds_total", ""): 98765.4321,
    ("sqlalchemy_pool_unit_connections", "none"): 2,
    ("sqlalchemy_pool_unit_connections", "other"): 0,
    ("sqlalchemy_pool_unit_connections", "GET /orders/{id}"): 4,
    ("sqlalchemy_pool_unit_connections", "nightly"): 1,
    ("sqlalchemy_pool_unit_used_seconds_total", "none"): 4.5571,
    ("sqlalchemy_pool_unit_used_seconds_total", "other"): 60.125,
    ("sqlalchemy_pool_unit_used_seconds_total", "GET /orders/{id}"): 98700.25,
    ("sqlalchemy_pool_unit_used_seconds_total", "nightly"): 0.5,
    ("sqlalchemy_pool_pending_seconds_total", ""): 1234.5,
    ("sqlalchemy_pool_saturated_seconds_total", ""): 0.001,
    ("sqlalchemy_pool_oldest_use_seconds", ""): 3600.5,
    ("sqlalchemy_pool_orphaned", ""): 1,
    ("sqlalchemy_pool_accounting_drift", ""): -1,
    ("sqlalchemy_pool_lost_places", ""): 2,
    ("sqlalchemy_pool_info", ""): 1,
}
OWN_LABELS = {metric.label.prometheus for metric in METRICS if metric.label is not None} | {UNIT.prometheus}


def values_of(page: list[Family], pool: str) -> dict[tuple[str, str], float]:
    """Return a pool's samples without buckets, by sample name and the value of the metric's own label, "" for none."""
    return {
        (sample.name, next((sample.labels[own] for own in OWN_LABELS & sample.labels.keys()), "")): sample.value
        for family in page
        for sample in family.samples
        if sample.labels.get("db_client_connection_pool_name") == pool and "le" not in sample.labels
    }


def buckets_of(page: list[Family], histogram: str, pool: str) -> dict[float, float]:
    """Return a pool's buckets of one histogram: counts by upper bound, in the page's order."""
    return {
        float(sample.labels["le"]): sample.value
        for family in page
        for sample in family.samples
        if sample.name == f"{histogram}_bucket" and sample.labels["db_client_connection_pool_name"] == pool
    }


# Whole pages.


@pytest.mark.parametrize("name", FILES)
def test_page_is_the_golden_one(name: str) -> None:
    """Every byte of a scrape is as in the golden file."""
    assert path_of(name).read_text(encoding="utf-8") == scrape(FILES[name])


def test_text_1_0_0_differs_in_its_content_type_only() -> None:
    """Names that were legal before need nothing that text 1.0.0 brings."""
    assert scrape("text/plain;version=0.0.4") == scrape("text/plain;version=1.0.0")


@FORMATS
def test_page_says_what_the_snapshot_says(accept: str, parse: Parse) -> None:
    """Every number of the snapshot, and no other, is read back from the page."""
    assert ORDERS_VALUES == values_of(parse(scrape(accept)), "orders")


@FORMATS
def test_exporters_own_metrics_are_read_back(accept: str, parse: Parse) -> None:
    """The exporter's health belongs to no pool, and what a sidecar reports is there with every value of its labels."""
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in parse(scrape(accept))
        for sample in family.samples
        if "db_client_connection_pool_name" not in sample.labels
    }
    faults: dict[tuple[str, ...], float] = {
        ("pool_exporter_directory_faults", each): 0 for each in DIRECTORY_FAULTS.values
    }

    assert {
        ("pool_exporter_build_info", "python", "2.1.9", "1.2.3"): 1,
        ("pool_exporter_hook_errors_total",): 3,
        ("pool_exporter_degraded",): 0,
        ("pool_exporter_pools_instrumented_total",): 612,
        ("pool_exporter_pools_ended_total",): 600,
        ("pool_exporter_workers", "living"): 3,
        ("pool_exporter_workers", "frozen"): 1,
        ("pool_exporter_workers_ended_total", "stopped"): 7,
        ("pool_exporter_workers_ended_total", "crashed"): 2,
        ("pool_exporter_workers_ended_total", "lost"): 1,
        ("pool_exporter_files",): 5,
        ("pool_exporter_files_set_aside", "corrupt"): 1,
        ("pool_exporter_files_set_aside", "irregular"): 0,
        ("pool_exporter_files_set_aside", "shrunk"): 0,
        ("pool_exporter_files_set_aside", "unreadable"): 0,
        ("pool_exporter_files_set_aside", "version"): 2,
        ("pool_exporter_torn_reads_total",): 1,
        ("pool_exporter_compaction_errors_total",): 0,
        ("pool_exporter_pools_dropped",): 0,
        ("pool_exporter_transport_errors_total",): 1,
        ("pool_exporter_pools_merged",): 0,
        ("pool_exporter_last_compaction_timestamp_seconds",): 1763872800.25,
        ("pool_exporter_scrape_duration_seconds",): 0.003,
        ("pool_exporter_web_config_stale",): 0,
        ("pool_exporter_otlp_pushes_total", "arrived"): 12,
        ("pool_exporter_otlp_pushes_total", "failed"): 1,
        ("pool_exporter_otlp_push_age_seconds",): 7.5,
        **faults,
    } == samples


@FORMATS
@pytest.mark.parametrize("kind", ["wait", "create", "use"])
def test_buckets_are_read_back(accept: str, parse: Parse, kind: str) -> None:
    """Each histogram has all bounds of the catalogue and +Inf, ascending, with cumulated counts."""
    buckets = buckets_of(parse(scrape(accept)), f"db_client_connection_{kind}_time_seconds", "orders")

    assert [*BOUNDS_SECONDS, math.inf] == list(buckets)
    assert list(getattr(ORDERS, f"{kind}_time").cumulative()) == list(buckets.values())


@FORMATS
def test_labels_are_read_back(accept: str, parse: Parse) -> None:
    """A pool's labels arrive as they were, whatever is in them, and an attribute that it has not is no label."""
    [family] = [family for family in parse(scrape(accept)) if family.name == "sqlalchemy_pool_detached"]

    assert [FRESH_LABELS, ORDERS_LABELS] == [sample.labels for sample in family.samples]


@FORMATS
def test_configuration_is_read_back(accept: str, parse: Parse) -> None:
    """The info metric has the pool's labels and its settings, those of the catalogue."""
    [family] = [family for family in parse(scrape(accept)) if family.name == "sqlalchemy_pool_info"]

    assert {**ORDERS_LABELS, **ORDERS.config.labels} == family.samples[1].labels
    assert set(INFO_LABELS) == set(ORDERS.config.labels)


@FORMATS
def test_no_series_stands_twice(accept: str, parse: Parse) -> None:
    """No two samples have the same name and labels."""
    samples = Counter(
        (sample.name, frozenset(sample.labels.items())) for family in parse(scrape(accept)) for sample in family.samples
    )

    assert [1] == sorted(set(samples.values()))


# Completeness.


@FORMATS
@pytest.mark.parametrize("snapshot", [Snapshot(), SNAPSHOT], ids=["no-pool", "two-pools"])
def test_every_metric_is_on_every_page(accept: str, parse: Parse, snapshot: Snapshot) -> None:
    """The page has the families of the catalogue, in its order, also before the first pool is instrumented.

    Those that only a sidecar knows are on its pages only.
    """
    shown = [metric for metric in METRICS if metric in POOL_METRICS or snapshot.value(metric.field) is not None]

    assert [metric.family for metric in shown] == [family.name for family in parse(scrape(accept, snapshot=snapshot))]


def test_zeros_are_there() -> None:
    """An unused pool has every series but those of its limits, all 0 except the info."""
    values = values_of(parse_openmetrics(scrape(OPENMETRICS)), FRESH.name)
    limits = {("db_client_connection_max", ""), ("db_client_connection_idle_max", "")}

    assert {key for key in ORDERS_VALUES.keys() - limits if key[1] not in ORDERS.units.keys() - {NONE, OTHER}} == (
        values.keys()
    )
    assert {("sqlalchemy_pool_info", "")} == {key for key, value in values.items() if value}


@pytest.mark.parametrize(
    "metric", [metric for metric in METRICS if metric.label is not None], ids=lambda metric: metric.name
)
def test_closed_label_sets_are_complete(metric: Metric) -> None:
    """Every state, reason, kind and error type has its series from the start, so that a rate of it is never missing."""
    assert metric.label is not None
    samples = [sample for family in parse_text(scrape(TEXT)) for sample in family.samples]
    fresh = [each for each in samples if each.labels.get("db_client_connection_pool_name", FRESH.name) == FRESH.name]
    found = [each.labels[metric.label.prometheus] for each in fresh if each.name == metric.prometheus]

    assert list(metric.label.values) == found


def exporters_values(page: list[Family], label: Label) -> list[tuple[str, str]]:
    """Return the names and the label's values of the samples that belong to no pool."""
    samples = [sample for family in page for sample in family.samples if len(sample.labels) == 1]
    return [(s.name, s.labels[label.prometheus]) for s in samples if label.prometheus in s.labels]


def test_limit_that_is_not_there_is_absent() -> None:
    """No limit is no series: neither -1 nor 0, which a rule would take for a number."""
    page = scrape(TEXT, snapshot=Snapshot((FRESH,)))

    assert not re.search(r"^db_client_connection_(idle_)?max\{", page, re.MULTILINE)


def test_pages_are_in_order_whatever_the_pools_came_in() -> None:
    """Pools stand in the order of their names, so that two scrapes can be compared."""
    assert scrape(TEXT) == scrape(TEXT, snapshot=replace(SNAPSHOT, pools=(FRESH, ORDERS)))


# Labels.


def test_pools_that_differ_in_one_label_do_not_mix() -> None:
    """Two pools of one name are two sets of series as long as anything else of their identity differs."""
    other = replace(ORDERS, identity=replace(ORDERS.identity, service="refund"), used=1)
    page = parse_openmetrics(scrape(OPENMETRICS, snapshot=Snapshot((ORDERS, other))))
    used = {
        sample.labels["service_name"]: sample.value
        for family in page
        for sample in family.samples
        if sample.labels.get("db_client_connection_state") == "used"
    }

    assert {"checkout": 7, "refund": 1} == used


def test_identity_is_label_by_label() -> None:
    """Each attribute of a pool's identity is its own label's value."""
    pool = replace(FRESH, identity=PoolIdentity("n", "s", "d", "a", "p", "v", "i"))

    assert dict(zip([label.prometheus for label in POOL_LABELS], "nsdapvi", strict=True)) == labels_of(pool)


def labels_of(pool: PoolSnapshot) -> dict[str, str]:
    """Return the labels of a pool's gauge of detached connections."""
    [family] = [family for family in families(Snapshot((pool,))) if family.name == "sqlalchemy_pool_detached"]
    return family.samples[0].labels
