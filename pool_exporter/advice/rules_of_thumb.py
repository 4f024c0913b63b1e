"""The rules of thumb that guides give for sizes, shown beside a computed size. They know no use time, so they guess.

Source: the usual tutorials of asynchronous SQLAlchemy; docs/how-to/size-pools.md says where they fail. Nothing here may
compute a size.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class RuleOfThumb:
    """What such a guide says for one load.

    Attributes:
        load: Its name for the load.
        below: The rule is for fewer callers a second than this.
        pool_size: As a text, because it can be a range.
        max_overflow: As a text, too.
    """

    load: str
    below: float
    pool_size: str
    max_overflow: str

    def __str__(self) -> str:
        return f"rule of thumb for {self.load} load: pool_size {self.pool_size}, max_overflow {self.max_overflow}"


RULES_OF_THUMB: Final = (
    RuleOfThumb("light", 100, "5", "5"),
    RuleOfThumb("medium", 1000, "10 to 20", "10"),
    RuleOfThumb("heavy", float("inf"), "20 to 30", "0"),
)


def rule_for(arrivals_per_second: float) -> RuleOfThumb:
    """Return the rule for a service with that many requests a second."""
    return next(rule for rule in RULES_OF_THUMB if arrivals_per_second < rule.below or rule is RULES_OF_THUMB[-1])
