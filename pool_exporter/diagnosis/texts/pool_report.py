"""A diagnosis as a `PoolReport`, the values that other processes read; `diagnosis_text` makes the texts for people.

Nothing here may read a pool, a frame or a clock.
"""

import re
from typing import Final

from pool_exporter.diagnosis.texts.cures import CURES
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.diagnosis.verdict import HEALTHY
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport

_SENTENCE_END: Final = r"(?<=\.)\s+(?=[A-Z])"


def pool_report(identity: PoolIdentity, made: Diagnosis, last: Diagnosis | None = None) -> PoolReport:
    """Return the report of a pool.

    Args:
        identity: The pool.
        made: A diagnosis of now, with the holders and waiters that are shown.
        last: The last automatic diagnosis: its verdict is shown while the pool is healthy; None without one.
    """
    shown = last if last is not None and made.verdict == HEALTHY else made
    return PoolReport(
        identity,
        made.holders,
        made.waiters,
        shown.verdict,
        shown.summary,
        sentences(CURES[shown.verdict].cure),
        shown.reported_at or shown.at,
        shown.notes,
        shown.why,
        shown.where,
    )


def sentences(text: str) -> tuple[str, ...]:
    """Return the sentences of a text."""
    return tuple(re.split(_SENTENCE_END, text))
