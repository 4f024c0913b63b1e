"""All rules, and what they find. A rule that fails for whatever reason finds nothing."""

from collections.abc import Container
from typing import Final

from pool_exporter.advice.checks.behaviour_rules import BEHAVIOUR_RULES
from pool_exporter.advice.checks.driver_rules import DRIVER_RULES
from pool_exporter.advice.checks.facts import Facts
from pool_exporter.advice.checks.finding import SEVERITIES, Finding
from pool_exporter.advice.checks.pool_rules import POOL_RULES
from pool_exporter.advice.checks.rule import Rule
from pool_exporter.advice.checks.server_rules import SERVER_RULES

RULES: Final[tuple[Rule, ...]] = tuple(
    sorted((*POOL_RULES, *DRIVER_RULES, *BEHAVIOUR_RULES, *SERVER_RULES), key=lambda rule: rule.id)
)


def findings(facts: Facts, silenced: Container[str] = ()) -> tuple[Finding, ...]:
    """Return what is wrong, the worst first.

    Args:
        facts: All that is known of one pool.
        silenced: The ids of rules to leave out.
    """
    found = (rule.finding(facts) for rule in RULES if rule.id not in silenced)
    return tuple(sorted(filter(None, found), key=lambda finding: (SEVERITIES.index(finding.severity), finding.id)))
