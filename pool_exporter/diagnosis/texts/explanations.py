"""Which findings of `check` explain which verdict: the configuration that leads to the incident, by the rules' ids.

Not here is a rule that finds something only because the verdict was given (P07, P27, P32): it would say the same twice.
A report asks no server and knows no sessionmaker, so it never has those of `NOT_IN_REPORTS`: they explain the verdict
to an operator that runs `check` with what they need.
The rules are in `advice/checks`, above this wing; nothing here may know more of them than their ids.
"""

from collections.abc import Mapping
from typing import Final

EXPLAINED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "leak": ("P21",),  # A server that ends idle transactions gives back what the code forgets.
    "loop_blocked": ("P23",),  # Each statement is written to the log on the loop's thread.
    "server_full": ("P01", "P02", "P08", "P10"),
    "server_down": ("P20",),
    "opening": ("P20",),
    "threads_deadlock": ("P05",),
    "self_deadlock": ("P31", "P26"),
    "burst": ("P05", "P08"),
    "too_small": ("P05", "P08"),
    "locks": ("P24", "P21", "P14"),
    "slow_queries": ("P24", "P21", "P14", "P23"),  # A process calls locks slow, because it asks no server.
    "held_in_own_code": ("P21",),
}
"""The ids of the rules for each verdict that one of them can explain, the most likely first."""
NOT_IN_REPORTS: Final[Mapping[str, str]] = {
    "P01": "--database-url",
    "P05": "--threads",
    "P21": "--database-url",
    "P26": "the sessionmaker as its target",
}
"""The rules of `EXPLAINED_BY` that no report can find, and what `pool-exporter check` needs to find them."""
SHOWN_MAX: Final = 3
"""Most findings that a diagnosis names."""


def explanations(verdict: str, findings: Mapping[str, str]) -> tuple[str, ...]:
    """Return the findings that explain a verdict.

    Args:
        verdict: The verdict.
        findings: What was found about the pool: a sentence or two by the id of the rule.
    """
    return tuple(findings[rule] for rule in EXPLAINED_BY.get(verdict, ()) if rule in findings)[:SHOWN_MAX]
