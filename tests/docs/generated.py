"""The generated parts of the pages: tables of metrics, of commands and of measurements."""

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from pool_exporter import cli
from pool_exporter.advice.checks.rule import Rule
from pool_exporter.advice.checks.rules import RULES
from pool_exporter.diagnosis import verdict
from pool_exporter.diagnosis.texts.cures import CURES
from pool_exporter.diagnosis.texts.explanations import EXPLAINED_BY, NOT_IN_REPORTS
from pool_exporter.diagnosis.texts.report_attributes import REPORT_ATTRIBUTES
from pool_exporter.metrics.metric import Kind, Label, Metric
from pool_exporter.metrics.pool_metrics import EXPORTER_METRICS, POOL_METRICS
from pool_exporter.metrics.server_metrics import SERVER_METRICS
from pool_exporter.otel.points import ALL_METRICS, unit_of
from pool_exporter.otel.wait_spans import SPAN_ATTRIBUTES
from pool_exporter.web.page.rule_pages import page_of
from tests.docs import measured
from tests.docs.pages import DOCS

REFERENCE: Final = DOCS / "reference"
CHECKS: Final = DOCS / "checks"


def _row(metric: Metric) -> str:
    own = (*metric.open_labels, metric.label)
    names = ", ".join(label.prometheus for label in own if label is not None)
    kind = "gauge" if metric.kind in (Kind.UPDOWN, Kind.INFO) else metric.kind.value
    return f"| `{metric.prometheus}`{f' {{{names}}}' if names else ''} | {kind} | {metric.help} |"


def _metrics(metrics: Iterable[Metric]) -> str:
    return "\n".join(["| metric | kind | meaning |", "|---|---|---|", *map(_row, metrics)])


_OTLP_KINDS: Final = {
    Kind.COUNTER: "sum",
    Kind.UPDOWN: "sum, not monotonic",
    Kind.GAUGE: "gauge",
    Kind.HISTOGRAM: "histogram",
    Kind.INFO: "gauge",
}


def _otlp_names() -> str:
    rows = [
        f"| `{metric.name}` | {_OTLP_KINDS[metric.kind]} | {f'`{unit_of(metric)}`' if unit_of(metric) else ''} | "
        f"`{metric.prometheus}` |"
        for metric in ALL_METRICS
    ]
    return "\n".join(["| OpenTelemetry | kind | unit | Prometheus |", "|---|---|---|---|", *rows])


def _attributes(table: Mapping[str, tuple[str, str]]) -> str:
    rows = [f"| `{name}` | {kind} | {meaning} |" for name, (kind, meaning) in table.items()]
    return "\n".join(["| attribute | type | meaning |", "|---|---|---|", *rows])


def _labels(metrics: Iterable[Metric]) -> Iterator[tuple[str, Label]]:
    return ((metric.prometheus, metric.label) for metric in metrics if metric.label is not None)


def _label_values() -> str:
    rows = ["| metric | label | values |", "|---|---|---|"]
    for name, label in _labels((*POOL_METRICS, *EXPORTER_METRICS, *SERVER_METRICS)):
        if label.values:
            rows.append(f"| `{name}` | `{label.prometheus}` | {', '.join(f'`{value}`' for value in label.values)} |")
    return "\n".join(rows)


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each subcommand by its name."""
    return dict(cli._parser().commands)


def options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the arguments of a subcommand that its help shows, without --help."""
    shown = (action for action in parser._actions if action.help != argparse.SUPPRESS)
    return [action for action in shown if not isinstance(action, argparse._HelpAction)]


def _argument(action: argparse.Action) -> str:
    """Return an argument as usage lines have it; one that may be left out is in brackets."""
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    value = action.metavar or choices
    value = f"[{value}]" if action.nargs == "?" else value
    takes = "" if action.nargs == 0 else f" {value}"
    return ", ".join(f"`{option}{takes}`" for option in action.option_strings) or f"`{value}`"


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    rows = [f"## pool-exporter {name}", "", parser.description or "", "", "| argument | meaning |", "|---|---|"]
    formatter = argparse.HelpFormatter(parser.prog)
    rows += [f"| {_argument(action)} | {formatter._expand_help(action)} |" for action in options(parser)]
    return "\n".join(rows)


def _commands() -> str:
    return "\n\n".join(_command(name, parser) for name, parser in parsers().items())


