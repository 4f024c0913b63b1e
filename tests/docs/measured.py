"""What pages say of measurements: tables and sentences with the numbers of docs/benchmarks.md, and counted numbers.

`python -m tests.docs` writes them anew, as after `make bench`; `test_measured` compares. Nothing here measures.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from tests.bench.versions import COMPILED
from tests.docs.pages import DOCS, README, ROOT
from tests.integration.reports.diagnoses import DIAGNOSIS_ROWS
from tests.integration.reports.engines import ENGINE_ROWS
from tests.integration.reports.exporters import EXPORTER_ROWS

HOW_TO: Final = DOCS / "how-to"
OVERHEAD: Final = DOCS / "explanation" / "overhead.md"
SYNC: Final = "checkout and return, `QueuePool`"
ASYNC: Final = "checkout and return, `AsyncAdaptedQueuePool` in a task"
EVERYTHING: Final = "with places"
WITHOUT_PLACES: Final = "`POOL_EXPORTER_PLACES=off`"
IN_FILE: Final = "with places, in a worker's file"


@cache
def page() -> str:
    """Return docs/benchmarks.md."""
    return (DOCS / "benchmarks.md").read_text()


def table(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading of docs/benchmarks.md, its own head first."""
    _, _, rest = page().partition(f"## {heading}\n")
    lines = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def versions() -> list[str]:
    """Return the versions of SQLAlchemy that were measured; that of a compiled build ends with its name."""
    return [cell.removeprefix("SQLAlchemy ") for cell in table("Budgets")[0][2:]]


def ratio(what: str, mode: str, version: str) -> float | None:
    """Return the instructions of a mode over those without pool_exporter; None if they are not known."""
    head, *rows = table("Instructions")
    (row,) = (row for row in rows if row[:2] == [what, version])
    cell = row[head.index(mode) + 1]
    return float(cell) if re.fullmatch(r"[\d.]+", cell) else None


def span(values: Iterable[float], form: str = "{:.2f}") -> str:
    """Return the least and the largest of *values*, or one number where both are the same as a text."""
    texts = [form.format(value) for value in sorted(values)]
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"


def _ratios(what: str) -> list[float]:
    pure = [version for version in versions() if not version.endswith(COMPILED)]
    return [found for version in pure if (found := ratio(what, EVERYTHING, version)) is not None]


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}x"


def _builds() -> str:
    """Return when it was measured, and on which Python with which SQLAlchemy."""
    (day,) = re.findall(r"^- (\d{4}-\d\d-\d\d), ", page(), re.MULTILINE)
    builds = re.findall(r"^- (CPython [\d.]+): sqlalchemy ([\d.]+),.*?( compiled)?$", page(), re.MULTILINE)
    return f"On {day}, with " + " and ".join(
        f"SQLAlchemy {version}{build} on {python}" for python, version, build in builds
    )


