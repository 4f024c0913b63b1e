"""The objective that pages are about, and how fast its error budget may burn. No expression may be here."""

from dataclasses import dataclass
from typing import Final

BAD_SHARE_MAX: Final = 0.001
"""One acquire in a thousand may fail or be slow; SLOW_SECONDS in queries.py is the limit of slow."""

TRAFFIC_MIN: Final = 0.1
"""Acquires per second below which a share says nothing: one slow acquire in an hour would page."""


@dataclass(frozen=True)
class Burn:
    """A pair of windows: the budget burns this many times too fast in both, so it is serious and not over yet."""

    long: str
    short: str
    factor: float
    hold: str
    severity: str


BURNS: Final = (
    Burn("1h", "5m", 14.4, "2m", "critical"),
    Burn("6h", "30m", 6, "15m", "critical"),
    Burn("3d", "6h", 1, "1h", "warning"),
)
"""As in the Site Reliability Workbook: 2 % of a month's budget in an hour, 5 % in six, 10 % in three days."""

WINDOWS: Final = ("5m", "30m", "1h", "6h", "3d")
