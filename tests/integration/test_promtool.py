"""Prometheus' own program takes every page, and every query of docs/how-to/probe-servers.md."""

import subprocess
from pathlib import Path

import pytest

from pool_exporter.metrics.snapshot import Snapshot
from tests.golden import SNAPSHOT, TEXT, scrape
from tests.probe.test_documented_queries import blocks
from tests.web.test_server_families import SERVERS


@pytest.mark.parametrize(
    "snapshot",
    [Snapshot(build=SNAPSHOT.build), SNAPSHOT, SERVERS],
    ids=["no-pool", "two-pools", "servers"],
)
def test_promtool_finds_nothing(promtool: Path, snapshot: Snapshot) -> None:
    """Prometheus' parser takes the text page, and its linter has nothing to say."""
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=scrape(TEXT, snapshot=snapshot),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_every_query_is_promql(promtool: Path, tmp_path: Path) -> None:
    """Prometheus' own parser takes every query."""
    rules = [f"  - record: docs:query_{i}\n    expr: {query!r}\n" for i, query in enumerate(blocks("promql"))]
    file = tmp_path / "rules.yml"
    file.write_text("groups:\n- name: docs\n  rules:\n" + "".join(rules).replace("\\n", " "))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
