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
from tests.docs.why_missed import WHY_COMPILED_MISSED, WHY_MISSED
from tests.integration.reports.diagnoses import DIAGNOSIS_ROWS
from tests.integration.reports.engines import ENGINE_ROWS
from tests.integration.reports.exporters import EXPORTER_ROWS

HOW_TO: Final = DOCS / "how-to"
OVERHEAD: Final = DOCS / "explanation" / "overhead.md"
COMPILED_PAGE: Final = DOCS / "explanation" / "compiled.md"
PAIR: Final = "One checkout and checkin: `pool.connect().close()`"
SYNC: Final = "checkout and return, `QueuePool`"
ASYNC: Final = "checkout and return, `AsyncAdaptedQueuePool` in a task"
EVERYTHING: Final = "with places"
WITHOUT_PLACES: Final = "`POOL_EXPORTER_PLACES=off`"
IN_FILE: Final = "with places, in a worker's file"
TIMED: Final = frozenset(
    {
        "two empty listeners",
        "**pool_exporter**, everything",
        "**pool_exporter**, everything, in a worker's file",
        "**pool_exporter**, `POOL_EXPORTER_PLACES=off`",
        "prometheus_client by hand, 3 metrics, series looked up once",
        "sqlalchemy-collectd",
        "opentelemetry-instrumentation-sqlalchemy, 1 metric",
        "asynchronous: **pool_exporter**, everything",
    }
)
"""The rows of the benchmarks that the page of the overhead shows."""


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
    found = re.match(r"[\d.]+", row[head.index(mode) + 1])
    return float(found[0]) if found else None


def span(values: Iterable[float], form: str = "{:.2f}") -> str:
    """Return the least and the largest of *values*, or one number where both are the same as a text."""
    texts = [form.format(value) for value in sorted(values)]
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"


def _plain_versions() -> list[str]:
    return [version for version in versions() if not version.endswith(COMPILED)]


def _ratios(what: str, columns: Iterable[str]) -> list[float]:
    return [found for version in columns if (found := ratio(what, EVERYTHING, version)) is not None]


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}x"


