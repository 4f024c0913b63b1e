"""Recording rules: what boards over weeks and alerts over days read, at the cost of one series for each pool.

Named `level:metric:operations` as Prometheus' practices ask. Instances change with every rollout, so what is read over
days is summed over them first.
"""

from typing import Final

from grafana import queries
from grafana.promql import Scope, by, name, rate, rated
from grafana.rules.model import BY_INSTANCE, BY_POOL, Group, RecordingRule
from grafana.rules.objective import WINDOWS
from pool_exporter.metrics.pool_metrics import STATES

ALL: Final = Scope()

ACQUISITIONS: Final = "job_pool:pool_acquisitions:rate5m"
BAD: Final = "job_pool:pool_bad_acquisitions:rate5m"
UTILIZATION: Final = "job_pool:pool_utilization:max"
LIMIT: Final = f"job_pool:{name('max')}:sum"
DEMAND: Final = f"instance_pool:{rated('used_seconds')}:rate5m"


def bad_ratio(window: str) -> str:
    """Return the name of the recorded share of bad acquires over *window*."""
    return f"job_pool:pool_bad_acquisitions:ratio_rate{window}"


def _ratio(window: str) -> RecordingRule:
    if window == "5m":
        return RecordingRule(bad_ratio(window), f"{BAD} / ({ACQUISITIONS} > 0)")
    bad, all_ = (f"avg_over_time({recorded}[{window}])" for recorded in (BAD, ACQUISITIONS))
    return RecordingRule(bad_ratio(window), f"{bad} / ({all_} > 0)")


def _histogram(field: str) -> RecordingRule:
    series = name(field, "bucket")
    buckets = rate(ALL.series(field, part="bucket"), "5m")
    return RecordingRule(f"job_pool_le:{series}:rate5m", by(f"{BY_POOL}, le", buckets))


GROUPS: Final = (
    Group(
        "sqlalchemy-pool-recording",
        (
            RecordingRule(UTILIZATION, queries.utilization(ALL, BY_POOL)),
            RecordingRule(
                f"job_pool_state:{name('count')}:sum", by(f"{BY_POOL}, {STATES.prometheus}", ALL.series("count"))
            ),
            RecordingRule(LIMIT, queries.limit(ALL, BY_POOL)),
            RecordingRule(f"job_pool:{rated('saturated_seconds')}:rate5m", queries.exhausted(ALL, BY_POOL, "5m")),
            RecordingRule(f"job_pool:{rated('pending_seconds')}:rate5m", queries.queue(ALL, BY_POOL, "5m")),
            RecordingRule(DEMAND, queries.busy(ALL, BY_INSTANCE, "5m")),
            _histogram("wait_time"),
            _histogram("use_time"),
        ),
    ),
    Group(
        "sqlalchemy-pool-objective",
        (
            RecordingRule(ACQUISITIONS, queries.acquisitions(ALL, BY_POOL, "5m")),
            RecordingRule(BAD, queries.bad_acquisitions(ALL, BY_POOL, "5m")),
            *(_ratio(window) for window in WINDOWS),
        ),
    ),
)
