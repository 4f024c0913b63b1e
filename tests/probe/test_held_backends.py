"""What a server says of held connections: rows of each server become values, with the waits and what blocks them."""

import asyncio
from collections.abc import Sequence

import pytest

from pool_exporter.metrics.backend_activity import BackendActivity
from pool_exporter.metrics.server_snapshot import ServerIdentity
from pool_exporter.probe.held_backends import query_mysql, query_postgres, query_servers
from pool_exporter.probe.server_connection import Row, ServerConnection
from pool_exporter.probe.target import parse_targets


class Server:
    """A connection that returns these rows, one list after another, and keeps the statements."""

    def __init__(self, *answers: list[Row] | Exception) -> None:
        self.statements: list[str] = []
        self._answers = iter(answers)
        self.connection = ServerConnection(5.0, self._execute, lambda: None)

    async def _execute(self, sql: str) -> list[Row]:
        self.statements.append(sql)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def postgres_row(**values: object) -> Row:
    """Return a row of PostgreSQL."""
    blank = {"state": "active", "wait_type": "", "wait_event": "", "application": "shop", "seconds": 1.5}
    return {"pid": 7, **blank, "statement": "UPDATE", "blockers": "", **values}


def of_postgres(*rows: Row, pids: Sequence[int] = (7,), shows_sql: bool = False) -> tuple[list[BackendActivity], str]:
    """Return what rows of PostgreSQL become, and the statement."""
    server = Server(list(rows))
    found = asyncio.run(query_postgres(server.connection, pids, shows_sql=shows_sql))
    return found, server.statements[0]


def test_postgres_blocked() -> None:
    """A backend that waits for a lock has the pids of those that keep it, each once."""
    row = postgres_row(wait_type="Lock", wait_event="transactionid", blockers="{9,12,9}")

    assert [BackendActivity(7, "active", 1.5, "Lock: transactionid", (9, 12), "shop", "UPDATE")] == of_postgres(row)[0]


@pytest.mark.parametrize(
    ("wait_type", "event"), [("Client", ""), ("Activity", ""), ("", ""), ("IO", "IO: DataFileRead")]
)
def test_postgres_waits(wait_type: str, event: str) -> None:
    """A backend that waits for its client waits for nothing of the server."""
    [found] = of_postgres(postgres_row(wait_type=wait_type, wait_event="DataFileRead"))[0]

    assert event == found.wait_event


def test_postgres_age_is_not_negative() -> None:
    """A clock that was set back is no age."""
    assert 0.0 == of_postgres(postgres_row(seconds=-3.0))[0][0].seconds


@pytest.mark.parametrize("shows_sql", [False, True])
def test_postgres_text_stays_at_the_server(shows_sql: bool) -> None:
    """Unless it is allowed, only the first word of a statement leaves the server; else 200 characters."""
    statement = of_postgres(shows_sql=shows_sql, pids=(7, 8))[1]

    assert shows_sql == ("left(activity.query, 200)" in statement)
    assert shows_sql != ("substring(activity.query" in statement)
    assert "in (7, 8)" in statement


def mysql_row(**values: object) -> Row:
    """Return a row of MySQL."""
    blank = {"command": "Query", "wait_event": "", "application": "app", "seconds": 3, "transaction_state": "RUNNING"}
    return {"pid": 7, **blank, "statement": "UPDATE", **values}


def of_mysql(version: str, waits: list[Row] | Exception, *rows: Row) -> tuple[list[BackendActivity], list[str]]:
    """Return what rows of MySQL become, and the statements."""
    server = Server([{"version": version}], waits, list(rows))
    found = asyncio.run(query_mysql(server.connection, [7], shows_sql=False))
    return found, server.statements


@pytest.mark.parametrize(
    ("version", "table"),
    [
        ("8.0.36", "performance_schema.data_lock_waits"),
        ("9.1.0-log", "performance_schema.data_lock_waits"),
        ("5.7.44", "information_schema.innodb_lock_waits"),
        ("10.11.6-MariaDB", "information_schema.innodb_lock_waits"),
    ],
)
def test_mysql_blocked(version: str, table: str) -> None:
    """The waits are where each server has them; the thread that blocks is asked for too."""
    rows = (mysql_row(transaction_state="LOCK WAIT", wait_event="Updating"), mysql_row(pid=9, command="Sleep"))
    found, statements = of_mysql(version, [{"pid": 7, "blocker": 9}, {"pid": 8, "blocker": 5}], *rows)

    assert [("active", "Lock: Updating", (9,)), ("idle in transaction", "", ())] == [
        (each.state, each.wait_event, each.blockers) for each in found
    ]
    assert table in statements[1]
    assert "in (7, 9)" in statements[2]


def test_mysql_without_the_privilege() -> None:
    """The states are shown where the waits cannot be read."""
    found, _ = of_mysql("8.0.36", PermissionError("denied"), mysql_row(command="Sleep", transaction_state=None))

    assert [("idle", ())] == [(each.state, each.blockers) for each in found]


def test_server_that_does_not_answer_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """The report is made without it, with a WARNING that has no password."""
    targets = parse_targets(["postgresql+asyncpg://app:hunter2@127.0.0.1:1/app"])
    found = query_servers(targets, {targets[0].identity: {7}}, 5.0, shows_sql=False)

    assert {} == found
    assert "does not say what the held connections do" in caplog.text
    assert "hunter2" not in caplog.text


def test_nothing_held_is_nothing_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is made for a server at which no connection is held, and none to a PgBouncer."""
    targets = parse_targets(["postgresql+asyncpg://a@127.0.0.1:1/app", "postgresql://a@127.0.0.1:2/pgbouncer"])
    monkeypatch.setattr(asyncio, "run", None)

    assert {} == query_servers(targets, {targets[1].identity: {7}, ServerIdentity("x"): {7}}, 5.0, shows_sql=False)
