"""Recording rules and alerts, checked by Prometheus' own tools and by rules for alerts that page at night."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.promql import name as name_of
from grafana.rules import ALERTS, RUNBOOKS
from grafana.rules.model import Alert
from tests.dashboards.boards import BOARDS, ROOT, panels
from tests.dashboards.expressions import kept_labels, parsed, selectors

DIRECTORY = ROOT / "deploy" / "prometheus"
BOOKS = ROOT / "docs" / "runbooks"
TESTS = {path.name: yaml.safe_load(path.read_text()) for path in sorted((DIRECTORY / "tests").glob("*.yaml"))}
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]

NAMES = sorted({alert.name for alert in ALERTS})
EACH_ALERT = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert.name} {dict(alert.labels)}")


def rules(kind: str) -> list[dict[str, Any]]:
    """Return the rules of a kind, `alert` or `record`, as they are committed."""
    contents = [yaml.safe_load(path.read_text()) for path in DIRECTORY.glob("pool.*.yaml")]
    return [rule for content in contents for group in content["groups"] for rule in group["rules"] if kind in rule]


def promtool_says(promtool: Path, *arguments: str | Path) -> tuple[int, str]:
    """Run promtool; return its exit code and its output."""
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_promtool_accepts_the_rules(promtool: Path) -> None:
    """The files are valid, and no rule is in them twice."""
    code, said = promtool_says(promtool, "check", "rules", "--lint=all", "--lint-fatal", *DIRECTORY.glob("pool.*.yaml"))

    assert (0, said) == (code, said)


@pytest.mark.parametrize("name", TESTS)
def test_promtools_unit_tests_pass(promtool: Path, name: str) -> None:
    """Every alert fires where it should, with the right texts, and is silent where it should be."""
    code, said = promtool_says(promtool, "test", "rules", DIRECTORY / "tests" / name)

    assert (0, said) == (code, said)


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_is_seen_to_fire_and_not_to(name: str) -> None:
    """Promtool's tests have an alert that fires and one that does not, for each name."""
    seen = {
        bool(case["exp_alerts"])
        for content in TESTS.values()
        for test in content["tests"]
        for case in test.get("alert_rule_test", ())
        if case["alertname"] == name
    }

    assert {True, False} == seen


@pytest.mark.parametrize("name", NAMES)
def test_runbook(name: str) -> None:
    """Each alert has a runbook with its meaning, its impact, the diagnosis and the mitigation."""
    text = (BOOKS / f"{name}.md").read_text()
    sections = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)

    assert f"# {name}" == sections[0].strip()
    assert SECTIONS == sections[1::2]
    assert all(len(section.split()) > 4 for section in sections[2::2])


@EACH_ALERT
def test_alert_leads_to_a_board_with_its_metrics(alert: Alert) -> None:
    """An alert that links to the pool's board is about metrics that the board shows."""
    # The board shows timeouts as failures by type; a name with a colon is a recorded one.
    names = {name for name, _, _ in selectors(alert.expression) if ":" not in name} - {name_of("timeouts")}
    shown = {name for each in panels() if each.board == "pool" for e in each.expressions for name, _, _ in selectors(e)}

    assert "sqla-pool-detail" not in alert.dashboard or names <= shown


def test_every_runbook_is_of_an_alert() -> None:
    """No runbook is left over, and those that a runbook links to exist."""
    pages = {path.stem for path in BOOKS.glob("*.md")}

    assert set(NAMES) == pages
    for path in BOOKS.glob("*.md"):
        assert set(re.findall(r"\]\((\w+)\.md\)", path.read_text())) <= pages


@EACH_ALERT
def test_alert_says_what_is_needed(alert: Any) -> None:
    """It has a summary, a description with the first two steps, a runbook, a board and a severity."""
    (rule,) = [rule for rule in rules("alert") if (rule["alert"], rule["expr"]) == (alert.name, alert.expression)]
    notes = rule["annotations"]

    assert {"summary", "description", "runbook_url", "dashboard"} == set(notes) - {"page"}
    assert f"/-/runbooks/{alert.name}" == notes["runbook_url"]
    assert re.search(r" First: \S.+[.?] Then: \S.+[.?]$", notes["description"])
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    is_flag = "directory_faults" in alert.expression or alert.name in ("PoolExporterDown", "SQLAlchemyServerNotSeen")
    assert "{{ $value" in notes["description"] or is_flag
    assert "$value" not in notes["summary"]
    assert "$value" not in str(rule["labels"])


