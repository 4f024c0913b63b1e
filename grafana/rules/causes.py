"""Alerts on causes, and on what will soon be a fault: tickets, for working hours.

The thresholds were chosen by running the scenes of the demo; docs/reference/alerts.md has what each scene measured.
"""

from typing import Final

from grafana import queries
from grafana.promql import Scope, among, by, increase, quantile
from grafana.rules.asked import asked, at_instance, at_pool, instance_with_most, seconds_of_label
from grafana.rules.model import BY_INSTANCE, BY_POOL, INSTANCE_TEXT, LOOK, POOL_TEXT, Alert, Group
from grafana.rules.objective import TRAFFIC_MIN
from grafana.rules.recording import ACQUISITIONS, UTILIZATION
from pool_exporter.metrics.pool_metrics import CLOSE_REASONS

ALL: Final = Scope()

EXHAUSTED_MAX: Final = 0.5
QUEUE_MAX: Final = 1
UTILIZATION_MAX: Final = 0.8
WAIT_SECONDS_MAX: Final = 0.5
UNRETURNED_MAX: Final = 0.9
UNRETURNED_SHARE_MAX: Final = 0.1
USE_SECONDS_MAX: Final = 900
BROKEN_MAX: Final = 5
REPLACED_SHARE_MAX: Final = 0.2
CONNECTS_MAX: Final = 1


def _timeouts() -> Alert:
    most = instance_with_most(f"increase({at_pool('timeouts')}[5m])")
    return Alert(
        "SQLAlchemyPoolTimeouts",
        f"{by(BY_POOL, increase(ALL.series('timeouts'), '5m'))} > 0",
        "1m",
        "warning",
        f"Callers time out waiting for a connection of {POOL_TEXT}.",
        'About {{ $value | printf "%.0f" }} calls ended in a pool timeout in 5 minutes. '
        f"Most of them are on {most}.",
        "read the note at the end of the TimeoutError, or the WARNING of logger pool_exporter.diagnosis in the "
        "application's log: verdict, lines of code, what to do.",
        f"{LOOK}: what holds the connections now.",
    )


def _saturated() -> Alert:
    return Alert(
        "SQLAlchemyPoolSaturated",
        f"{queries.exhausted(ALL, BY_INSTANCE, '5m')} > {EXHAUSTED_MAX}\n"
        f"and {queries.queue(ALL, BY_INSTANCE, '5m')} > {QUEUE_MAX}",
        "5m",
        "warning",
        f"The pool is exhausted and callers wait: {INSTANCE_TEXT}.",
        "For {{ $value | humanizePercentage }} of the last 5 minutes a process had every connection of the pool used. "
        "The times of several workers are added up, and one that is exhausted is enough.",
        f"{LOOK}: the last verdict, and what holds the connections.",
        "read the WARNING of logger pool_exporter.diagnosis in the application's log: lines of code, and what to do.",
    )


def _near_capacity() -> Alert:
    return Alert(
        "SQLAlchemyPoolNearCapacity",
        f"{UTILIZATION} > {UTILIZATION_MAX}",
        "30m",
        "info",
        f"Nearly all connections are used at peaks: {POOL_TEXT}.",
        "At the peak of the last minute, {{ $value | humanizePercentage }} of the limit was used. "
        f"For half an hour, each minute's peak was above {UTILIZATION_MAX:.0%}.",
        "look at Held by unit of work on the pool's board: which kind of request has grown?",
        "compare Needed with the limit on the board Capacity and sizing.",
    )


def _wait_high() -> Alert:
    buckets = at_pool("wait_time", part="bucket")
    median = asked(f"histogram_quantile(0.5, sum by (le) (rate({buckets}[5m])))", "humanizeDuration")
    timeout = seconds_of_label(at_pool("info"), "timeout_seconds")
    p99 = quantile(0.99, ALL.series("wait_time", part="bucket"), BY_POOL, "5m")
    return Alert(
        "SQLAlchemyPoolWaitHigh",
        f"{p99} > {WAIT_SECONDS_MAX}\nand {ACQUISITIONS} > {TRAFFIC_MIN}",
        "10m",
        "warning",
        f"Callers wait long for a connection of {POOL_TEXT}.",
        f"One acquire in a hundred takes {{{{ $value | humanizeDuration }}}} or longer; the median is {median}. Both "
        f"are estimates from buckets: pool_timeout is {timeout}, and a number above it is a timeout. "
        "A high median: the pool is exhausted most of the time. A tiny one, and the slowest far below pool_timeout: "
        "bursts. A tiny one, and the slowest at pool_timeout, in a pool that is always exhausted: its queue is not "
        "fair, a few busy threads take each connection again before the waiting ones can.",
        "read the last report in the application's log (logger pool_exporter.diagnosis) or on the exporter's page.",
        "if there is no report, see Opening a connection on the pool's board; where the queue is not fair, run no "
        "more threads than there are connections; for bursts, raise pool_size.",
    )


