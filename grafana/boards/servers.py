"""Panels on database servers, from a probe: how full they are, by application, state and age of transactions."""

from typing import Final

from grafana_foundation_sdk.models import units

from grafana import queries
from grafana.board import BY_SERVER
from grafana.paint import FULL, NONE_IS_WELL, ORANGE, RED, YELLOW, Steps, limit_line
from grafana.panels import Card, Line, Panel, bars, graph
from grafana.promql import ADDRESS, POOL, PORT, SERVER, by
from pool_exporter.metrics.server_metrics import BACKEND_STATES, HELD_STATES

SERVER_LEGEND: Final = f"{{{{{ADDRESS}}}}}:{{{{{PORT}}}}}"

OVERCOMMITTED: Final[Steps] = {0.8: YELLOW, 0.9: ORANGE, 1: RED}
PROBE: Final = "Needs a probe: `pool-exporter serve --database-url …`."


def panels() -> list[Panel]:
    """Return the panels of the row."""
    return [
        _fullness(),
        _overcommit(),
        _against_limit(),
        _by_application(),
        _by_state(),
        _transactions(),
        _held(),
        _faults(),
    ]


def _fullness() -> Panel:
    card = Card(
        "Full",
        f"Connections of all clients, as a share of what the server grants. {PROBE}",
        "below 80 %.",
        "at 100 % the server refuses connections: see the runbook of SQLAlchemyServerNearlyFull.",
        units.PercentUnit,
        FULL,
        width=6,
        top=1,
    )
    full = f"{queries.server_connections(BY_SERVER, SERVER)} / {queries.server_limit(BY_SERVER, SERVER)}"
    return bars(card, Line(full, SERVER_LEGEND))


def _overcommit() -> Panel:
    card = Card(
        "Overcommitted",
        f"What all pools together may open, as a share of what the server grants. {PROBE}",
        "below 100 %: then these pools cannot fill the server.",
        "above 100 % they can: lower max_overflow, or use a pooler.",
        units.PercentUnit,
        OVERCOMMITTED,
        width=6,
        top=1,
    )
    possible = queries.limit(BY_SERVER, SERVER)
    return bars(card, Line(f"{possible} / {queries.server_limit(BY_SERVER, SERVER)}", SERVER_LEGEND))


def _against_limit() -> Panel:
    card = Card(
        "Connections against the limit",
        f"Connections of all clients of each server, what the pools may open, and what the server grants. {PROBE}",
        "open far below granted, and possible below granted.",
        "the panels By application and By state show what has grown.",
        width=12,
    )
    return graph(
        card,
        Line(queries.server_connections(BY_SERVER, SERVER), f"open {SERVER_LEGEND}"),
        Line(queries.limit(BY_SERVER, SERVER), f"possible {SERVER_LEGEND}"),
        Line(queries.server_limit(BY_SERVER, SERVER), f"granted {SERVER_LEGEND}"),
        overrides={"/^granted/": limit_line()},
    )


def _by_application() -> Panel:
    card = Card(
        "By application",
        f"Connections of each server's clients, by the application_name that they send. {PROBE}",
        "in proportion to the number of instances.",
        "an unknown name: set application_name in every service's URL.",
        width=8,
    )
    label = "application_name"
    named = queries.server_connections(BY_SERVER, label)
    expression = f'label_replace({named}, "{label}", "(none)", "{label}", "")'
    return graph(card, Line(expression, f"{{{{{label}}}}}"), is_stacked=True)


def _by_state() -> Panel:
    state = BACKEND_STATES.prometheus
    card = Card(
        "By state",
        f"Connections of each server by state. {PROBE}",
        "mostly idle and active.",
        "waiting: for a lock. idle_in_transaction: the application does something else while a transaction is open.",
        width=8,
    )
    expression = queries.server_connections(BY_SERVER, state)
    return graph(card, Line(expression, f"{{{{{state}}}}}"), is_stacked=True)


def _transactions() -> Panel:
    card = Card(
        "Oldest transactions",
        f"Age of the oldest transaction, and of the oldest that is idle. {PROBE}",
        "seconds; longer during reports and migrations.",
        "idle for minutes: it keeps locks and dead rows. `pool-exporter dump` names the task or thread.",
        units.Seconds,
        width=8,
    )
    return graph(
        card,
        Line(by(SERVER, BY_SERVER.series("server.oldest_transaction_seconds"), "max"), f"any {SERVER_LEGEND}"),
        Line(by(SERVER, BY_SERVER.series("server.oldest_idle_transaction_seconds"), "max"), f"idle {SERVER_LEGEND}"),
    )


def _held() -> Panel:
    state = HELD_STATES.prometheus
    card = Card(
        "Held and orphaned",
        f"Connections that have been used for 10 s and longer, by what the server does for them; and connections that "
        f"were a pool's and are in no living pool. {PROBE}",
        "none.",
        "active: slow queries. idle_in_transaction: the application keeps them. gone, orphaned: a client was killed.",
        steps=NONE_IS_WELL,
        width=12,
    )
    return graph(
        card,
        Line(by(state, BY_SERVER.series("server.held")), f"{{{{{state}}}}}"),
        Line(f"sum({BY_SERVER.series('server.orphaned')})", "orphaned"),
    )


def _faults() -> Panel:
    card = Card(
        "Faults that pools cannot see",
        "Connections that two processes or checkouts share; connections that are idle in their pool while a "
        f"transaction is open on the server; and idle ones that the server does not have any more. {PROBE}",
        "none.",
        "shared: a process was forked without dispose(). in transaction: the pool does not roll back, or an event loop "
        "has ended. gone: the server or a firewall closed them. See the runbooks of the alerts.",
        steps=NONE_IS_WELL,
        width=12,
    )
    return graph(
        card,
        Line(by(POOL, BY_SERVER.series("server.shared")), f"shared {{{{{POOL}}}}}"),
        Line(by(POOL, BY_SERVER.series("server.idle_in_transaction")), f"in transaction {{{{{POOL}}}}}"),
        Line(by(POOL, BY_SERVER.series("server.gone")), f"gone {{{{{POOL}}}}}"),
    )
