"""Warns where exponential histograms are asked for: those of this package have explicit bounds.

The durations are counted by these bounds at the event, in shared memory too, so that no finer buckets can be made of
them later. Nothing here may know who asks.
"""

import logging
from typing import Final

_log = logging.getLogger("pool_exporter")

AGGREGATION: Final = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
EXPONENTIAL: Final = "base2_exponential_bucket_histogram"

_warned: set[str] = set()


def warn_if_exponential(*, is_asked_for: bool) -> None:
    """Log one WARNING in a process."""
    if is_asked_for and not _warned:
        _warned.add(EXPONENTIAL)
        _log.warning("exponential histograms are asked for: those of pool_exporter keep their explicit bounds")
