"""The table of metrics says what the conventions prescribe, once, in words that an operator understands."""

import re

import pytest

from pool_exporter.metrics import pool_metrics
from pool_exporter.metrics.metric import Kind, Label, Metric
from pool_exporter.metrics.pool_metrics import EXPORTER_METRICS, POOL_METRICS
from pool_exporter.metrics.server_metrics import SERVER_METRICS

METRICS: dict[str, Metric] = {metric.name: metric for metric in (*POOL_METRICS, *EXPORTER_METRICS, *SERVER_METRICS)}

# docs/db/database-metrics.md, v1.44.0, without `idle.min`: SQLAlchemy has no such setting.
CONVENTIONS = {
    "db.client.connection.count": (Kind.UPDOWN, "{connection}"),
    "db.client.connection.idle.max": (Kind.UPDOWN, "{connection}"),
    "db.client.connection.max": (Kind.UPDOWN, "{connection}"),
    "db.client.connection.pending_requests": (Kind.UPDOWN, "{request}"),
    "db.client.connection.timeouts": (Kind.COUNTER, "{timeout}"),
    "db.client.connection.create_time": (Kind.HISTOGRAM, "s"),
    "db.client.connection.wait_time": (Kind.HISTOGRAM, "s"),
    "db.client.connection.use_time": (Kind.HISTOGRAM, "s"),
}

# What the exposition formats add to a family's name, so that no family may be called like another one's sample.
SUFFIXES = ("_total", "_created", "_bucket", "_sum", "_count", "_info")

UNIT_WORDS = {"s": "seconds", "1": ""}


def translate(metric: Metric) -> str:
    """Translate a name to Prometheus, as compatibility/prometheus_and_openmetrics.md prescribes it."""
    name = re.sub("[^a-zA-Z0-9]+", "_", metric.name)
    unit = "" if re.fullmatch(r"\{.*\}", metric.unit) else UNIT_WORDS[metric.unit]
    if unit and not name.endswith(f"_{unit}"):
        name += f"_{unit}"
    return f"{name}_total" if metric.kind is Kind.COUNTER else name


@pytest.mark.parametrize("name", METRICS)
def test_prometheus_name_is_the_translation(name: str) -> None:
    """Each Prometheus name follows from the OpenTelemetry name, kind and unit by the specification's rules."""
    assert translate(METRICS[name]) == METRICS[name].prometheus


@pytest.mark.parametrize(
    ("metric", "family", "prometheus"),
    [
        (Metric("a.b", Kind.COUNTER, "{x}", "", ""), "a_b", "a_b_total"),
        (Metric("a.b", Kind.COUNTER, "s", "", ""), "a_b_seconds", "a_b_seconds_total"),
        (Metric("a.b_c", Kind.HISTOGRAM, "s", "", ""), "a_b_c_seconds", "a_b_c_seconds"),
        (Metric("a.b", Kind.UPDOWN, "{x}", "", ""), "a_b", "a_b"),
        (Metric("a.info", Kind.INFO, "1", "", ""), "a_info", "a_info"),
    ],
    ids=["counter", "counter-seconds", "histogram-seconds", "updown", "info"],
)
def test_family_is_the_name_without_total(metric: Metric, family: str, prometheus: str) -> None:
    """A family's name carries the unit, and only a counter's query name carries `_total` after it."""
    assert (family, prometheus) == (metric.family, metric.prometheus)


def test_conventions_are_followed_exactly() -> None:
    """The names under `db.client.connection.` are just the current conventions', with their kinds and units."""
    own = {
        name: (metric.kind, metric.unit) for name, metric in METRICS.items() if name.startswith("db.client.connection.")
    }

    assert CONVENTIONS == own


def test_attributes_follow_the_conventions() -> None:
    """The labels of a pool and of its states are the attributes that the conventions name."""
    attributes = [
        "db.client.connection.pool.name",
        "db.system.name",
        "db.namespace",
        "server.address",
        "server.port",
        "service.name",
        "service.instance.id",
    ]

    assert attributes == [label.name for label in pool_metrics.POOL_LABELS]
    assert Label("db.client.connection.state", ("idle", "used")) == METRICS["db.client.connection.count"].label


def test_own_metrics_have_their_own_namespaces() -> None:
    """What the conventions do not have is named after SQLAlchemy's pool, or after the exporter."""
    pools = {name.rpartition(".")[0] for name in (metric.name for metric in POOL_METRICS) if name not in CONVENTIONS}
    exporters = {metric.name.rpartition(".")[0] for metric in EXPORTER_METRICS}

    assert {"sqlalchemy.pool", "sqlalchemy.pool.unit"} == pools
    assert {"pool_exporter"} == exporters
    assert {"sqlalchemy.pool.server"} == {metric.name.rpartition(".")[0] for metric in SERVER_METRICS}


