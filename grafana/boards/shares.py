"""The table of shares: what each pool may open of what its server grants, what its load earns, and what to do.

It shows what `pool-exporter advise` computes, as far as PromQL can: the same load, the same targets, the same causes
for which a larger pool does not help. The size itself needs Erlang's formula, which PromQL does not have.
"""

from typing import Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana import queries
from grafana.board import BY_SERVER
from grafana.boards.fleet import to_pool
from grafana.boards.fleet_now import EACH
from grafana.paint import GREEN, ORANGE, RED, WAITS, YELLOW, Overrides, Steps, cell
from grafana.panels import Card, Line, Panel, rows, sorted_by
from grafana.promql import ADDRESS, JOB, POOL, PORT, SERVER, among, by, increase, quantile
from pool_exporter.metrics.pool_metrics import VERDICTS

LABELS: Final = f"{EACH}, {SERVER}"
WINDOW: Final = "5m"
WEEK: Final = "7d"
SHRINK: Final = 0.5
"""A pool of which never more than this part was used or waited for in the week is too large."""

WAIT_SECONDS: Final = 0.05
"""The wait of 99 of 100 callers that a size has to meet."""
NOT_BY_SIZE: Final = (
    *("leak", "lost_places", "self_deadlock", "threads_deadlock", "loop_waits", "loop_blocked"),
    *("held_in_own_code", "locks", "server_full", "server_down", "slow_queries"),
)
"""The verdicts with a cause that fills a larger pool too. A test compares these numbers with those of `advise`."""

LOWER, KEEP, RAISE, MEND = -1, 0, 1, 2
_OVER: Final[Steps] = {1: ORANGE}


def load() -> str:
    """Return the offered load of each pool over all of its instances: callers a second times the mean use."""
    arrivals = queries.acquisitions(BY_SERVER, LABELS, WINDOW)
    return f"({arrivals} * {queries.mean_use(BY_SERVER, LABELS, WINDOW)})"


def share() -> str:
    """Return the part of what the server grants that each pool's load earns among all pools of the server."""
    one = f"({queries.server_limit(BY_SERVER, SERVER)} / ({by(SERVER, load())} > 0))"
    return f"{load()} * on ({SERVER}) group_left () {one}"


def wait() -> str:
    """Return the wait of 99 of 100 callers."""
    return quantile(0.99, BY_SERVER.series("wait_time", part="bucket"), LABELS, WINDOW)


def peak() -> str:
    """Return the most that was used and waited for at once in the week, as a part of the limit of the instance."""
    most = " + ".join(f"max_over_time({BY_SERVER.series(field)}[{WEEK}])" for field in ("used_peak", "pending_peak"))
    return by(LABELS, f"({most}) / {BY_SERVER.series('max')}", "max")


def direction() -> str:
    """Return MEND where a report named a cause that is not the size, else RAISE, KEEP or LOWER."""
    other_causes = BY_SERVER.series("exhaustions", among(VERDICTS, *NOT_BY_SIZE))
    mend = f"(0 * ({by(LABELS, increase(other_causes, '$__range'))} > 0) + {MEND})"
    return f"{mend} or (({wait()} > bool {WAIT_SECONDS}) - ({peak()} <= bool {SHRINK}))"


def panels() -> list[Panel]:
    """Return the row's table."""
    card = Card(
        "Shares of the servers",
        "For each pool and server: its offered load, which is how many connections would be used on average if no "
        "caller waited; how many it may open over all instances, and how many its load earns of what the server "
        "grants; the wait now; and what to do. Load, wait and shares are of 5 minutes, the peak of 7 days. The share "
        "needs a probe.",
        "no pool may open more than its share, and there is nothing to do.",
        "raise or lower by `pool-exporter advise`, which says the size. Mend first: reports on the pool in the time "
        "range name a cause that would fill a larger pool too; its board shows which.",
        width=24,
        height=7,
    )
    columns = {
        "A": Line(load(), "Load"),
        "B": Line(queries.limit(BY_SERVER, LABELS), "May open"),
        "C": Line(share(), "Share"),
        "D": Line(f"{queries.limit(BY_SERVER, LABELS)} / ({share()} > 0)", "May open / share"),
        "E": Line(wait(), "p99 wait"),
        "F": Line(peak(), "Peak, 7 days"),
        "G": Line(direction(), "What to do"),
    }
    one = cell(units.Short, {}, decimals=1)
    overrides: Overrides = {
        "Load": one,
        "Share": one,
        "May open / share": cell(units.PercentUnit, _OVER, "color-text"),
        "p99 wait": cell(units.Seconds, WAITS, "color-text"),
        "Peak, 7 days": cell(units.PercentUnit, {}, decimals=0),
        "What to do": [*cell(units.Short, {}, "color-text"), _words()],
        JOB: [DynamicConfigValue(id_val="displayName", value="Job")],
        POOL: [DynamicConfigValue(id_val="displayName", value="Pool"), to_pool()],
        ADDRESS: [DynamicConfigValue(id_val="displayName", value="Server")],
        PORT: [DynamicConfigValue(id_val="displayName", value="Port")],
    }
    return [sorted_by(rows(card, (JOB, POOL, ADDRESS, PORT), columns, overrides), "Load")]


def _words() -> DynamicConfigValue:
    words = {LOWER: ("lower", YELLOW), KEEP: ("keep", GREEN), RAISE: ("raise", ORANGE), MEND: ("mend first", RED)}
    options = {
        str(value): {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(words.items())
    }
    return DynamicConfigValue(id_val="mappings", value=[{"type": "value", "options": options}])
