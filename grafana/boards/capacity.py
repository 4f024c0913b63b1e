"""The board of capacity: how many connections there are and may be, what each pool needs, and which size suffices.

The panels of servers.py show what a server grants, and shares.py how much of it each pool should have.
"""

from typing import Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana import queries
from grafana.board import BY_POOL, Board
from grafana.boards import servers, shares
from grafana.boards.fleet import LEGEND, to_pool
from grafana.boards.fleet_now import EACH
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
    """Return the size that suffices for each instance: the demand, and a reserve (square-root staffing)."""
    return f"clamp_min(ceil({demand()} + 2 * sqrt({demand()})), 2)"


def fleet() -> list[Panel]:
    """Return the panels on open and on possible connections."""
    return [
        graph(
            Card(
                "Open connections by server",
                "Open connections of all selected pools, by database server.",
                "follows the traffic; it includes the idle connections of each pool.",
                "if it comes near to what the server grants, see Possible connections by server.",
                width=12,
            ),
            Line(by(SERVER, BY_POOL.series("count")), SERVER_LEGEND),
        ),
        graph(
            Card(
                "Possible connections by server",
                "How many connections the selected pools may open: the sum of their limits over all instances.",
                "below what the server grants, also while a rollout runs and there are more instances.",
                "lower max_overflow, or use a pooler: when all pools are busy at once, the server refuses connections.",
                width=12,
            ),
            Line(by(SERVER, BY_POOL.series("max")), SERVER_LEGEND),
        ),
        graph(
            Card(
                "Possible connections by pool",
                "How many connections each pool may open, over all of its instances.",
                "in proportion to the traffic.",
                "begin with the largest: the table Sizes shows whether it needs what it may open.",
                width=12,
            ),
            Line(queries.limit(BY_POOL, EACH), LEGEND),
            is_stacked=True,
        ),
        graph(
            Card(
                "Needed connections by pool",
                "Exact mean number of used connections: what the callers need at this moment.",
                "well below what is possible; the difference is a reserve for bursts.",
                "for a pool that needs a tenth of what it may open, the server keeps the rest free: lower the limit.",
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
        "For each pool: what an instance needed at most in the last 7 days, as a mean of five minutes and at its "
        "peaks; the size that suffices for one instance; and its configuration. With a sidecar, an instance is "
        "all of its workers together. Needs the recording rules.",
        "the suggestion is between size and limit.",
        "above the limit: raise it, if the server has room. Far below the size: lower it, idle ones cost memory.",
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
    "How many connections are open and may be opened, what the servers grant, and which size each pool needs.",
    ("job", "pool", "server"),
    [
        ("Fleet", fleet()),
        ("Sizes", sizes()),
        ("Shares", shares.panels()),
        ("Database servers", servers.panels()),
    ],
)
