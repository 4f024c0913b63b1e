"""docs/probe.md says what is true: its table is the catalogue's, its PromQL uses metrics and labels that exist.

`python -m tests.probe.test_documented_queries` writes the table of metrics into it anew. Its grants are run
by the integration tests.
"""

import argparse
import re
import subprocess
from pathlib import Path

import pytest

from pool_exporter import probe
from pool_exporter.metrics.metric import Kind, Metric
from pool_exporter.metrics.pool_metrics import POOL_LABELS, POOL_METRICS
from pool_exporter.metrics.server_metrics import HELD_STATES, SERVER_LABELS, SERVER_METRICS

DOCS = Path(__file__).parents[2] / "docs" / "probe.md"
TABLE = re.compile(r"(<!-- metrics[^\n]*-->\n)(.*?)(<!-- /metrics -->)", re.DOTALL)


def blocks(language: str) -> list[str]:
    """Return the page's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCS.read_text(), re.DOTALL | re.MULTILINE)


def row(metric: Metric) -> str:
    """Return a metric's line of the table."""
    labels = [*metric.open_labels, *([metric.label] if metric.label else [])]
    own = f" {{{', '.join(label.prometheus for label in labels)}}}" if labels else ""
    kind = "counter" if metric.kind is Kind.COUNTER else "gauge"
    return f"| `{metric.prometheus}`{own} | {kind} | {metric.help} |"


def table() -> str:
    """Return the table of metrics."""
    return "\n".join(["| metric | kind | meaning |", "|---|---|---|", *map(row, SERVER_METRICS)])


def test_table_is_the_catalogues() -> None:
    """Every metric of the servers' side is described, in the words of its help."""
    made = TABLE.search(DOCS.read_text())

    assert made is not None
    assert f"{table()}\n" == made[2]


def test_queries_use_what_there_is() -> None:
    """Each metric and label of the page's PromQL is one that a scrape has."""
    text = re.sub(r'"[^"]*"', '""', "\n".join(blocks("promql")))
    labels = {label.prometheus for metric in SERVER_METRICS for label in (*metric.open_labels, metric.label) if label}
    labels |= {label.prometheus for label in (*SERVER_LABELS, *POOL_LABELS)}
    used = set(re.findall(r"[a-z]+(?:_[a-z]+)+|state", text)) - {"min_over_time"}

    assert used
    assert set() == used - labels - {metric.prometheus for metric in (*POOL_METRICS, *SERVER_METRICS)}


def test_every_query_is_promql(promtool: Path, tmp_path: Path) -> None:
    """Prometheus' own parser takes every query."""
    rules = [f"  - record: docs:query_{i}\n    expr: {query!r}\n" for i, query in enumerate(blocks("promql"))]
    file = tmp_path / "rules.yml"
    file.write_text("groups:\n- name: docs\n  rules:\n" + "".join(rules).replace("\\n", " "))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)


def test_every_argument_is_described() -> None:
    """The page names each argument of the probe."""
    parser = argparse.ArgumentParser(add_help=False)
    probe.add_arguments(parser)
    arguments = re.findall(r"--database-[a-z]+", parser.format_help())

    assert 3 == len(set(arguments))
    assert [] == [name for name in arguments if f"`{name} " not in DOCS.read_text()]


@pytest.mark.parametrize("state", HELD_STATES.values)
def test_every_state_is_described(state: str) -> None:
    """The page says what each state means."""
    assert f"`{state}`" in DOCS.read_text()


if __name__ == "__main__":
    DOCS.write_text(TABLE.sub(lambda made: f"{made[1]}{table()}\n{made[3]}", DOCS.read_text()))