def _leak() -> Alert:
    held = f"({queries.unreturned(ALL, BY_INSTANCE, '30m')})"
    share = f"{UNRETURNED_SHARE_MAX} * {queries.limit(ALL, BY_INSTANCE)}"
    # Not the mean of half an hour: while a leak goes on, that is the number of a quarter of an hour ago.
    oldest = asked(f"max({at_instance('oldest_use_seconds')})", "humanizeDuration")
    now = f"clamp_min(round({queries.unreturned(ALL, BY_INSTANCE, '5m')}), 1)"
    return Alert(
        "SQLAlchemyPoolLeakSuspected",
        f"{now}\nand {held} > {UNRETURNED_MAX}\nunless {held} <= {share}",
        "15m",
        "warning",
        f"Connections seem to be checked out and not returned: {INSTANCE_TEXT}.",
        'About {{ $value | printf "%.0f" }} connections are used that the returned ones do not explain. '
        f"Age of the oldest checkout: {oldest}.",
        f"{LOOK}: what holds connections, for how long, and the line that took them.",
        "see Orphaned on the pool's board: above 0, the code that took them has ended; at 0, it may be long work.",
    )


def _lost() -> Alert:
    return Alert(
        "SQLAlchemyPoolCheckoutsLost",
        f"{by(BY_POOL, increase(ALL.series('leaked'), '15m'))} > 0",
        "0m",
        "warning",
        f"The application loses connections of {POOL_TEXT}.",
        'The garbage collector has returned about {{ $value | printf "%.0f" }} of them in 15 minutes.',
        "search the application's log for 'dropped without being returned' (logger pool_exporter.diagnosis): it names "
        "the line and the unit of work.",
        "return the connection there on every path: with, or async with.",
        keep="15m",
    )


def _too_old() -> Alert:
    return Alert(
        "SQLAlchemyPoolCheckoutTooOld",
        f"{by(BY_INSTANCE, ALL.series('oldest_use_seconds'), 'max')} > {USE_SECONDS_MAX}",
        "5m",
        "warning",
        f"A connection has been checked out for very long: {INSTANCE_TEXT}.",
        "It was checked out {{ $value | humanizeDuration }} ago.",
        f"{LOOK}: the oldest holder, its line, its unit of work and the server's pid.",
        "decide whether such work is meant: if so, unit(..., long=True) takes it out of the diagnosis; if not, end it.",
    )


def _orphaned() -> Alert:
    return Alert(
        "SQLAlchemyPoolOrphaned",
        f"{by(BY_INSTANCE, ALL.series('orphaned'))} > 0",
        "5m",
        "warning",
        f"Requests, tasks or threads have ended without returning their connections: {INSTANCE_TEXT}.",
        'There are {{ $value | printf "%.0f" }} such connections; usually they are not returned any more.',
        "search the application's log for 'held by code that has ended' (logger pool_exporter.diagnosis): it names the "
        f"line and the unit of work; or {LOOK}.",
        "return the connection there on every path: with, or async with. A restart returns them now.",
    )


def _lost_places() -> Alert:
    return Alert(
        "SQLAlchemyPoolLostPlaces",
        f"{by(BY_INSTANCE, ALL.series('lost_places'), 'max')} > 0",
        "1m",
        "warning",
        f"SQLAlchemy's pool has lost places: {INSTANCE_TEXT}.",
        'It counts {{ $value | printf "%.0f" }} as checked out that no connection occupies. They do not come back.',
        "search the application's log for an exception in the return of a connection: a listener of checkin or reset, "
        "a signal, a time limit.",
        "restart the process, or call engine.dispose(): the new pool has all its places.",
    )


def _broken() -> Alert:
    reasons = among(CLOSE_REASONS, "invalidate", "pre_ping", "soft_invalidate", "pool_invalidate")
    return Alert(
        "SQLAlchemyPoolConnectionsBroken",
        f"{by(BY_POOL, increase(ALL.series('closes', reasons), '10m'))} > {BROKEN_MAX}",
        "0m",
        "warning",
        f"Connections break: {POOL_TEXT}.",
        'About {{ $value | printf "%.0f" }} were closed in 10 minutes because they were no longer usable.',
        "look whether the database server restarted or failed over: its log says.",
        "where it is regular, set pool_pre_ping=True, and pool_recycle below the time after which they are closed.",
        keep="15m",
    )


def _churn() -> Alert:
    opened = by(BY_POOL, f"rate({ALL.series('connects')}[15m])")
    used = queries.checkouts(ALL, BY_POOL, "15m")
    return Alert(
        "SQLAlchemyPoolChurnHigh",
        f"{opened} / ({used} > 0) > {REPLACED_SHARE_MAX}\nand {opened} > {CONNECTS_MAX}",
        "15m",
        "info",
        f"Connections are opened too often: {POOL_TEXT}.",
        "{{ $value | humanizePercentage }} of the checkouts needed a new connection.",
        "see Opened and closed on the pool's board: the reason for which connections are closed.",
        "for overflow, raise pool_size and lower max_overflow; for another reason, see the runbook.",
    )


GROUPS: Final = (
    Group(
        "sqlalchemy-pool-causes",
        (
            _timeouts(),
            _saturated(),
            _near_capacity(),
            _wait_high(),
            _leak(),
            _lost(),
            _too_old(),
            _orphaned(),
            _lost_places(),
            _broken(),
            _churn(),
        ),
    ),
)