def _builds() -> str:
    """Return when it was measured, and on which Python with which SQLAlchemy."""
    (day,) = re.findall(r"^- (\d{4}-\d\d-\d\d), ", page(), re.MULTILINE)
    columns: dict[str, list[str]] = {}
    for python, version, build in re.findall(
        r"^- (CPython [\d.]+): sqlalchemy ([\d.]+),.*?( compiled)?$", page(), re.MULTILINE
    ):
        columns.setdefault(python, []).append(f"{version}{build}")
    return f"On {day}, with " + " and ".join(
        f"SQLAlchemy {' and '.join(of)} on {python}" for python, of in columns.items()
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


def _markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table, of which the columns after the first are numbers."""
    cells = [cell or " " for cell in head]
    return "\n".join(f"| {' | '.join(row)} |" for row in (cells, ["---", *["---:"] * (len(cells) - 1)], *rows))


def _times_added() -> str:
    """Return what monitoring adds to a checkout and its return, in microseconds, in each column."""
    head, *rows = table(PAIR)
    shown = [row for row in rows if row[0] in TIMED]
    cells = [
        [row[0], *(f"{row[head.index(f'{each} added')]} ({row[head.index(f'{each} x')]}x)" for each in versions())]
        for row in shown
    ]
    return _markdown(["µs added to a checkout and its return", *versions()], cells)


def compiled_versions() -> list[str]:
    """Return the columns of compiled builds."""
    return [version for version in versions() if version.endswith(COMPILED)]


def _both_builds() -> str:
    """Return the instructions over bare of both builds, by version of SQLAlchemy."""
    if not compiled_versions():
        return "[The benchmarks](../benchmarks.md) have no column of a compiled build."
    columns = [each for version in compiled_versions() for each in (version.removesuffix(COMPILED), version)]
    modes = ((SYNC, EVERYTHING), (SYNC, IN_FILE), (ASYNC, EVERYTHING), (ASYNC, IN_FILE))
    asked = [*modes, *((what, EVERYTHING) for what in _requests())]
    rows = [
        [what + (", in a worker's file" if mode == IN_FILE else ""), *(_three(ratio(what, mode, at)) for at in columns)]
        for what, mode in asked
    ]
    return _markdown(["instructions over those without pool_exporter", *columns], rows)


def _requests() -> list[str]:
    """Return the names of the requests on PostgreSQL, each once."""
    return list(dict.fromkeys(row[0] for row in table("Instructions")[1:] if not row[0].startswith("checkout")))


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _compiled_clause() -> str:
    """Return what the README says of the compiled build; "" if it was not measured."""
    if not compiled_versions():
        return ""
    sync, asynchronous = (span(_ratios(what, compiled_versions())) for what in (SYNC, ASYNC))
    return f";\n  compiled, {sync} times and {asynchronous} times"


def reasons() -> list[tuple[str, str | None]]:
    """Return of each budget that was not kept its title, with the build, and why; None where no reason is given."""
    head, *rows = table("Budgets")
    found = []
    for title, _, *cells in rows:
        failed = [version for version, cell in zip(head[2:], cells, strict=True) if "FAIL" in cell]
        if any(not version.endswith(COMPILED) for version in failed):
            found.append((title, WHY_MISSED.get(title)))
        if any(version.endswith(COMPILED) for version in failed):
            found.append((f"{title}, compiled", WHY_COMPILED_MISSED.get(title)))
    return found


def _missed() -> str:
    """Return the budgets that were not kept when docs/benchmarks.md was written, and why."""
    head, *rows = table("Budgets")
    missed = [row for row in rows if any("FAIL" in cell for cell in row)]
    if not missed:
        return "All of them were kept at the last measurement."
    titles: dict[str | None, list[str]] = {}
    for title, why in reasons():
        titles.setdefault(why, []).append(f"*{title}*")
    first = f"At the last measurement, {len(missed)} of {len(rows)} were missed in at least one column:"
    lines = [f"- {'; '.join(of)}: {why}" for why, of in titles.items()]
    return "\n".join([first, "", _markdown(head, missed), "", "Why:", "", *lines])


def limit(title: str) -> str:
    """Return the number of a budget's limit, as docs/benchmarks.md has it."""
    (row,) = (row for row in table("Budgets")[1:] if row[0] == title)
    return re.sub(r"at (?:most|least) |x$", "", row[1].partition(";")[0])


def _uninstrumented() -> str:
    head, *rows = table(PAIR)
    (row,) = (row for row in rows if row[0] == "nothing, beside a pool that pool_exporter instruments")
    values = [float(cell) for name, cell in zip(head, row, strict=True) if name.endswith(" x")]
    return span([100 * (value - 1) for value in values], "{:.0f}")


TABLES: Final[Mapping[str, tuple[Path, Callable[[], str]]]] = {
    "instructions": (OVERHEAD, _instructions),
    "times": (OVERHEAD, _times_added),
    "missed-budgets": (OVERHEAD, _missed),
    "both-builds": (COMPILED_PAGE, _both_builds),
}
"""Each part between two comments: its page, and the function that returns its text."""

SENTENCES: Final[tuple[tuple[Path, str, Callable[[], str]], ...]] = (
    (README, r"take ([\d. to]+) times the\s+instructions", lambda: span(_ratios(SYNC, _plain_versions()))),
    (
        README,
        r"monitoring, and ([\d. to]+) times in an\s+asyncio\s+task",
        lambda: span(_ratios(ASYNC, _plain_versions())),
    ),
    (README, r"in an\s+asyncio\s+task((?:;\s+compiled, [\d. to]+ times and [\d. to]+ times)?) \(", _compiled_clause),
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