@EACH_ALERT
def test_alert_on_an_instance_leads_to_its_page(alert: Alert) -> None:
    """An alert that keeps the label `instance` links to the page of that exporter, if it is an address with a port."""
    notes = alert.rule(RUNBOOKS)["annotations"]
    link = '{{ if match ":[0-9]+$" $labels.instance }}http://{{ $labels.instance }}/{{ end }}'
    page = link if "instance" in result_labels(alert) else None

    assert page == notes.get("page")


def result_labels(alert: Alert) -> set[str]:
    """Return the labels of the series that an alert's expression gives: those that its first aggregation keeps."""
    first = re.search(r"by \(([^)]*)\)", alert.expression)
    return set(first[1].split(", ")) if first else set()


@EACH_ALERT
def test_alert_leads_to_a_board(alert: Any) -> None:
    """The board that an alert names is one of the generated ones."""
    assert alert.dashboard.removeprefix("/d/").partition("?")[0] in {board["uid"] for board in BOARDS.values()}


@EACH_ALERT
def test_alert_knows_the_labels_that_it_names(alert: Any) -> None:
    """A label in a text survives the expression's aggregations, or is one of a recorded series."""
    texts = f"{alert.summary}{alert.description}{alert.dashboard}"
    recorded = {"job", "db_client_connection_pool_name"} if "job_pool:" in alert.expression else set()

    assert set() == set(re.findall(r"\$labels\.(\w+)", texts)) - kept_labels(alert.expression) - recorded


@EACH_ALERT
def test_alert_has_a_condition(alert: Any) -> None:
    """It has a comparison, so that it does not fire whenever there is a series."""
    parsed(alert.expression)

    assert re.search(r"(?<![=!~])(>=|<=|>|<|==|!=)", alert.expression)


@EACH_ALERT
def test_alert_waits(alert: Any) -> None:
    """It has a duration, or a window that is longer than two scrapes."""
    windows = re.findall(r"\[(\d+)m\]|:rate(\d+)m", alert.expression)

    assert alert.hold != "0m" or windows


def test_pages_are_few() -> None:
    """Only alerts on what users notice page; all others are tickets."""
    pages = {alert.name for alert in ALERTS if alert.severity == "critical"}

    assert pages <= {
        "SQLAlchemyPoolAcquireErrorBudgetBurn",
        "SQLAlchemyPoolConnectFailing",
        "SQLAlchemyPoolConnectionsShared",
        "SQLAlchemyServerNearlyFull",
    }


def test_recorded_names() -> None:
    """A recorded series is named `level:metric:operations`."""
    names = [rule["record"] for rule in rules("record")]

    assert len(names) == len(set(names))
    assert [] == [name for name in names if not re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z_]+\d*[mhd]?", name)]


def test_what_alerts_read_is_recorded() -> None:
    """No rule reads a recorded series that no rule records."""
    read = {name for alert in ALERTS for name, _, _ in selectors(alert.expression) if ":" in name}

    assert read <= {rule["record"] for rule in rules("record")}
    assert read


def test_alerts_are_documented() -> None:
    """docs/reference/alerts.md names every alert and its severity, with a link to its runbook, and no other alert."""
    text = (ROOT / "docs" / "reference" / "alerts.md").read_text()

    assert set(NAMES) == set(re.findall(r"\]\(\.\./runbooks/(\w+)\.md\)", text))
    for alert in ALERTS:
        lines = [line for line in text.splitlines() if line.startswith(f"| [{alert.name}]")]
        assert 1 == len(lines)
        assert alert.severity in lines[0] or alert.labels


@EACH_ALERT
def test_alert_says_how_to_see_holders_in_kubernetes(alert: Alert) -> None:
    """Where an alert names `diagnose`, it names the command for a pod too, whose page shows no holders to others."""
    text = f"{alert.first} {alert.then}"

    assert ("diagnose --dir" in text) == ("kubectl exec POD -c pool-exporter -- pool-exporter diagnose" in text)
