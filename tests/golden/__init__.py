"""Whole scrapes, byte for byte. `python -m tests.golden` prints them anew; read the difference before you commit it.

The snapshot they are made of is built by hand, so that no clock, pool or file has a part in them.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client import parser
from prometheus_client.core import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics_parser

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_metrics import BUCKETS, EXHAUSTION_VERDICTS, EXPORTER_METRICS, POOL_METRICS
from pool_exporter.metrics.pool_snapshot import COUNTERS, Histogram, PoolSnapshot
from pool_exporter.metrics.snapshot import DirectoryFaults, DirectoryHealth, PushHealth, Snapshot
from pool_exporter.metrics.unit_use import UnitUse
from pool_exporter.web import responses

METRICS: Final = (*POOL_METRICS, *EXPORTER_METRICS)

TEXT: Final = "text/plain"
OPENMETRICS: Final = "application/openmetrics-text"

FILES: Final[Mapping[str, str]] = {
    "text.txt": f"{TEXT};version=0.0.4",
    "openmetrics.txt": f"{OPENMETRICS};version=1.0.0",
}
"""Each file's name, and the Accept header that asks for what it holds."""

ORDERS = PoolSnapshot(
    identity=PoolIdentity("orders", "postgresql", "shop", "db.example.com", "5432", "checkout", "0123456789abcdef"),
    config=PoolConfig(
        max=15,
        idle_max=5,
        labels={
            "pool_class": "AsyncAdaptedQueuePool",
            "dialect": "postgresql",
            "driver": "asyncpg",
            "pool_size": "5",
            "max_overflow": "10",
            "timeout_seconds": "30.0",
            "recycle_seconds": "1800",
            "pre_ping": "true",
            "lifo": "false",
            "reset_on_return": "rollback",
        },
    ),
    used=7,
    idle=3,
    pending=2,
    wait_time=Histogram(tuple(range(1, BUCKETS + 1)), 1234.5),
    create_time=Histogram((0, 0, 0, 0, 0, 6, 8, *(0,) * (BUCKETS - 7)), 0.1875),
    use_time=Histogram((*(0,) * (BUCKETS - 1), 1), 600.25),
    counters={
        "connects": 14,
        "acquire_failures": {"timeout": 20, "connect": 3, "cancelled": 4, "other": 1},
        "closes": {
            "recycle": 1,
            "invalidate": 0,
            "cancelled": 0,
            "pre_ping": 1,
            "soft_invalidate": 0,
            "pool_invalidate": 0,
            "overflow": 1,
            "not_pooled": 0,
            "dispose": 0,
            "detached": 0,
            "discarded": 0,
        },
        "invalidations": {"hard": 1, "soft": 2},
        "leaked": 1,
        "exhaustions": {**dict.fromkeys(EXHAUSTION_VERDICTS.values, 0), "leak": 2, "too_small": 1},
        "nested_acquires": 3,
    },
    detached=1,
    used_peak=15,
    pending_peak=9,
    used_seconds=98765.4321,
    pending_seconds=1234.5,
    saturated_seconds=0.001,
    oldest_use_seconds=3600.5,
    orphaned=1,
    accounting_drift=-1,
    lost_places=2,
    units={
        "none": UnitUse(2, 4.5571),
        "other": UnitUse(0, 60.125),
        "GET /orders/{id}": UnitUse(4, 98700.25),
        "nightly": UnitUse(1, 0.5),
    },
)
"""A pool that has been through everything."""

NOTHING = Histogram((0,) * BUCKETS, 0.0)

FRESH = PoolSnapshot(
    identity=PoolIdentity('a\\b "c"\nd é\U0001f418', "sqlite"),
    config=PoolConfig(labels={"pool_class": "NullPool"}),
    used=0,
    idle=0,
    pending=0,
    wait_time=NOTHING,
    create_time=NOTHING,
    use_time=NOTHING,
    counters={name: dict.fromkeys(label.values, 0) if label else 0 for name, label in COUNTERS.items()},
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
"""A pool without limits that was never used, with a name that needs every kind of escaping."""

SNAPSHOT = Snapshot(
    (ORDERS, FRESH),
    hook_errors=3,
    build={"version": "1.2.3", "sqlalchemy_version": "2.1.9", "hot_path": "python"},
    degraded=0,
    pools_instrumented=612,
    pools_ended=600,
    transport_errors=1,
    directory=DirectoryHealth(
        workers={"living": 3, "frozen": 1},
        workers_ended={"stopped": 7, "crashed": 2, "lost": 1},
        files=5,
        files_set_aside={"corrupt": 1, "irregular": 0, "shrunk": 0, "unreadable": 0, "version": 2},
        torn_reads=1,
        compaction_errors=0,
        pools_dropped=0,
        pools_merged=0,
        last_compaction_timestamp_seconds=1763872800.25,
        scrape_duration_seconds=0.003,
    ),
    faults=DirectoryFaults({}),
    web_config_stale=0,
    push=PushHealth({"arrived": 12, "failed": 1}, 7.5),
)
"""As a sidecar that pushes has it: every metric has a value."""


def path_of(name: str) -> Path:
    """Return where a golden file is."""
    return Path(__file__).parent / name


def scrape(accept: str, query: str = "", snapshot: Snapshot = SNAPSHOT) -> str:
    """Return the metrics of *snapshot* in the format asked for."""
    asked = responses.Request("GET", responses.METRICS, query, accept)
    return responses.respond(asked, lambda: snapshot).body.decode()


def parse_text(page: str) -> list[Family]:
    """Read text 0.0.4 or 1.0.0 back with prometheus_client's parser; ValueError where it is malformed."""
    return list(parser.text_string_to_metric_families(page))


def parse_openmetrics(page: str) -> list[Family]:
    """Read OpenMetrics back with prometheus_client's parser, which is strict; ValueError where it is malformed."""
    untyped: Any = openmetrics_parser
    return list(untyped.text_string_to_metric_families(page))


Parse = Callable[[str], list[Family]]
FORMATS: Final = pytest.mark.parametrize(
    ("accept", "parse"), [(TEXT, parse_text), (OPENMETRICS, parse_openmetrics)], ids=["text", "openmetrics"]
)
"""Runs a test on either format: the Accept header that asks for it, and its parser."""
