"""Alerts on database servers, from probes: how full they are, idle transactions, and connections at fault."""

from typing import Final

from grafana import queries
from grafana.promql import ADDRESS, SERVER, Scope, by, name
from grafana.rules.model import BY_INSTANCE, INSTANCE_TEXT, LOOK, Alert, Group

ALL: Final = Scope()
BOARD: Final = f"/d/sqla-pool-capacity?var-server={{{{ $labels.{ADDRESS} }}}}"
SERVER_TEXT: Final = f"the server {{{{ $labels.{ADDRESS} }}}}"

FULL_MAX: Final = 0.9
IDLE_SECONDS_MAX: Final = 600


def _nearly_full() -> Alert:
    share = f"{queries.server_connections(ALL, SERVER)} / {queries.server_limit(ALL, SERVER)}"
    return Alert(
        "SQLAlchemyServerNearlyFull",
        f"{share} > {FULL_MAX}",
        "5m",
        "critical",
        f"Hardly a connection is left on {SERVER_TEXT}.",
        "{{ $value | humanizePercentage }} of those that it grants are taken.",
        "see By application and By state on the board Capacity and sizing: which application has grown? Is it idle?",
        "scale the largest one down, or end idle connections of a service that tolerates it.",
        dashboard=BOARD,
    )


def _overcommitted() -> Alert:
    return Alert(
        "SQLAlchemyFleetOvercommitsServer",
        f"{queries.limit(ALL, SERVER)} > {queries.server_limit(ALL, SERVER)}",
        "30m",
        "info",
        f"The pools together may open more connections than {SERVER_TEXT} grants.",
        "They may open {{ $value }}.",
        "see Possible connections by pool on the board Capacity and sizing: which pools may open most?",
        "lower max_overflow where the table Sizes shows that it is not used, or use a pooler.",
        dashboard=BOARD,
    )


def _not_seen() -> Alert:
    return Alert(
        "SQLAlchemyServerNotSeen",
        f"{by(SERVER, ALL.series('server.up'), 'max')} == 0",
        "5m",
        "warning",
        f"No probe can query {SERVER_TEXT}.",
        "The queries of every probe have failed for 5 minutes. The metrics of the server are absent meanwhile.",
        f"look at error_type of {name('server.errors')}: connect, timeout, authentication, permission or "
        "too_many_connections.",
        "read the sidecar's log: it has the server's message.",
        dashboard=BOARD,
    )


def _orphans() -> Alert:
    return Alert(
        "SQLAlchemyServerOrphans",
        f"{by(SERVER, ALL.series('server.orphaned'))} > 0",
        "15m",
        "warning",
        f"There are orphaned connections on {SERVER_TEXT}.",
        "{{ $value }} connections were a pool's, and are in no living pool.",
        "look whether processes were killed: PoolExporterWorkersCrashed, out of memory, a lost node.",
        "end these connections on the server; the runbook says how to find them.",
        dashboard=BOARD,
    )


def _idle_transaction() -> Alert:
    return Alert(
        "SQLAlchemyServerTransactionIdle",
        f"{by(SERVER, ALL.series('server.oldest_idle_transaction_seconds'), 'max')} > {IDLE_SECONDS_MAX}",
        "5m",
        "warning",
        f"A transaction is open and idle on {SERVER_TEXT}.",
        "It began {{ $value | humanizeDuration }} ago.",
        "select pid, application_name, xact_start from pg_stat_activity where state like 'idle in transaction%' order "
        "by xact_start.",
        f"{LOOK}: the holder with that server pid, its line, and its unit of work.",
        dashboard=BOARD,
    )


def _shared() -> Alert:
    return Alert(
        "SQLAlchemyPoolConnectionsShared",
        f"{by(f'{BY_INSTANCE}, {SERVER}', ALL.series('server.shared'))} > 0",
        "1m",
        "critical",
        f"Two processes or checkouts use the same connection: {INSTANCE_TEXT}.",
        'Shared connections: {{ $value | printf "%.0f" }}. A statement may get the answer to that of another process.',
        "restart all processes of the service, the parent process too.",
        "call engine.dispose(close=False) in each forked child before it uses the engine.",
        dashboard=BOARD,
    )


def _idle_in_transaction() -> Alert:
    return Alert(
        "SQLAlchemyPoolIdleInTransaction",
        f"{by(f'{BY_INSTANCE}, {SERVER}', ALL.series('server.idle_in_transaction'))} > 0",
        "5m",
        "warning",
        f"Connections are idle in the pool with an open transaction: {INSTANCE_TEXT}.",
        'Such connections: {{ $value | printf "%.0f" }}. They keep their locks until they are used or closed.',
        f"look at the label reset_on_return of {name('info')}: with none, the pool does not roll back.",
        "look whether an AsyncEngine is used in more than one event loop; restart the instance to end them now.",
        dashboard=BOARD,
    )


def _gone() -> Alert:
    pinged = ALL.series("info", 'pre_ping="true"')
    return Alert(
        "SQLAlchemyPoolConnectionsGone",
        f"{by(f'{BY_INSTANCE}, {SERVER}', ALL.series('server.gone'))} > 0\nunless on ({BY_INSTANCE}) {pinged}",
        "10m",
        "warning",
        f"The pool keeps connections that the server has closed: {INSTANCE_TEXT}.",
        'Such connections: {{ $value | printf "%.0f" }}. The next use of each fails.',
        "look whether the server restarted, or ends idle connections: idle_session_timeout, wait_timeout, a firewall.",
        "set pool_pre_ping=True.",
        dashboard=BOARD,
    )


GROUPS: Final = (
    Group(
        "sqlalchemy-servers",
        (
            _nearly_full(),
            _overcommitted(),
            _not_seen(),
            _orphans(),
            _idle_transaction(),
            _shared(),
            _idle_in_transaction(),
            _gone(),
        ),
    ),
)
