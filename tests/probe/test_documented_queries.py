"""What docs/how-to/probe-servers.md says is true.

Its PromQL uses metrics and labels that exist, and every argument and state is described. The
integration tests run its grants.
"""

import argparse
import re
from pathlib import Path

import pytest

from pool_exporter import probe
from pool_exporter.metrics.pool_metrics import POOL_LABELS, POOL_METRICS
from pool_exporter.metrics.server_metrics import HELD_STATES, SERVER_LABELS, SERVER_METRICS

DOCS = Path(__file__).parents[2] / "docs" / "how-to" / "probe-servers.md"


def blocks(language: str) -> list[str]:
    """Return the page's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCS.read_text(), re.DOTALL | re.MULTILINE)


def test_queries_use_what_there_is() -> None:
    """Each metric and label of the page's PromQL is one that a scrape has."""
    text = re.sub(r'"[^"]*"', '""', "\n".join(blocks("promql")))
    labels = {label.prometheus for metric in SERVER_METRICS for label in (*metric.open_labels, metric.label) if label}
    labels |= {label.prometheus for label in (*SERVER_LABELS, *POOL_LABELS)}
    used = set(re.findall(r"[a-z]+(?:_[a-z]+)+|state", text)) - {"min_over_time"}

    assert used
    assert set() == used - labels - {metric.prometheus for metric in (*POOL_METRICS, *SERVER_METRICS)}


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
