"""What is seen of a pool at one moment besides its counters: the verdicts that count, and what its holders do.

A report is counted once an incident: a short period has none, also where an incident goes on in it. Pure functions of
values; nothing here may read a clock, or recommend a size.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from pool_exporter.advice.attention import is_current
from pool_exporter.diagnosis.evidence import HELD_FOR_LONG_SECONDS
from pool_exporter.metrics.holders import ENDED, EXECUTING, OWN_CODE, WAITING_FOR_POOL, Holder
from pool_exporter.metrics.reports.process_report import PoolReport, ProcessReport

Reported: TypeAlias = tuple[ProcessReport, PoolReport]
"""A process, and its report on the pool."""

_ELSEWHERE: Final = (OWN_CODE, WAITING_FOR_POOL)
"""The activities in which a holder does nothing in the database."""


@dataclass(frozen=True)
class Present:
    """One pool at one moment, in all processes.

    Attributes:
        verdicts: The verdicts that count.
        held: Connections that are held, without those of units declared with `long=True`.
        executing: Of those, the ones that execute in the database.
        elsewhere: Those that are held while their owner is in other code, or waits for this pool.
        elsewhere_seconds: For how long these have been held, on average; 0 without one.
        culprit: The unit and the place that hold most of these; "" where they are unknown or may not be seen.
    """

    verdicts: tuple[str, ...] = ()
    held: int = 0
    executing: int = 0
    elsewhere: int = 0
    elsewhere_seconds: float = 0.0
    culprit: str = ""

    @property
    def is_elsewhere(self) -> bool:
        """Whether most connections are held for long while nothing is done with them, as for `held_in_own_code`."""
        return self.elsewhere > max(self.executing, self.held / 2) and self.elsewhere_seconds >= HELD_FOR_LONG_SECONDS

    def merged(self, earlier: "Present | None") -> "Present":
        """Return the moment at which more was held elsewhere, with the verdicts of both."""
        if earlier is None:
            return self
        most = max(self, earlier, key=lambda each: (each.is_elsewhere, each.elsewhere))
        verdicts = tuple(dict.fromkeys((*self.verdicts, *earlier.verdicts)))
        return Present(verdicts, most.held, most.executing, most.elsewhere, most.elsewhere_seconds, most.culprit)


def present_of(parts: Iterable[Reported], at: float, *, names_culprit: bool = True) -> Present:
    """Return what the reports of all processes say of one pool.

    Args:
        parts: The reports.
        at: The present, in seconds of Unix time.
        names_culprit: Whether units and places may be seen.
    """
    living = [(process, report) for process, report in parts if process.state != ENDED]
    current = (report.verdict for process, report in living if report.verdict and is_current(process, report, at))
    holders = [each for _, report in living for each in report.holders if not each.is_long]
    elsewhere = [each for each in holders if each.activity in _ELSEWHERE and not each.is_lost]
    return Present(
        verdicts=tuple(dict.fromkeys(current)),
        held=len(holders),
        executing=sum(each.activity == EXECUTING for each in holders),
        elsewhere=len(elsewhere),
        elsewhere_seconds=sum(each.seconds for each in elsewhere) / len(elsewhere) if elsewhere else 0.0,
        culprit=_culprit(elsewhere) if names_culprit else "",
    )


def _culprit(holders: Sequence[Holder]) -> str:
    names = Counter(", taken at ".join(filter(None, (each.unit, each.place))) for each in holders)
    return next(iter(names.most_common(1)), ("", 0))[0]
