"""All rules, what they find, and which of them cannot be decided.

A rule that raises finds nothing, and is counted as an error of a hook.
"""

from collections.abc import Container
from functools import partial
from typing import Final

from pool_exporter.advice.checks.behaviour_rules import BEHAVIOUR_RULES
from pool_exporter.advice.checks.driver_rules import DRIVER_RULES
from pool_exporter.advice.checks.facts import Facts
from pool_exporter.advice.checks.finding import SEVERITIES, Finding
from pool_exporter.advice.checks.pool_rules import POOL_RULES
from pool_exporter.advice.checks.rule import Rule
from pool_exporter.advice.checks.server_rules import SERVER_RULES
from pool_exporter.hook_errors import result_or_none

RULES: Final[tuple[Rule, ...]] = tuple(
    sorted((*POOL_RULES, *DRIVER_RULES, *BEHAVIOUR_RULES, *SERVER_RULES), key=lambda rule: rule.id)
)

IDS: Final = tuple(rule.id for rule in RULES)
"""The ids of all rules, by which a finding is silenced."""


def findings(facts: Facts, silenced: Container[str] = ()) -> tuple[Finding, ...]:
    """Return what is wrong, the worst first.

    Args:
        facts: All that is known of one pool.
        silenced: The ids of rules to leave out.
    """
    found = [result_or_none(partial(rule.finding, facts)) for rule in RULES if rule.id not in silenced]
    return tuple(sorted(filter(None, found), key=lambda finding: (SEVERITIES.index(finding.severity), finding.id)))


def undecided(facts: Facts, silenced: Container[str] = ()) -> tuple[Rule, ...]:
    """Return the rules that may find something, but need what the source of *facts* does not know, by their ids.

    Args:
        facts: All that is known of one pool.
        silenced: The ids of rules to leave out.
    """
    rules = [rule for rule in RULES if rule.id not in silenced]
    return tuple(rule for rule in rules if result_or_none(partial(rule.is_undecided, facts)))