def test_no_two_metrics_share_a_name() -> None:
    """Each metric is declared once, and no two become one in Prometheus."""
    families = {metric.family for metric in METRICS.values()}

    assert len(POOL_METRICS) + len(EXPORTER_METRICS) + len(SERVER_METRICS) == len(METRICS) == len(families)


def test_no_family_is_called_like_a_sample_of_another() -> None:
    """A sample's name belongs to one family only, in every exposition format."""
    families = {metric.family for metric in METRICS.values()}

    assert set() == {family + suffix for family in families for suffix in SUFFIXES} & families


@pytest.mark.parametrize("name", METRICS)
def test_name_is_lower_case_words(name: str) -> None:
    """A name holds what both data models take without escaping."""
    assert re.fullmatch(r"[a-z]+([._][a-z]+)*", name)
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", METRICS[name].prometheus)


@pytest.mark.parametrize("name", METRICS)
def test_help_is_a_sentence(name: str) -> None:
    """Each help text is sentences of its own that begin and end as sentences do."""
    text = METRICS[name].help

    assert re.fullmatch(r"[A-Z][^\n]*\.|[A-Z][^\n]*; always 1\.", text)
    assert "  " not in text
    assert 1 == sum(metric.help == text for metric in METRICS.values())


@pytest.mark.parametrize("name", METRICS)
def test_unit_fits_the_kind(name: str) -> None:
    """Durations are in seconds, numbers are in the thing that is counted, an info has no unit."""
    metric = METRICS[name]
    expected = {Kind.HISTOGRAM: "s", Kind.INFO: "1"}.get(metric.kind, r"s|\{[a-z]+\}")

    assert re.fullmatch(expected, metric.unit)


@pytest.mark.parametrize(
    ("label", "values"),
    [
        (pool_metrics.STATES, {"idle", "used"}),
        (pool_metrics.ERROR_TYPES, {"timeout", "connect", "cancelled", "other"}),
        (pool_metrics.INVALIDATIONS, {"hard", "soft"}),
        (
            pool_metrics.CLOSE_REASONS,
            {"recycle", "invalidate", "cancelled", "pre_ping", "soft_invalidate", "pool_invalidate"}
            | {"overflow", "not_pooled", "dispose", "detached", "discarded"},
        ),
    ],
    ids=lambda case: case.name if isinstance(case, Label) else "",
)
def test_label_sets_are_closed(label: Label, values: set[str]) -> None:
    """The values of a metric's own label are known beforehand, each once."""
    assert values == set(label.values)
    assert len(values) == len(label.values)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.label is not None])
def test_own_label_is_closed_and_not_the_pools(name: str) -> None:
    """A label of a metric's own has a closed set and never hides one that every series of a pool has."""
    label = METRICS[name].label

    assert label is not None
    assert label.values
    assert label.prometheus not in {other.prometheus for other in pool_metrics.POOL_LABELS}


def test_label_is_translated() -> None:
    """A label's Prometheus name has underscores where the attribute has dots."""
    assert "db_client_connection_pool_name" == pool_metrics.POOL_NAME.prometheus


def test_info_labels_hide_no_pool_label() -> None:
    """The configuration's labels are each named once, apart from those that every series of the pool has."""
    labels = [*pool_metrics.INFO_LABELS, *(label.prometheus for label in pool_metrics.POOL_LABELS)]

    assert len(labels) == len(set(labels))
    assert [] == [label for label in labels if not re.fullmatch(r"[a-z]+(_[a-z]+)*", label)]


def test_bounds_reach_from_a_tenth_of_a_millisecond_past_the_timeout() -> None:
    """Bounds ascend from 0.1 ms, stand exactly at 0.1 s and at the default pool_timeout, and go on beyond it."""
    bounds = pool_metrics.BOUNDS_SECONDS

    assert sorted(set(bounds)) == list(bounds)
    assert 0.0001 == bounds[0]
    assert {0.1, 1.0, 30.0} <= set(bounds)
    assert bounds[-1] > 30.0


def test_metric_is_frozen() -> None:
    """The table cannot be changed at run time."""
    with pytest.raises(AttributeError):
        POOL_METRICS[0].name = "other"  # type: ignore[misc]  # that is the point
