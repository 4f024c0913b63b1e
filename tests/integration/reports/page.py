"""Writes docs/explanation/field-reports.md from the rows."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from tests.docs.pages import DOCS
from tests.integration.reports.engines import ENGINE_ROWS
from tests.integration.reports.exporters import EXPORTER_ROWS
from tests.integration.reports.row import Row

PAGE: Final = DOCS / "explanation" / "field-reports.md"

HEAD: Final = """\
# Field reports

Situations from public bug reports, replayed on real pools and servers. `python -m tests.integration.reports` writes
this page.

Each row names the reports that describe the situation, and the tests that replay it. The truth comes from the server
(`pg_stat_activity`), from SQLAlchemy's pool, or from a counter of the application. The reports are cited for the
situation: what is tested is this package in it. `make reports` runs the tests in `tests/integration/reports`, and
`make test` the others. A row that is **not yet right** has a test that is expected to fail until the cause is mended.
"""


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _test(name: str) -> str:
    path, _, function = name.partition("::")
    return f"`{path}`: {function}"


def _table(rows: Iterable[Row]) -> str:
    lines = [_cells("#", "reports", "situation", "truth", "pool_exporter", "status", "tests"), "|---" * 7 + "|"]
    for row in rows:
        tests = "<br>".join(map(_test, row.tests))
        lines.append(_cells(row.id, row.source, row.situation, row.truth, row.answer, row.status, tests))
    return "\n".join(lines)


def summary(rows: Iterable[Row]) -> str:
    """Return how many rows have each status, as a sentence."""
    count = Counter(row.status.partition(":")[0].strip("*") for row in rows)
    parts = [f"{count[status]} are {status}" for status in ("right", "not yet right", "not replayed") if count[status]]
    return f"Of {count.total()} situations, {', '.join(parts)}."


def page() -> str:
    """Return the text of the page."""
    parts = [
        HEAD + "\n" + summary((*ENGINE_ROWS, *EXPORTER_ROWS)),
        "## Applications on SQLAlchemy",
        _table(ENGINE_ROWS),
        "## Exporters, servers and workers",
        _table(EXPORTER_ROWS),
    ]
    return "\n\n".join(parts) + "\n"


def write() -> None:
    """Write the page."""
    PAGE.write_text(page())
