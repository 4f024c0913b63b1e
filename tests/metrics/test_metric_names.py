"""The exposition formats by the rules of their readers: names, units, help, Prometheus' linter, OpenMetrics."""

import re
from collections import Counter
from itertools import pairwise

import pytest

from pool_exporter.metrics.metric import Kind, Metric
from pool_exporter.metrics.pool_metrics import POOL_LABELS, POOL_METRICS
from pool_exporter.metrics.server_metrics import SERVER_METRICS
from pool_exporter.web.prometheus_families import families
from tests.golden import FORMATS, METRICS, OPENMETRICS, SNAPSHOT, Parse, parse_openmetrics, scrape

# Names, units and help.


def lint(metric: Metric) -> list[str]:
    """Return what is wrong with a metric's name, unit or help by the rules of Prometheus' naming guide."""
    seconds = metric.family.endswith("_seconds")
    rules = {
        "name is not lower case with single underscores": not re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.family),
        "unit is not a base unit": metric.unit not in ("s", "1") and not re.fullmatch(r"\{[a-z]+\}", metric.unit),
        "_seconds and the unit do not agree": seconds != (metric.unit == "s"),
        "unit is abbreviated or scaled": bool(
            re.search(r"_(ms|us|ns|s|sec|(milli|micro|nano)\w*)(_|$)", metric.family)
        ),
        "counter without _total": (metric.kind is Kind.COUNTER) != metric.prometheus.endswith("_total"),
        "type stands in the name": bool(re.search("_(counter|gauge|histogram)(_|$)", metric.family)),
        "help is no sentence": not re.fullmatch(r"[A-Z].*\S[.1]", metric.help),
        "help is that of another": metric.help in {other.help for other in METRICS if other.name != metric.name},
    }
    return [rule for rule, is_broken in rules.items() if is_broken]


@pytest.mark.parametrize("metric", [*METRICS, *SERVER_METRICS], ids=lambda metric: metric.name)
def test_names_units_and_help_are_right(metric: Metric) -> None:
    """Every metric's unit, suffix and help pass the linter."""
    assert [] == lint(metric)


@pytest.mark.parametrize(
    ("metric", "finding"),
    [
        (Metric("Pool.used", Kind.GAUGE, "{x}", "A sentence.", ""), "name is not lower case with single underscores"),
        (Metric("a.used", Kind.GAUGE, "ms", "A sentence.", ""), "unit is not a base unit"),
        (Metric("a.used_seconds", Kind.COUNTER, "{x}", "A sentence.", ""), "_seconds and the unit do not agree"),
        (Metric("a.used_milliseconds", Kind.COUNTER, "{x}", "A sentence.", ""), "unit is abbreviated or scaled"),
        (Metric("a.used_total", Kind.GAUGE, "{x}", "A sentence.", ""), "counter without _total"),
        (Metric("a.used_gauge", Kind.GAUGE, "{x}", "A sentence.", ""), "type stands in the name"),
        (Metric("a.used", Kind.GAUGE, "{x}", "no sentence", ""), "help is no sentence"),
        (Metric("a.used", Kind.GAUGE, "{x}", POOL_METRICS[0].help, ""), "help is that of another"),
    ],
    ids=["case", "unit", "seconds", "milliseconds", "total", "type", "sentence", "copied"],
)
def test_linter_finds_what_is_wrong(metric: Metric, finding: str) -> None:
    """The linter of the test before sees each fault: it can fail."""
    assert finding in lint(metric)


@FORMATS
def test_type_and_help_are_the_catalogues(accept: str, parse: Parse) -> None:
    """What the page says of each family is what the catalogue says; a name like a histogram's has no type."""
    types = {Kind.COUNTER: "counter", Kind.HISTOGRAM: "histogram"}
    expected = [(metric.help, types.get(metric.kind, "gauge")) for metric in METRICS]
    expected[0] = (expected[0][0], "unknown")

    assert "db_client_connection_count" == METRICS[0].family
    assert expected == [(family.documentation, family.type) for family in parse(scrape(accept))]


def test_units_are_declared() -> None:
    """OpenMetrics, which has a place for units, says seconds of all that is in seconds, and of nothing else."""
    assert {metric.family for metric in METRICS if metric.unit == "s"} == {
        family.name for family in parse_openmetrics(scrape(OPENMETRICS)) if family.unit == "seconds"
    }


# OpenMetrics by its own rules (specification 1.0, the MUSTs that concern a response).


def test_openmetrics_ends_with_eof() -> None:
    """The last line, and no other, is `# EOF`."""
    page = scrape(OPENMETRICS)

    assert (1, True) == (page.count("# EOF"), page.endswith("\n# EOF\n"))


def test_openmetrics_has_one_type_help_and_unit_a_family() -> None:
    """Each is declared once, before the family's samples."""
    declarations = Counter(re.findall(r"^# ((?:TYPE|HELP|UNIT) \S+)", scrape(OPENMETRICS), re.MULTILINE))

    assert {1} == set(declarations.values())


def test_families_do_not_interleave() -> None:
    """The samples of one family, and those of one pool in it, stand together."""
    places = [
        (family.name, sample.labels.get("db_client_connection_pool_name"))
        for family in parse_openmetrics(scrape(OPENMETRICS))
        for sample in family.samples
    ]
    changes = sum(before != after for before, after in pairwise(places))

    assert len(set(places)) == changes + 1


def test_no_timestamps_and_no_created() -> None:
    """A sample is of the moment of its scrape, and a series that says when it began would double their number."""
    samples = [sample for family in parse_openmetrics(scrape(OPENMETRICS)) for sample in family.samples]

    assert {None} == {sample.timestamp for sample in samples}
    assert not [sample.name for sample in samples if sample.name.endswith("_created")]


def test_labels_that_prometheus_sets_are_not_used() -> None:
    """No label that scraping sets or reserves is on a series, and none begins with an underscore."""
    names = {
        name for family in families(SNAPSHOT) for sample in family.samples for name in sample.labels if name != "le"
    }

    assert set() == names & {"job", "instance", "quantile", "type", "env"}
    assert [] == [name for name in names if name.startswith("_")]
    assert names >= {label.prometheus for label in POOL_LABELS}
