"""One finding about a configuration, as a frozen value. It never has a password: rules get none."""

from dataclasses import dataclass
from typing import Final

SEVERITIES: Final = ("error", "warning", "info")
"""What will fail; what will cost under load; what is worth knowing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        id: The rule's id, such as "P13". A finding is silenced by it.
        severity: One of `SEVERITIES`.
        message: What is wrong with this pool, and why, in a sentence or two.
        fix: What to write instead.
        source: Where the rule comes from.
    """

    id: str
    severity: str
    message: str
    fix: str
    source: str

    def __str__(self) -> str:
        return f"{self.severity} {self.id}: {self.message} Fix: {self.fix}"
