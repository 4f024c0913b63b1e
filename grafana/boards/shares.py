"""The row of shares: whether the pools fit their servers, which number binds, each pool's share, and what to do.

It shows what `pool-exporter advise` computes, as far as PromQL can: the same load, budget and targets, the same causes
for which a larger pool does not help. The size itself needs Erlang's formula, which PromQL does not have.
"""

from collections.abc import Mapping
from typing import Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana import queries
from grafana.board import BY_SERVER
from grafana.boards.fleet import to_pool
from grafana.boards.fleet_now import EACH
from grafana.paint import GREEN, ORANGE, RED, WAITS, YELLOW, Overrides, Properties, Steps, cell
from grafana.panels import Card, Line, Panel, rows, sorted_by
from grafana.promql import ADDRESS, INSTANCE, JOB, POOL, PORT, SERVER, among, by, increase, quantile
from pool_exporter.metrics.pool_metrics import EXHAUSTION_VERDICTS

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

MARGIN: Final = 0.1
"""The part of a server's connections that stays free."""

LOWER, KEEP, RAISE, MEND = -1, 0, 1, 2
LOAD_BINDS, SERVER_BINDS = 0, 1
_OVER: Final[Steps] = {1: ORANGE}
_BOTH: Final = f"on ({SERVER}) group_left ()"
"""How each pool's value meets the one value of its server."""


def others() -> str:
    """Return how many connections of each server other clients than the pools have."""
    everything = queries.server_connections(BY_SERVER, SERVER)
    pools = by(SERVER, BY_SERVER.series("count"))
    return f"clamp_min({everything} - ({pools} or 0 * {everything}), 0)"


def budget() -> str:
    """Return how many connections the pools of each server may open together."""
    return _whole(f"{1 - MARGIN:g} * clamp_min({queries.server_limit(BY_SERVER, SERVER)} - {others()}, 0)")


def possible() -> str:
    """Return how many connections the pools of each server may open now."""
    return queries.limit(BY_SERVER, SERVER)


def binding() -> str:
    """Return SERVER_BINDS for each server that has fewer connections than its pools may open, else LOAD_BINDS."""
    return f"{possible()} > bool {budget()}"


def load() -> str:
    """Return the offered load of each pool over all of its instances: callers a second times the mean use."""
    arrivals = queries.acquisitions(BY_SERVER, LABELS, WINDOW)
    return f"({arrivals} * {queries.mean_use(BY_SERVER, LABELS, WINDOW)})"


def share() -> str:
    """Return the part of the server's budget that each pool's load earns among all pools of the server."""
    one = f"({budget()} / ({by(SERVER, load())} > 0))"
    return f"{load()} * {_BOTH} {one}"


def instances() -> str:
    """Return in how many instances each pool is."""
    return by(LABELS, by(f"{LABELS}, {INSTANCE}", BY_SERVER.series("max"), "group"), "count")


def room() -> str:
    """Return the largest limit of a pool in each of its instances that is within its share."""
    return _whole(f"{share()} / {instances()}")


def wait() -> str:
    """Return the wait of 99 of 100 callers."""
    return quantile(0.99, BY_SERVER.series("wait_time", part="bucket"), LABELS, WINDOW)


def peak() -> str:
    """Return the most that was used and waited for at once in the week, as a part of the limit of the instance."""
    most = " + ".join(f"max_over_time({BY_SERVER.series(field)}[{WEEK}])" for field in ("used_peak", "pending_peak"))
    return by(LABELS, f"({most}) / {BY_SERVER.series('max')}", "max")


def _whole(expression: str) -> str:
    """Return the expression rounded down, where the product of 0.9 and 20 is 18."""
    return f"floor({expression} + 1e-9)"


def direction() -> str:
    """Return what to do with each pool, by the first rule that holds.

    MEND: a report named a cause that is not the size. LOWER: the server binds, and the pool may open more than its
    share. RAISE: callers wait too long. LOWER: never half of it was used or waited for. Else KEEP.
    """
    other_causes = BY_SERVER.series("exhaustions", among(EXHAUSTION_VERDICTS, *NOT_BY_SIZE))
    mend = f"(0 * ({by(LABELS, increase(other_causes, '$__range'))} > 0) + {MEND})"
    over = f"(0 * ({queries.limit(BY_SERVER, LABELS)} > {share()}) + {LOWER})"
    lower = f"({over} and on ({SERVER}) ({possible()} > {budget()}))"
    return f"{mend} or {lower} or (({wait()} > bool {WAIT_SECONDS}) - ({peak()} <= bool {SHRINK}))"


