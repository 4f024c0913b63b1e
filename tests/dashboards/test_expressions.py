"""Every expression of every board and rule parses, and asks only for names and labels of the catalogue."""

import re
from typing import Any

import pytest
import yaml

from grafana.rules import ALERTS
from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.pool_metrics import EXPORTER_METRICS, INFO_LABELS, POOL_LABELS, POOL_METRICS
from pool_exporter.metrics.server_metrics import SERVER_METRICS
from tests.dashboards.boards import ROOT, expressions
from tests.dashboards.expressions import kept_labels, parsed, selectors

RULES = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / "deploy" / "prometheus").glob("pool.*.yaml")}
RULE_LIST = [rule for content in RULES.values() for group in content["groups"] for rule in group["rules"]]
RECORDED = {rule["record"] for rule in RULE_LIST if "record" in rule}

OF_PROMETHEUS = {
    "up",
    "ALERTS",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
}
"""What Prometheus writes itself about its targets and alerts."""

OF_SCRAPING = {"job", "instance", "cluster", "namespace"}
"""Labels that Prometheus, or its configuration, puts on every series."""

OF_ALERTS = {"alertname", "alertstate", "severity"}

SERIES = {
    f"{metric.family}_{part}" if part else metric.prometheus: metric
    for metric in (*POOL_METRICS, *EXPORTER_METRICS, *SERVER_METRICS)
    for part in (("bucket", "sum", "count") if metric.kind is Kind.HISTOGRAM else ("",))
}
OF_POOLS = {label.prometheus for label in POOL_LABELS}


def rule_expressions() -> list[tuple[str, str]]:
    """Return each rule's name and expression."""
    return [(rule.get("alert", rule.get("record")), rule["expr"]) for rule in RULE_LIST]


EVERY = [*expressions(), *rule_expressions()]
EACH = pytest.mark.parametrize(
    "expression", [pytest.param(text, id=f"{number}") for number, (_, text) in enumerate(EVERY)]
)


def allowed(name: str) -> set[str]:
    """Return the labels that a series has."""
    if name == "ALERTS":
        return OF_SCRAPING | OF_ALERTS | OF_POOLS
    metric = SERIES.get(name)
    own = {metric.label.prometheus} if metric is not None and metric.label is not None else set()
    if metric is not None:
        own |= {label.prometheus for label in metric.open_labels}
        own |= set(INFO_LABELS) if metric.kind is Kind.INFO else set()
    return OF_SCRAPING | OF_POOLS | own | ({"le"} if name.endswith("_bucket") else set())


def values_of(name: str, label: str) -> tuple[str, ...]:
    """Return the values of a closed label of the metric; none for an open one."""
    own: Any = SERIES[name].label if name in SERIES else None
    return own.values if own is not None and own.prometheus == label else ()


@EACH
def test_parses(expression: str) -> None:
    """Prometheus' grammar accepts it, with values for the variables."""
    parsed(expression)


@EACH
def test_series_exist(expression: str) -> None:
    """Each series is the catalogue's, Prometheus' own, or recorded by a rule."""
    assert set() == {name for name, _, _ in selectors(expression)} - set(SERIES) - OF_PROMETHEUS - RECORDED


@EACH
def test_labels_and_their_values_exist(expression: str) -> None:
    """Each selector has labels that the series has, and values that the label may have."""
    for name, matchers, _ in selectors(expression):
        assert set() == {matcher.name for matcher in matchers} - allowed(name)
        for matcher in matchers:
            closed = values_of(name, matcher.name)
            assert not closed or set(re.split(r"\|", matcher.value)) <= {*closed, ".+"}


@EACH
def test_kept_labels_exist(expression: str) -> None:
    """A label of an aggregation or a matching is one of a selected series."""
    known = (
        OF_SCRAPING
        | OF_ALERTS
        | set(INFO_LABELS)
        | set().union(*(allowed(name) for name, _, _ in selectors(expression)))
    )

    assert set() == kept_labels(expression) - known


@EACH
def test_counters_are_only_rated(expression: str) -> None:
    """A counter or a series of a histogram is only in functions that handle resets, a gauge never."""
    for name, _, above in selectors(expression):
        metric = SERIES.get(name)
        is_counter = metric is not None and metric.kind in (Kind.COUNTER, Kind.HISTOGRAM)
        functions = [getattr(node.func, "name", "") for node in above if type(node).__name__ == "Call"]
        rated = {"rate", "increase", "irate", "resets"} & set(functions)
        assert is_counter == bool(rated) or name in OF_PROMETHEUS


@EACH
def test_rates_come_before_sums(expression: str) -> None:
    """No rate is of an aggregation: the fall of a sum is not a reset."""
    for _, _, above in selectors(expression):
        kinds = [type(node).__name__ for node in above]
        calls = [n for n, node in enumerate(above) if kinds[n] == "Call" and node.func.name in ("rate", "increase")]
        assert not calls or "AggregateExpr" not in kinds[calls[-1] :]


def test_there_are_expressions() -> None:
    """The tests above cover boards, variables, annotations, recording rules and alerts."""
    places = " ".join(place for place, _ in EVERY)

    assert all(word in places for word in ("fleet:", "pool:", "annotation", "variable", "job_pool:", ALERTS[0].name))


@pytest.mark.parametrize(
    ("check", "expression"),
    [
        (test_parses, "sum by (job (up)"),
        (test_series_exist, "sum(sqlalchemy_pool_renamed_total)"),
        (test_labels_and_their_values_exist, 'sqlalchemy_pool_orphaned{state="x"}'),
        (test_labels_and_their_values_exist, 'rate(sqlalchemy_pool_closes_total{reason="no"}[5m])'),
        (test_kept_labels_exist, "sum by (pod) (sqlalchemy_pool_orphaned)"),
        (test_counters_are_only_rated, "sum(sqlalchemy_pool_leaked_total)"),
        (test_counters_are_only_rated, "rate(sqlalchemy_pool_orphaned[5m])"),
        (test_rates_come_before_sums, "rate(sum(sqlalchemy_pool_leaked_total)[5m:])"),
    ],
    ids=["syntax", "series", "label", "value", "kept", "counter", "gauge", "order"],
)
def test_each_check_can_fail(check: Any, expression: str) -> None:
    """Each of the checks above finds the fault that it is for."""
    with pytest.raises((AssertionError, ValueError)):
        check(expression)
