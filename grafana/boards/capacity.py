"""Capacity: how many connections the fleet has and may have, what each pool needs, and which size would do.

What a server grants is in servers.py: it is known only where a probe looks at the server.
"""

from typing import Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana import queries
from grafana.board import BY_POOL, Board
from grafana.boards import servers
from grafana.boards.fleet import EACH, LEGEND, to_pool
from grafana.boards.servers import SERVER_LEGEND
from grafana.paint import FULL, Overrides, cell
from grafana.panels import Card, Line, Panel, graph, rows
from grafana.promql import INSTANCE, JOB, POOL, SERVER, by
from grafana.rules.recording import DEMAND

UID: Final = "sqla-pool-capacity"
WEEK: Final = "7d"


def demand() -> str:
    """Return the most connections that an instance of each pool has needed in the week, as means of five minutes."""
    return by(EACH, f"max_over_time({BY_POOL.named(DEMAND)}[{WEEK}])", "max")


def suggestion() -> str:
    """Return the size that would do for each instance: the demand, and room for chance (square-root staffing)."""
    return f"clamp_min(ceil({demand()} + 2 * sqrt({demand()})), 2)"


def fleet() -> list[Panel]:
    """Return the panels on what is open, and what may be."""
    return [
        graph(
            Card(
                "Open connections by server",
                "Open connections of all selected pools, by the database server that they lead to.",
                "follows the traffic, with the idle connections of each pool below it.",
                "if it comes near to what the server grants, see Possible connections beside it.",
                width=12,
            ),
            Line(by(SERVER, BY_POOL.series("count")), SERVER_LEGEND),
        ),
        graph(
            Card(
                "Possible connections by server",
                "What all selected pools together may open: the sum of their limits over all instances.",
                "below what the server grants, also while a rollout runs and there are more instances.",
                "lower max_overflow, or put a pooler in between: one bad minute and the server refuses connections.",
                width=12,
            ),
            Line(by(SERVER, BY_POOL.series("max")), SERVER_LEGEND),
        ),
        graph(
            Card(
                "Possible connections by pool",
                "The same, by who may open them.",
                "in proportion to the traffic.",
                "begin with the largest: does it need what it may open? The table below knows.",
                width=12,
            ),
            Line(queries.limit(BY_POOL, EACH), LEGEND),
            is_stacked=True,
        ),
        graph(
            Card(
                "Needed connections by pool",
                "Exact mean number of used connections: what the callers need at this moment.",
                "well below what is possible; the difference is room for bursts.",
                "a pool that needs a tenth of what it may open is a reserve that the server has to keep.",
                width=12,
            ),
            Line(queries.busy(BY_POOL, EACH), LEGEND),
            is_stacked=True,
        ),
    ]


def sizes() -> list[Panel]:
    """Return the table of sizes."""
    card = Card(
        "Sizes",
        "For each pool: what an instance needed at most in the last 7 days, on average of five minutes and at its "
        "peaks, the size that would do for one instance, and what it is set to. Behind a sidecar, an instance is "
        "all of its workers together. Needs our recording rules.",
        "the suggestion lies between size and limit.",
        "above the limit: raise it, after a look at the server. Far below the size: lower it, idle connections cost.",
        width=24,
        height=7,
    )
    columns = {
        "A": Line(by(EACH, by(f"{EACH}, {INSTANCE}", BY_POOL.series("max"), "group"), "count"), "Instances"),
        "B": Line(queries.busy(BY_POOL, EACH, "5m"), "Needed now, all"),
        "C": Line(demand(), "Needed, 7 days"),
        "D": Line(
            by(EACH, f"quantile_over_time(0.99, {BY_POOL.series('used_peak')}[{WEEK}])", "max"), "Peak p99, 7 days"
        ),
        "E": Line(suggestion(), "Suggested"),
        "F": Line(by(EACH, BY_POOL.series("idle_max"), "max"), "Size"),
        "G": Line(by(EACH, BY_POOL.series("max"), "max"), "Limit"),
        "H": Line(f"{suggestion()} / {by(EACH, BY_POOL.series('max'), 'max')}", "Suggested / limit"),
    }
    one = cell(units.Short, {}, decimals=1)
    overrides: Overrides = {
        "Needed now, all": one,
        "Needed, 7 days": one,
        "Peak p99, 7 days": one,
        "Suggested / limit": cell(units.PercentUnit, FULL, "gauge"),
        JOB: [DynamicConfigValue(id_val="displayName", value="Job")],
        POOL: [DynamicConfigValue(id_val="displayName", value="Pool"), to_pool()],
    }
    return [rows(card, (JOB, POOL), columns, overrides)]


BOARD: Final = Board(
    UID,
    "Capacity and sizing",
    "How many connections there are and may be, what the servers grant, and which size each pool needs.",
    ("job", "pool", "server"),
    [("Fleet", fleet()), ("Sizes", sizes()), ("Database servers", servers.panels())],
)
