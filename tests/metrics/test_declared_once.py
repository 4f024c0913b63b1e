"""Each metric is declared once, in `pool_exporter/metrics`: its name is typed nowhere else in the code."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from pool_exporter.metrics.pool_metrics import EXPORTER_METRICS, POOL_METRICS
from pool_exporter.metrics.server_metrics import SERVER_METRICS

ROOT = Path(__file__).parents[2]
CATALOGUE = ROOT / "pool_exporter" / "metrics"
GENERATORS = [ROOT / "tests" / "docs" / f"{name}.py" for name in ("__main__", "generated", "measured", "pages")]
FILES = [
    path
    for path in (*(ROOT / "pool_exporter").rglob("*.py"), *(ROOT / "grafana").rglob("*.py"), *GENERATORS)
    if not path.is_relative_to(CATALOGUE)
]
NAMES = {
    name
    for metric in (*POOL_METRICS, *EXPORTER_METRICS, *SERVER_METRICS)
    for name in (metric.name, metric.family, metric.prometheus)
}
NAME = re.compile(
    rf"(?<![\w.])(?:{'|'.join(map(re.escape, sorted(NAMES, reverse=True)))})(?:_bucket|_sum|_count)?(?!\w)"
)


def texts(code: str) -> Iterator[str]:
    """Yield the texts of a file, those of f-strings and docstrings too, and its comments."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def typed(code: str) -> list[str]:
    """Return the names of metrics in the texts of a file."""
    return [name for text in texts(code) for name in NAME.findall(text)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_is_typed_outside_the_catalogue(path: Path) -> None:
    """A module takes the name of a metric from the catalogue, so that it cannot have an old one."""
    assert [] == typed(path.read_text())


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('"sum(sqlalchemy_pool_used_seconds_total)"', ["sqlalchemy_pool_used_seconds_total"]),
        ('f"job:sqlalchemy_pool_used_seconds:rate{5}m"', ["sqlalchemy_pool_used_seconds"]),
        ('x = "sqlalchemy.pool.used"', ["sqlalchemy.pool.used"]),
        (
            '"""As `db_client_connection_wait_time_seconds_bucket`."""',
            ["db_client_connection_wait_time_seconds_bucket"],
        ),
        ("x = 1  # sqlalchemy_pool_orphaned\n", ["sqlalchemy_pool_orphaned"]),
        ("from sqlalchemy.pool import Pool\nimport pool_exporter.workers", []),
        ('"sqlalchemy_pool_used_by_nobody"', []),
    ],
)
def test_name_is_found(code: str, expected: list[str]) -> None:
    """A name is found in any text and comment, with the ending of a histogram's series; a longer word is none."""
    assert expected == typed(code)
