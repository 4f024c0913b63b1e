"""The page's sizes and findings: the chart and its text alternative, and what `check` found, by pool and by rule."""

import re
from dataclasses import replace

import pytest

from pool_exporter.advice.checks.finding import Finding
from pool_exporter.web.page.findings import POOLS_MAX
from pool_exporter.web.page.html import render
from pool_exporter.web.page.rule_pages import PREFIX
from pool_exporter.web.status.sizing import curve
from pool_exporter.web.status.values import PoolStatus, SizingStatus, Status
from tests.fixtures.incidents import FOUND, INCIDENTS, ORDERS, burst, leak, many
from tests.web.test_page import Page, of

SIZED = SizingStatus("Because.", 120.0, 0.045, 5.4, 2.5, 6, 10, 0.565, 0.0301, 0.05, "wait", rule_of_thumb="rule x")
"""The example of the documentation."""


def page_of(sizing: SizingStatus | None, *findings: Finding, shows: bool = True) -> Page:
    """Return the page of one pool."""
    shown = PoolStatus(ORDERS, "trouble", sizing=sizing, findings=findings)
    return Page(render(Status(0.0, shows_holders=shows, pools=(shown,))))


# Sizes.


@pytest.mark.parametrize(
    "text",
    [
        "Size: 15 now, 19 recommended",
        "19 is the least size for a p99 wait of at most 50 ms; now 15.",
        "Predicted p99 wait:",
        "117.4 callers a second x 115 ms = 13.51 connections",
        "Computed from 4820 uses that ended in the last 45.0 s",
        "Compare: rule of thumb for medium load: pool_size 10 to 20, max_overflow 10.",
        "The chart as a table",
    ],
)
def test_burst(text: str) -> None:
    """A pool with enough traffic has a recommended size, the reason, the numbers, and the rule of thumb beside them."""
    assert text in of(burst()).text


def test_everyone_may_see_sizes() -> None:
    """A size is of numbers that the metrics have, too: it is shown where holders are not."""
    assert "Size: 15 now, 19 recommended" in of(burst(), shows_holders=False).text


def test_chart_has_its_numbers_in_words() -> None:
    """The chart is an image with a name and a description, and the same numbers are in a table."""
    found = page_of(SIZED)
    (chart,) = [attributes for tag, attributes in found.tags if attributes.get("class") == "chart"]
    ids = (chart["aria-labelledby"] or "").split()
    waits = {point.size: point.wait_seconds for point in curve(SIZED)}

    assert "img" == chart["role"]
    assert set(ids) <= set(found.attributes("id"))
    assert "p99 wait by pool size: 6 connections now, 10 recommended" in found.contents["title"]
    assert "5 connections: grows for ever; 6 connections: 565 ms;" in found.contents["desc"]
    assert [str(size) for size in waits] == [row[0] for row in found.rows if row[0].isdigit()]
    assert ["10", "30 ms"] in found.rows


def test_marks_differ_by_shape_and_label() -> None:
    """The size now and the recommended one have a label and a shape each; where they are one, there is one label."""
    both = page_of(SIZED)
    same = page_of(replace(SIZED, size_recommended=6))
    shapes = [re.sub(r"[\d.]+", "", str(path)) for path in both.attributes("d")]

    assert ["Mhvhz", "Mlllz"] == [re.sub(r"[ -]", "", shape) for shape in shapes]
    assert ("now: 6" in both.text, "recommended: 10" in both.text) == (True, True)
    assert "now and recommended: 6" in same.text
    assert 2 == len(same.attributes("d"))


@pytest.mark.parametrize(
    "sizing", [SizingStatus("No size: 12 uses ended.", uses=12), SizingStatus("No size yet.", size_now=5)]
)
def test_without_a_size_there_is_no_chart(sizing: SizingStatus) -> None:
    """Of too little the page says so, and draws nothing."""
    found = page_of(sizing)

    assert "chart" not in found.attributes("class")
    assert sizing.reason in found.text
    assert "The chart as a table" not in found.text


def test_a_pool_without_a_limit() -> None:
    """Without a limit there is a recommended size, and no mark of one now."""
    text = page_of(replace(SIZED, size_now=None, wait_p99_seconds_now=None)).text

    assert "Size: no limit, 10 recommended" in text
    assert "now: " not in text


def test_load_of_callers_that_come_again() -> None:
    """A load that is not callers times use is said as what it is."""
    text = page_of(replace(SIZED, offered_load=10.0)).text

    assert "Load: on average 10.00 callers had a connection or waited for one." in text
    assert "callers a second" not in text


def test_a_pool_that_is_not_measured_has_no_size() -> None:
    """What is not measured has no part about sizes."""
    assert "Size:" not in page_of(None).text


# Findings.


def test_findings_of_a_pool() -> None:
    """Each finding has severity, id with a link to the rule's page, message, fix and source; an error is unfolded."""
    found = of(leak())
    opened = [attributes for tag, attributes in found.tags if tag == "details" and "open" in attributes]

    for finding in FOUND:
        assert f"{finding.severity} {finding.id} {finding.message}" in found.text
        assert f"Fix: {finding.fix}" in found.text
    assert {f"{PREFIX.lstrip('/')}{finding.id}" for finding in FOUND} <= set(found.attributes("href"))
    assert "Check: 1 error, 3 warnings, 1 info" in found.text
    assert 1 == len(opened)


def test_findings_without_an_error_are_folded() -> None:
    """In an incident, warnings are no more than a line."""
    found = page_of(None, *FOUND[1:])

    assert [] == found.attributes("open")
    assert "Check: 3 warnings, 1 info" in found.text


def test_findings_of_many_pools() -> None:
    """Of pools that are not shown in full, findings are by rule, with the first pools and the number of the others."""
    found = of(many())
    named = re.findall(r"No application_name is set[^,]* in (tenant-.*?) and (\d+) more", found.text)

    assert [(POOLS_MAX, "291")] == [(len(names.split(", ")), more) for names, more in named]
    assert "Check of the other pools: 1 warning, 1 info" in found.text


@pytest.mark.parametrize("name", INCIDENTS)
def test_findings_need_access(name: str) -> None:
    """Findings name files and other pools, and list what is weak: without access there is none, and a line says why."""
    found = of(INCIDENTS[name](), shows_holders=False)

    assert "Check" not in found.text
    assert "findings of check are not shown here" in found.text
    assert "-/checks/" in found.attributes("href"), "the list of rules has nothing of this application"


def test_no_text_of_a_finding_is_html() -> None:
    """What a finding says is escaped."""
    found = page_of(None, Finding("P99", "warning", "<b>no</b> & x", "<i>y</i>", "<u>z</u>"))

    assert "<b>no</b> & x" in found.text
    assert "Fix: <i>y</i>" in found.text
    assert {"i", "u"} & {tag for tag, _ in found.tags} == set()
