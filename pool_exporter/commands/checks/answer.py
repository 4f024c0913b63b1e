"""What `check` prints: findings and the rules that could not be decided, as text or as JSON. Nothing here may judge."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from pool_exporter.advice.checks.finding import SEVERITIES, Finding
from pool_exporter.advice.checks.rule import MORE, Rule
from pool_exporter.diagnosis.texts.wording import printable

ERROR: Final = "error"

_APPLICATION: Final = "the application: pool-exporter check MODULE:ENGINE, or pool_exporter.check() in it"
_GIVEN_BY: Final[Mapping[str, str]] = {
    "connections_max": "the server: --database-url",
    "settings": "the server: --database-url",
    "threads": "--threads",
}
"""What gives the facts that a rule needs; all others have the application."""


@dataclass(frozen=True)
class Answer:
    """What was found of one engine, or of the pools of one identity in all workers.

    Attributes:
        name: Its name.
        findings: What is wrong, the worst first.
        undecided: The rules that need more than is known.
        about: What was judged, for the heading; "" for none.
        details: The same for programs.
    """

    name: str
    findings: tuple[Finding, ...]
    undecided: tuple[Rule, ...] = ()
    about: str = ""
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def has_errors(self) -> bool:
        """Whether one of the findings is an error."""
        return any(each.severity == ERROR for each in self.findings)


def as_text(answers: Iterable[Answer]) -> str:
    """Return the answers for people."""
    return "\n\n".join("\n".join(map(printable, _lines(each))) for each in answers)


def _lines(answer: Answer) -> Iterator[str]:
    if answer.about:
        yield f"{answer.name}: {answer.about}"
    for found in answer.findings:
        yield f"{found.severity} {found.id}: {found.message}"
        yield f"  Fix: {found.fix}"
    more = f" {MORE.format(answer.findings[0].id)}." if answer.findings else ""
    yield f"{answer.name}: {_summary(answer.findings)}{more}"
    for given_by, rules in _by_source(answer.undecided).items():
        yield f"  Not checked: {', '.join(rules)}, which need{'s' * (len(rules) == 1)} {given_by}."


def _summary(found: Sequence[Finding]) -> str:
    if not found:
        return "nothing was found."
    counts = [(sum(each.severity == severity for each in found), severity) for severity in SEVERITIES]
    return ", ".join(f"{count} {name}{'s' * (count > 1 and name != 'info')}" for count, name in counts if count) + "."


def _by_source(rules: Iterable[Rule]) -> dict[str, list[str]]:
    """Return the ids of *rules* by what gives them the facts that they need."""
    found: dict[str, list[str]] = defaultdict(list)
    for rule in rules:
        found[next((_GIVEN_BY[need] for need in rule.needs if need in _GIVEN_BY), _APPLICATION)].append(rule.id)
    return found


def of_engine_as_json(answer: Answer) -> str:
    """Return the answer about an engine for programs."""
    return _json({"findings": [asdict(each) for each in answer.findings]})


def of_pools_as_json(answers: Sequence[Answer]) -> str:
    """Return the answers about the pools of a directory for programs: each finding names its pool."""
    findings = [{"pool": answer.name, **asdict(each)} for answer in answers for each in answer.findings]
    undecided = [
        {"pool": answer.name, "id": rule.id, "needs": list(rule.needs)}
        for answer in answers
        for rule in answer.undecided
    ]
    pools = [{"pool": answer.name, **answer.details} for answer in answers]
    return _json({"findings": findings, "not_checked": undecided, "pools": pools})


def _json(content: Mapping[str, object]) -> str:
    return json.dumps(content, indent=2, allow_nan=False)
