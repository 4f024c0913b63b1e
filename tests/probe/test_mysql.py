"""How the answers of MySQL and MariaDB are read, for what a real server does not say on demand."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from pool_exporter.metrics.server_snapshot import ServerStats
from pool_exporter.probe.mysql import query_server
from pool_exporter.probe.server_connection import ServerConnection

Rows = list[dict[str, Any]]


class OperationalError(Exception):
    """As the drivers raise it: a number, then words."""


def thread(command: str, state: str = "", user: str = "app") -> dict[str, Any]:
    """Return a row of the process list."""
    return {"id": 7, "user": user, "db": "shop", "command": command, "state": state, "is_probe": 0}


def seen(threads: Rows, transactions: Rows | Exception) -> ServerStats:
    """Query a server that gives these answers."""
    answers: Mapping[str, Rows | Exception] = {
        "@@global": [{"connections_max": 151}],
        "Uptime": [{"Variable_name": "Uptime", "Value": "600"}],
        "processlist": threads,
        "innodb_trx": transactions,
    }

    async def ask(sql: str) -> Rows:
        answer = next(answer for mark, answer in answers.items() if mark in sql)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return asyncio.run(query_server(ServerConnection(5.0, ask, lambda: None)))


@pytest.mark.parametrize(
    ("command", "state", "transaction", "expected"),
    [
        ("Sleep", "", None, "idle"),
        ("Sleep", "", "RUNNING", "idle_in_transaction"),
        ("Query", "Sending data", None, "active"),
        ("Execute", "Sending data", "RUNNING", "active"),
        ("Query", "Updating", "LOCK WAIT", "waiting"),
        ("Query", "Waiting for table metadata lock", None, "waiting"),
        ("Query", "Waiting for table level lock", "RUNNING", "waiting"),
        ("Query", "Waiting for query cache", None, "active"),
        ("Connect", "login", None, "unknown"),
        ("Killed", "", None, "unknown"),
    ],
)
def test_state_of_a_thread(command: str, state: str, transaction: str | None, expected: str) -> None:
    """Command, state and InnoDB's transaction together say what it does."""
    transactions = [] if transaction is None else [{"id": 7, "state": transaction, "seconds": 2.5}]
    [backend] = seen([thread(command, state)], transactions).backends

    assert expected == backend.state
    assert (None if transaction is None else 2.5) == backend.transaction_seconds


def test_transaction_without_a_thread_is_left_out() -> None:
    """One that was recovered at a start, or has just ended, belongs to no thread."""
    look_ = seen([thread("Sleep")], [{"id": 0, "state": "RUNNING", "seconds": 99}])

    assert [None] == [backend.transaction_seconds for backend in look_.backends]
    assert look_.has_transactions


def test_missing_privilege_is_no_failure() -> None:
    """Without PROCESS there are threads and no transactions."""
    assert not seen([thread("Sleep")], OperationalError(1227, "Access denied")).has_transactions


def test_any_other_error_is_one() -> None:
    """A connection that is lost between two questions is not taken for a missing privilege."""
    with pytest.raises(OperationalError):
        seen([thread("Sleep")], OperationalError(2013, "Lost connection"))