def _first_table(name: str) -> list[list[str]]:
    """Return the cells of the only table of a page, its head first."""
    lines = [line for line in (DOCS / name).read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _sidecar(column: str) -> str:
    """Return what a sidecar of four workers with one pool each takes."""
    head, *rows = _first_table("benchmarks-sidecar.md")
    (row,) = (row for row in rows if row[:3] == ["4", "1", "0"])
    return f"{float(row[head.index(column)]):.0f}"


def _collection() -> str:
    """Return the milliseconds that a collection by the SDK's reader takes."""
    head, *rows = _first_table("benchmarks-otel.md")
    (row,) = (row for row in rows if row[0].startswith("a collection by the SDK's reader"))
    return f"{float(row[head.index('100 pools')]):.0f}"


def _situations() -> str:
    return str(len((*ENGINE_ROWS, *EXPORTER_ROWS, *DIAGNOSIS_ROWS)))


def _instructions() -> str:
    """Return the table of instructions: counts of the first version, the ratios of all."""
    first, *others = versions()
    more = "".join(f" everything with {version} |" for version in others)
    lines = [
        f"{_builds()}:",
        "",
        f"| SQLAlchemy {first} | without pool_exporter | with everything | without places | in a worker's file |{more}",
        "|---|---:|---:|---:|---:|" + "---:|" * len(others),
    ]
    for what, version, bare, everything, *_ in table("Instructions")[1:]:
        if version == first:
            cells = [bare, f"{everything} ({_times(ratio(what, EVERYTHING, first))})"]
            cells += [_times(ratio(what, mode, first)) for mode in (WITHOUT_PLACES, IN_FILE)]
            cells += [_times(ratio(what, EVERYTHING, other)) for other in others]
            lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _missed() -> str:
    """Return the budgets that were not kept when docs/benchmarks.md was written."""
    head, *rows = table("Budgets")
    missed = [row for row in rows if any("FAIL" in cell for cell in row)]
    if not missed:
        return "All of them were kept at the last measurement."
    lines = [f"At the last measurement, {len(missed)} of {len(rows)} were missed with at least one version:", ""]
    lines += [
        f"| {' | '.join(cells)} |" for cells in ([head[0] or " ", *head[1:]], ["---", *["---:"] * (len(head) - 1)])
    ]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in missed)])


def limit(title: str) -> str:
    """Return the number of a budget's limit, as docs/benchmarks.md has it."""
    (row,) = (row for row in table("Budgets")[1:] if row[0] == title)
    return re.sub(r"at (?:most|least) |x$", "", row[1].partition(";")[0])


def _uninstrumented() -> str:
    head, *rows = table("One checkout and checkin: `pool.connect().close()`")
    (row,) = (row for row in rows if row[0] == "nothing, beside a pool that pool_exporter instruments")
    values = [float(cell) for name, cell in zip(head, row, strict=True) if name.endswith(" x")]
    return span([100 * (value - 1) for value in values], "{:.0f}")


TABLES: Final[Mapping[str, tuple[Path, Callable[[], str]]]] = {
    "instructions": (OVERHEAD, _instructions),
    "missed-budgets": (OVERHEAD, _missed),
}
"""Each part between two comments: its page, and the function that returns its text."""

SENTENCES: Final[tuple[tuple[Path, str, Callable[[], str]], ...]] = (
    (README, r"take ([\d. to]+) times the\s+instructions", lambda: span(_ratios(SYNC))),
    (README, r"monitoring, and ([\d. to]+) times in an\s+asyncio\s+task", lambda: span(_ratios(ASYNC))),
    (DOCS / "explanation" / "limits.md", r"for\s+that with ([\d to]+) % of a checkout", _uninstrumented),
    (HOW_TO / "workers.md", r"(\d+) MiB; \d+ ms for a scrape of 4 workers", lambda: _sidecar("MiB before")),
    (HOW_TO / "workers.md", r"\d+ MiB; (\d+) ms for a scrape of 4 workers", lambda: _sidecar("ms a scrape")),
    (HOW_TO / "opentelemetry.md", r"100 pools takes the\s+reader's thread (\d+) ms", _collection),
    (DOCS / "explanation" / "exactness.md", r"has (\d+) situations from public", _situations),
    (ROOT / "CHANGELOG.md", r"\[(\d+) situations\]", _situations),
)
"""Each number within a sentence: its page, a pattern with the number as its group, and the function that returns it."""


def sentence(path: Path, pattern: str) -> re.Match[str]:
    """Return the only place of *path* that has the pattern.

    Raises:
        ValueError: There is none, or more than one: the sentence was changed.
    """
    found = list(re.finditer(pattern, path.read_text()))
    if len(found) != 1:
        raise ValueError(f"{path.name} has {len(found)} times /{pattern}/: adapt SENTENCES in tests/docs/measured.py")
    return found[0]


def write() -> None:
    """Write the number of each sentence into its page."""
    for path, pattern, number in SENTENCES:
        found = sentence(path, pattern)
        text = path.read_text()
        path.write_text(text[: found.start(1)] + number() + text[found.end(1) :])