def _flags() -> str:
    """Return a table of the flags that several commands have: one name for one thing."""
    having: dict[str, list[str]] = {}
    for name, parser in parsers().items():
        for action in options(parser):
            if action.option_strings:
                having.setdefault(_argument(action), []).append(f"`{name}`")
    rows = [f"| {flag} | {', '.join(names)} |" for flag, names in sorted(having.items()) if len(names) > 1]
    return "\n".join(["| flag | commands |", "|---|---|", *rows])


def verdict_rules() -> list[tuple[str, str, str]]:
    """Return number, verdict and rule of each row of the table of verdicts; a rule may go on in the next line."""
    table = re.sub(r"\n {8,}and ", " and ", verdict.__doc__ or "")
    rows = [line.split("|", 2) for line in table.splitlines() if re.match(r" +\d+ +\|", line)]
    return [(number.strip(), name.strip(), rule.strip()) for number, name, rule in rows]


def _verdicts() -> str:
    return "\n\n".join(
        f"## {name}\n\n{cure.meaning[0].upper()}{cure.meaning[1:]}.\n\n**Cause.** {cure.cause}\n\n**Cure.** {cure.cure}"
        f"{_explained_by(name)}"
        for name, cure in CURES.items()
    )


def _explained_by(name: str) -> str:
    titles = {rule.id: rule.title for rule in RULES}
    links = {each: f"[{each}](../checks/{each}.md) ({titles[each]}" for each in EXPLAINED_BY.get(name, ())}
    shown = [f"{link})" for each, link in links.items() if each not in NOT_IN_REPORTS]
    asked = [f"{link}; needs {NOT_IN_REPORTS[each]})" for each, link in links.items() if each in NOT_IN_REPORTS]
    parts = [
        f"A report names these if they are found: {', '.join(shown)}." if shown else "",
        f"`pool-exporter check` finds what a report does not know: {', '.join(asked)}." if asked else "",
    ]
    return f"\n\n**Checks.** {' '.join(filter(None, parts))}" if links else ""


def _verdict_table() -> str:
    rows = [f"| {number} | [{name}](#{name}) | `{rule}` |" for number, name, rule in verdict_rules()]
    return "\n".join(["| # | verdict | rule |", "|---|---|---|", *rows])


def _checks() -> str:
    rows = [f"| [{rule.id}](../checks/{rule.id}.md) | {rule.severity} | {rule.title} |" for rule in RULES]
    return "\n".join(["| rule | severity | finds |", "|---|---|---|", *rows])


def check_page(rule: Rule) -> str:
    """Return the page of one rule of `check`, with a line that says where it comes from."""
    severity = f"Severity: {rule.severity}."
    return page_of(rule).replace(severity, f"{severity} Written by `python -m tests.docs`; not to be edited.")


PARTS: Final[dict[str, tuple[Path, Callable[[], str]]]] = {
    "pool-metrics": (REFERENCE / "metrics.md", lambda: _metrics(POOL_METRICS)),
    "exporter-metrics": (REFERENCE / "metrics.md", lambda: _metrics(EXPORTER_METRICS)),
    "server-metrics": (REFERENCE / "metrics.md", lambda: _metrics(SERVER_METRICS)),
    "otlp-names": (REFERENCE / "metrics.md", _otlp_names),
    "report-attributes": (DOCS / "how-to" / "opentelemetry.md", lambda: _attributes(REPORT_ATTRIBUTES)),
    "span-attributes": (DOCS / "how-to" / "opentelemetry.md", lambda: _attributes(SPAN_ATTRIBUTES)),
    "label-values": (REFERENCE / "metrics.md", _label_values),
    "verdicts": (REFERENCE / "verdicts.md", _verdicts),
    "verdict-table": (REFERENCE / "verdicts.md", _verdict_table),
    "checks": (REFERENCE / "checks.md", _checks),
    "flags": (REFERENCE / "command-line.md", _flags),
    "commands": (REFERENCE / "command-line.md", _commands),
    **measured.TABLES,
}
"""Each generated part: its page, and the function that returns its text."""


def between(name: str) -> re.Pattern[str]:
    """Return what matches a generated part with the two comments around it."""
    return re.compile(rf"(<!-- {name} -->\n)(.*?)(<!-- /{name} -->)", re.DOTALL)


def write() -> None:
    """Write every generated part into its page, and the pages that are generated as a whole."""
    for rule in RULES:
        (CHECKS / f"{rule.id}.md").write_text(check_page(rule))
    for name, (page, part) in PARTS.items():
        before, _, rest = page.read_text().partition(f"<!-- {name} -->\n")
        after = rest.partition(f"<!-- /{name} -->")[2]
        page.write_text(f"{before}<!-- {name} -->\n\n{part()}\n\n<!-- /{name} -->{after}")
    measured.write()
