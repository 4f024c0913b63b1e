"""Writes docs/explanation/field-reports.md from the rows, and from what other tools read in the same situations."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Final

from tests.docs.pages import DOCS
from tests.integration.reports.compare import READINGS, SITUATIONS
from tests.integration.reports.diagnoses import DIAGNOSIS_ROWS
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


COMPARED: Final = """\
Used / idle connections as four tools read them at the end of a situation of the first table, on PostgreSQL. **Bold** is
wrong, or an error of the tool. The truth is how many backends are in a transaction, and how many are not. In the other
situations these tools have no number that could be compared. In A13 no tool of the process can know what its child
closed; the probe's `sqlalchemy_pool_server_gone` does. `python -m tests.integration.reports.compare` reads the tools
again; `make reports` compares.
"""


def _reading(value: list[int] | str, truth: list[int]) -> str:
    shown = value if isinstance(value, str) else " / ".join(map(str, value))
    return shown if value == truth else f"**{shown}**"


def compared() -> str:
    """Return the table of what each tool reads."""
    content = json.loads(READINGS.read_text())
    rows = content["readings"]
    tools = [tool for tool in next(iter(rows.values())) if tool != "truth"]
    lines = [_cells("#", "situation", "truth", *tools), "|---" * (3 + len(tools)) + "|"]
    for number, values in rows.items():
        truth = values["truth"]
        situation = (SITUATIONS[number].__doc__ or "").strip()
        lines.append(
            _cells(number, situation, _reading(truth, truth), *(_reading(values[tool], truth) for tool in tools))
        )
    return "\n".join([*lines, "", f"{content['versions']}."])


def summary(rows: Iterable[Row]) -> str:
    """Return how many rows have each status, as a sentence."""
    count = Counter(row.status.partition(":")[0].strip("*") for row in rows)
    parts = [
        f"{count[status]} {'is' if count[status] == 1 else 'are'} {status}"
        for status in ("right", "not yet right", "not replayed")
        if count[status]
    ]
    return f"Of {count.total()} situations, {', '.join(parts)}."


def page() -> str:
    """Return the text of the page."""
    parts = [
        HEAD + "\n" + summary((*ENGINE_ROWS, *EXPORTER_ROWS, *DIAGNOSIS_ROWS)),
        "## Applications on SQLAlchemy",
        _table(ENGINE_ROWS),
        "## Exporters, servers and workers",
        _table(EXPORTER_ROWS),
        "## Faulty services and what their logs say",
        _table(DIAGNOSIS_ROWS),
        "## The same situations in other tools",
        COMPARED + "\n" + compared(),
    ]
    return "\n\n".join(parts) + "\n"


def write() -> None:
    """Write the page."""
    PAGE.write_text(page())
