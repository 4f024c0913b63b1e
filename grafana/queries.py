"""Expressions about pools that the boards and the rules share.

Each function takes the scope, the labels to keep and the window of its rates, and returns PromQL. Sums come before
ratios, so that an answer is right for one process, for a sidecar that sums its workers, and for a fleet. No threshold
may be here: the boards and the rules have them.
"""

from typing import Protocol

from grafana.promql import RATE_INTERVAL, Scope, by, equal, other_than, rate, ratio, series_labels
from pool_exporter.metrics.pool_metrics import ERROR_TYPES, STATES

SLOW_SECONDS = 0.1
"""An acquire that takes longer is slow; it is a bound of the histograms."""


class Question(Protocol):
    """A function of this module that takes a window."""

    def __call__(self, scope: Scope, labels: str = "", window: str = RATE_INTERVAL) -> str:
        """Return the expression."""


def used(scope: Scope, labels: str = "") -> str:
    """Return how many connections are used."""
    return by(labels, scope.series("count", equal(STATES, "used")))


def idle(scope: Scope, labels: str = "") -> str:
    """Return how many connections are idle in their pools."""
    return by(labels, scope.series("count", equal(STATES, "idle")))


def limit(scope: Scope, labels: str = "") -> str:
    """Return how many connections the pools may open; nothing for pools without a limit."""
    return by(labels, scope.series("max"))


def utilization(scope: Scope, labels: str = "") -> str:
    """Return the share of its limit that the busiest instance of each pool used at its peak of the last minute."""
    return by(labels, f"{scope.series('used_peak')} / {scope.series('max')}", "max")


def exhausted(scope: Scope, labels: str = "", window: str = RATE_INTERVAL) -> str:
    """Return the fraction of the time in which the pool had no connection left to give, of its worst instance."""
    return by(labels, rate(scope.series("saturated_seconds"), window), "max")


def queue(scope: Scope, labels: str = "", window: str = RATE_INTERVAL) -> str:
    """Return the exact mean number of callers that waited."""
    return by(labels, rate(scope.series("pending_seconds"), window))


def busy(scope: Scope, labels: str = "", window: str = RATE_INTERVAL) -> str:
    """Return the exact mean number of used connections."""
    return by(labels, rate(scope.series("used_seconds"), window))


def explained(scope: Scope, labels: str = "", window: str = RATE_INTERVAL) -> str:
    """Return the mean number of used connections that those returned in the window account for (Little's law)."""
    return by(labels, rate(scope.series("use_time", part="sum"), window))


def unreturned(scope: Scope, labels: str = "", window: str = RATE_INTERVAL) -> str:
    """Return the mean number of used connections that were not returned; a leak when it stays above 0."""
    return f"{busy(scope, labels, window)} - {explained(scope, labels, window)}"


def checkouts(scope: Scope, labels: str = "", window: str = RATE_INTERVAL) -> str:
    """Return the checkouts per second."""
    return by(labels, rate(scope.series("checkouts"), window))


def mean_use(scope: Scope, labels: str = "", window: str = RATE_INTERVAL) -> str:
    """Return the mean time from checkout to return, in seconds."""
    count = by(labels, rate(scope.series("use_time", part="count"), window))
    return ratio(explained(scope, labels, window), count)


def acquisitions(scope: Scope, labels: str = "", window: str = RATE_INTERVAL) -> str:
    """Return the acquires per second, failed ones included, cancelled ones not.

    Timed-out ones are in the histogram of the wait, other failures are not.
    """
    waits = by(labels, rate(scope.series("wait_time", part="count"), window))
    return f"({waits} + {_failures(scope, labels, window)})"


def bad_acquisitions(scope: Scope, labels: str = "", window: str = RATE_INTERVAL) -> str:
    """Return the acquires per second that failed or took longer than SLOW_SECONDS."""
    fast = by(labels, rate(scope.series("wait_time", f'le="{SLOW_SECONDS}"', part="bucket"), window))
    return f"({acquisitions(scope, labels, window)} - {fast})"


def bad_share(scope: Scope, labels: str = "", window: str = RATE_INTERVAL) -> str:
    """Return the share of acquires that failed or were slow."""
    return ratio(bad_acquisitions(scope, labels, window), acquisitions(scope, labels, window))


def _failures(scope: Scope, labels: str, window: str) -> str:
    kinds = other_than(ERROR_TYPES, "timeout", "cancelled")
    return by(labels, rate(scope.series("acquire_failures", kinds), window))


def server_connections(scope: Scope, labels: str) -> str:
    """Return the connections of all clients that a server has: once, however many probes query it."""
    return by(labels, by(", ".join(series_labels("server.connections")), scope.series("server.connections"), "max"))


def server_limit(scope: Scope, labels: str) -> str:
    """Return how many connections a server grants to ordinary users."""
    return by(labels, scope.series("server.connections_max"), "max")
