"""The frozen value of a diagnosis; those of its holders and waiters are in `metrics/holders.py`.

Nothing here may compute: `survey` makes the values, `verdict` decides, `texts` writes the texts. Each place is a text
such as "orders/api.py:42 in create_order". No value refers to an object of the application.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from pool_exporter.diagnosis.evidence import Evidence
from pool_exporter.metrics.holders import Holder, Uses, Waiter


class Culprit(NamedTuple):
    """What a verdict points to first.

    Attributes:
        place: The frame of the application, such as "orders/api.py:42 in create_order".
        unit: The unit of work that holds the connection there, or waits there; "" if it is unknown.
        unit_code: That unit's function: the endpoint, or the task's function; "" if it is unknown.
    """

    place: str
    unit: str = ""
    unit_code: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """One pool at one moment: the verdict, its reasons, and what holds and waits for its connections.

    `str()` of it is the screen that an operator reads.

    Attributes:
        pool: The pool's name.
        at: When it was made, in seconds of Unix time.
        verdict: One of `verdict.VERDICTS`.
        summary: The verdict and its numbers in one line.
        holders: What holds connections, oldest first.
        waiters: What waits for a connection, oldest first.
        notes: What else was seen, one sentence each.
        evidence: The numbers that the verdict was made of.
        where: The places in the application that the verdict points to, the most frequent first.
        explained_by: What `check` has found that explains the verdict; `notes` ends with it.
        why: The numbers for which the verdict was given.
        reported_at: When the earlier report was made that is quoted, because no caller waits by now or less is found:
            the verdict, `where`, `why` and `culprit` are of that time. 0 where none is quoted.
        uses: Which uses of connections the holders are, to find out later whether they have ended.
        culprit: What the first of `where` is; None if the verdict points to no place.
    """

    pool: str
    at: float
    verdict: str
    summary: str
    holders: tuple[Holder, ...] = ()
    waiters: tuple[Waiter, ...] = ()
    notes: tuple[str, ...] = ()
    evidence: Evidence = field(default_factory=Evidence, repr=False)
    where: tuple[str, ...] = ()
    explained_by: tuple[str, ...] = ()
    why: str = ""
    reported_at: float = 0.0
    uses: Uses = field(default=frozenset(), repr=False, compare=False)
    culprit: Culprit | None = None
    _screen: str = field(default="", repr=False, compare=False)

    def __str__(self) -> str:
        return self._screen or self.summary
