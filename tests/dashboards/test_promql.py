"""Expressions are built from the catalogue: what is not in it cannot be asked for."""

import pytest

from grafana import queries
from grafana.promql import Scope, among, by, equal, name, other_than, quantile, ratio
from pool_exporter.metrics.pool_metrics import ERROR_TYPES, STATES
from tests.dashboards.expressions import parsed

BOARD = Scope(('job=~"$job"',))


def test_names_are_the_catalogues() -> None:
    """A field gives the name of its metric in Prometheus, a histogram's part that of its series."""
    assert "db_client_connection_timeouts_total" == name("timeouts")
    assert "db_client_connection_wait_time_seconds_bucket" == name("wait_time", "bucket")


@pytest.mark.parametrize(
    ("field", "part", "error"),
    [("renamed", "", LookupError), ("timeouts", "sum", ValueError), ("wait_time", "", ValueError)],
    ids=["unknown", "no-histogram", "no-part"],
)
def test_what_is_not_in_the_catalogue_cannot_be_asked_for(field: str, part: str, error: type[Exception]) -> None:
    """An unknown field, a part of a metric without parts, and a histogram without a part are errors at build time."""
    with pytest.raises(error):
        name(field, part)


def test_matchers_take_only_known_values() -> None:
    """A value that a label never has would match nothing, silently; it is an error instead."""
    assert 'db_client_connection_state="used"' == equal(STATES, "used")
    assert 'error_type=~"timeout|other"' == among(ERROR_TYPES, "timeout", "other")
    assert 'error_type!~"timeout"' == other_than(ERROR_TYPES, "timeout")
    with pytest.raises(ValueError, match="never 'busy'"):
        equal(STATES, "busy")


def test_scope_is_on_every_selector() -> None:
    """A scope's matchers come before a selector's own; the rules' scope adds no braces."""
    assert 'sqlalchemy_pool_leaked_total{job=~"$job"}' == BOARD.series("leaked")
    assert 'up{job=~"$job",x="1"}' == BOARD.named("up", 'x="1"')
    assert "sqlalchemy_pool_leaked_total" == Scope().series("leaked")


def test_pieces() -> None:
    """Aggregations without labels have none; a quantile keeps the buckets' bounds; nothing is divided by 0."""
    assert ("sum(x)", "max by (a) (x)") == (by("", "x"), by("a", "x", "max"))
    assert "histogram_quantile(0.9, sum by (le, a) (rate(x[5m])))" == quantile(0.9, "x", "a", "5m")
    assert "a / (b > 0)" == ratio("a", "b")


@pytest.mark.parametrize(
    "question",
    [
        queries.exhausted,
        queries.queue,
        queries.busy,
        queries.explained,
        queries.unreturned,
        queries.checkouts,
        queries.mean_use,
        queries.acquisitions,
        queries.bad_acquisitions,
        queries.bad_share,
    ],
)
@pytest.mark.parametrize("labels", ["", "job"])
def test_questions_are_promql(question: queries.Question, labels: str) -> None:
    """Each expression is valid with and without labels, and has the window that was passed."""
    expression = question(BOARD, labels, "7m")

    parsed(expression)
    assert "[7m]" in expression
    assert "$__rate_interval" not in expression