def panels() -> list[Panel]:
    """Return the row's tables."""
    return [_servers(), _pools()]


def _servers() -> Panel:
    """Return the table of servers: does the fleet fit, and which number binds."""
    card = Card(
        "Does the fleet fit",
        "For each server: how many connections it grants, how many of them other clients have now, and how many are "
        "left for the pools, with a tenth kept free; how many the pools may open over all instances, also as a part "
        "of those left (committed). Room for a rollout: how many more instances fit while it runs, as a part of those "
        "that run now. Needs a probe.",
        "the load binds, and there is room for the instances that a rollout adds.",
        "if the server binds, lower the limits to those of the table below, run fewer instances, or use a pooler. A "
        "pool without a limit is not counted.",
        width=24,
        height=5,
    )
    columns = {
        "A": Line(queries.server_limit(BY_SERVER, SERVER), "Granted"),
        "B": Line(others(), "Others"),
        "C": Line(budget(), "For the pools"),
        "D": Line(possible(), "May open"),
        "E": Line(f"{possible()} / ({budget()} > 0)", "Committed"),
        "F": Line(f"clamp_min({budget()} / ({possible()} > 0) - 1, 0)", "Room for a rollout"),
        "G": Line(binding(), "What binds"),
    }
    overrides: Overrides = {
        "Committed": cell(units.PercentUnit, _OVER, "color-text", decimals=0),
        "Room for a rollout": cell(units.PercentUnit, {}, decimals=0),
        "What binds": _words({LOAD_BINDS: ("the load", GREEN), SERVER_BINDS: ("the server", ORANGE)}),
        ADDRESS: [DynamicConfigValue(id_val="displayName", value="Server")],
        PORT: [DynamicConfigValue(id_val="displayName", value="Port")],
    }
    return rows(card, (ADDRESS, PORT), columns, overrides)


def _pools() -> Panel:
    """Return the table of pools: the share of each, and what to set."""
    card = Card(
        "Shares of the servers",
        "For each pool and server: its offered load, which is how many connections would be used on average if no "
        "caller waited; how many it may open over all instances, and how many its load earns of those that the "
        "server has for the pools; the largest limit in each instance within that share; the wait now; and what to "
        "do. Load, wait and shares are of 5 minutes, the peak of 7 days. Shares need a probe.",
        "there is nothing to do. Above its share a pool may be, as long as the fleet fits.",
        "raise or lower the limit by `pool-exporter advise`, which says the size, and not above the column Limit to "
        "fit. Mend first: reports on the pool in the time range name a cause that would fill a larger pool too; its "
        "board shows which.",
        width=24,
        height=7,
    )
    columns = {
        "A": Line(load(), "Load"),
        "B": Line(instances(), "Instances"),
        "C": Line(queries.limit(BY_SERVER, LABELS), "May open"),
        "D": Line(share(), "Share"),
        "E": Line(f"{queries.limit(BY_SERVER, LABELS)} / ({share()} > 0)", "Of its share"),
        "F": Line(room(), "Limit to fit"),
        "G": Line(wait(), "p99 wait"),
        "H": Line(peak(), "Peak, 7 days"),
        "I": Line(direction(), "What to do"),
    }
    words = {LOWER: ("lower", YELLOW), KEEP: ("keep", GREEN), RAISE: ("raise", ORANGE), MEND: ("mend first", RED)}
    overrides: Overrides = {
        "Load": cell(units.Short, {}, decimals=1),
        "Share": cell(units.Short, {}, decimals=1),
        "Of its share": cell(units.PercentUnit, {}, decimals=0),
        "p99 wait": cell(units.Seconds, WAITS, "color-text"),
        "Peak, 7 days": cell(units.PercentUnit, {}, decimals=0),
        "What to do": _words(words),
        JOB: [DynamicConfigValue(id_val="displayName", value="Job")],
        POOL: [DynamicConfigValue(id_val="displayName", value="Pool"), to_pool()],
        ADDRESS: [DynamicConfigValue(id_val="displayName", value="Server")],
        PORT: [DynamicConfigValue(id_val="displayName", value="Port")],
    }
    return sorted_by(rows(card, (JOB, POOL, ADDRESS, PORT), columns, overrides), "Load")


def _words(words: Mapping[int, tuple[str, str]]) -> Properties:
    """Return the overrides of a column that shows a word in a colour for each value."""
    options = {
        str(value): {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(words.items())
    }
    mappings = [{"type": "value", "options": options}]
    return [*cell(units.Short, {}, "color-text"), DynamicConfigValue(id_val="mappings", value=mappings)]
