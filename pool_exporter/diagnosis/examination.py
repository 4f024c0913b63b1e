"""`Examination`: what `survey` found out about one pool; `texts` makes a diagnosis of it.

Only values are here. Nothing may be computed, and no value refers to an object of the application.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from pool_exporter.diagnosis.evidence import Evidence
from pool_exporter.metrics.holders import Holder, Uses, Waiter


class Examination(NamedTuple):
    """One pool at one moment, before the verdict.

    Attributes:
        pool: The pool's name.
        at: When it was examined, in seconds of Unix time.
        pid: The process's id, 0 if it is not to be shown.
        evidence: The numbers for the verdict.
        holders: What holds connections, oldest first.
        waiters: What waits for a connection, oldest first.
        loop_now: The frames at which the thread of a blocked event loop is, innermost first.
        library_frames: Each `Holder.now` in which nothing is the application's.
        notes: What else was seen, one sentence each.
        findings: What `check` has found about the pool, by the rule's id; those are shown that explain the verdict.
        moment: When it was examined, in nanoseconds since the pool's origin: the ages are of that moment.
        uses: Which uses of connections the holders are.
    """

    pool: str
    at: float
    pid: int = 0
    evidence: Evidence = Evidence()
    holders: tuple[Holder, ...] = ()
    waiters: tuple[Waiter, ...] = ()
    loop_now: tuple[str, ...] = ()
    library_frames: frozenset[tuple[str, ...]] = frozenset()
    notes: tuple[str, ...] = ()
    findings: Mapping[str, str] = MappingProxyType({})
    moment: int = 0
    uses: Uses = frozenset()
