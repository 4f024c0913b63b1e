"""One rule: what it looks for, why, and what to do. docs/checks has a page for each, generated from these texts.

Nothing here may know a certain rule, or read facts.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from pool_exporter.advice.checks.facts import Facts
from pool_exporter.advice.checks.finding import Finding

MORE: Final = "More: pool-exporter check --explain {}"
"""Where a text about a finding leads to: the command that is wherever the package is."""


class Rule(NamedTuple):
    """One rule.

    Attributes:
        id: Its id. Ids are never given to another rule.
        severity: That of its findings, one of `finding.SEVERITIES`.
        title: What it is about, in a few words.
        why: What happens otherwise.
        fix: What to do.
        source: Where it comes from.
        guard: When it finds nothing, although the configuration looks wrong.
        find: Returns what is wrong with this pool in one sentence; "" if nothing is.
        needs: The attributes of facts that not every source knows, and without which it cannot be decided.
    """

    id: str
    severity: str
    title: str
    why: str
    fix: str
    source: str
    guard: str
    find: Callable[[Facts], str]
    needs: tuple[str, ...] = ()

    def finding(self, facts: Facts) -> Finding | None:
        """Return the finding of this rule about the pool that *facts* describe; None if it has none."""
        found = "" if facts.unknown.intersection(self.needs) else self.find(facts)
        return Finding(self.id, self.severity, f"{found} {self.why}", self.fix, self.source) if found else None

    def is_undecided(self, facts: Facts) -> bool:
        """Return whether this rule may find something, and the source of *facts* does not know what it needs."""
        return bool(facts.unknown.intersection(self.needs)) and bool(self.find(facts))
