"""Runbooks and alerts' texts send to what exists: panels and boards by their titles, and commands of the program."""

import re

import pytest

from grafana.rules import ALERTS
from pool_exporter.cli import COMMANDS
from tests.dashboards.boards import BOARDS, ROOT, panels

PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "docs" / "runbooks").glob("*.md"))}
EACH = pytest.mark.parametrize("name", PAGES)

TITLES = {
    *(panel.model["title"] for panel in panels()),
    *(panel["title"] for board in BOARDS.values() for panel in board["panels"]),
    *(board["title"] for board in BOARDS.values()),
    *(board["title"].rpartition(" / ")[2] for board in BOARDS.values()),
}

OF_OTHERS = {"No space left", "Permission denied", "Read-only file system", "Status / Targets"}
"""Messages of the system, and a page of Prometheus."""

NAMES = {command.name for command in COMMANDS}

CERTAINTY = re.compile(r"\b(proves?|proved|proof|proven)\b", re.IGNORECASE)


def sections(text: str) -> dict[str, str]:
    """Return the sections of a runbook by their headings."""
    found = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


@EACH
def test_titles_exist(name: str) -> None:
    """Each title in italics is that of a board, a row or a panel."""
    assert set() == set(re.findall(r"\*([A-Z][^*\n]+)\*", PAGES[name])) - TITLES - OF_OTHERS


@EACH
def test_commands_exist(name: str) -> None:
    """Each command of `pool-exporter` is one that it has."""
    assert set() == set(re.findall(r"`pool-exporter (\w+)", PAGES[name])) - NAMES


def test_alerts_name_commands_that_exist() -> None:
    """So is each command in the first steps of an alert."""
    texts = " ".join(f"{alert.first} {alert.then}" for alert in ALERTS)

    assert {"diagnose", "dump"} == set(re.findall(r"pool-exporter (\w+)", texts))
    assert {"diagnose", "dump"} <= NAMES


@EACH
def test_nothing_is_called_proof(name: str) -> None:
    """A runbook says what is likely, and how to find out: an alert is no proof."""
    assert None is CERTAINTY.search(PAGES[name])


def test_no_alert_or_board_calls_anything_proof() -> None:
    """No more do the texts of alerts and boards."""
    texts = [f"{alert.summary} {alert.description} {alert.first} {alert.then}" for alert in ALERTS]
    texts += [panel.model["description"] for panel in panels()]

    assert [] == [text for text in texts if CERTAINTY.search(text)]


@pytest.mark.parametrize("verb", ["diagnose", "page", "logger `pool_exporter.diagnosis`"])
@pytest.mark.parametrize("name", ["SQLAlchemyPoolTimeouts", "SQLAlchemyPoolLeakSuspected"])
def test_an_exhausted_pool_is_looked_into_with_the_report(name: str, verb: str) -> None:
    """The diagnosis of a pool out of connections names the log line, the page and the command."""
    assert verb in " ".join(sections(PAGES[name])["Diagnosis"].split())
