"""A probe of a real MariaDB shows the server's own numbers, with few privileges, and changes nothing."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa

from pool_exporter.errors.database_errors import error_type_of
from pool_exporter.metrics.backend_activity import BackendActivity
from pool_exporter.probe.held_backends import query_servers
from pool_exporter.probe.server_connection import connected_to
from pool_exporter.probe.target import parse_target, parse_targets
from tests.fixtures.deadlines import until
from tests.fixtures.mariadb import MariaDBServer, mariadb_server
from tests.integration.probing import failures, look_again, probing, server, states, until_up
from tests.probe.test_documented_queries import blocks

DRIVERS = pytest.mark.parametrize("driver", ["aiomysql", "asyncmy"])
PASSWORD = "geheim@:/%#"


@pytest.fixture(name="mariadb", scope="module")
def _mariadb() -> Iterator[MariaDBServer]:
    """One MariaDB, with a user who may see all threads, and one without privileges; both have a password."""
    with mariadb_server() as made:
        for name in ("monitor", "low"):
            made.admin(f"create user {name}@127.0.0.1 identified by '{PASSWORD}'")
        made.admin("grant process on *.* to monitor@127.0.0.1")
        made.admin("create table app.t (a int primary key) engine=innodb")
        made.admin("insert into app.t values (1)")
        yield made


def url_of(mariadb: MariaDBServer, user: str, driver: str = "aiomysql", password: str = PASSWORD) -> sa.URL:
    """Return a URL of one of the users."""
    return sa.URL.create(f"mysql+{driver}", user, password, "127.0.0.1", mariadb.port)


@contextmanager
def client(mariadb: MariaDBServer) -> Iterator[pymysql.cursors.Cursor]:
    """Connect as an application does."""
    connection: Any = pymysql.connect(host="127.0.0.1", port=mariadb.port, user="app", database="app")
    with connection:
        yield connection.cursor()


def fill(mariadb: MariaDBServer, stack: ExitStack) -> None:
    """Open connections until the server refuses; they end with *stack*."""
    for _ in range(100):
        try:
            stack.enter_context(client(mariadb))
        except pymysql.OperationalError as error:
            assert 1040 == error.args[0]  # noqa: PT017  # it is the end of the loop
            return
    raise AssertionError("the server is never full")


def probes_threads(mariadb: MariaDBServer) -> int:
    """Return how many connections the probe has."""
    sql = "select count(*) from information_schema.processlist where user in ('monitor', 'low')"
    ((count,),) = mariadb.admin(sql)
    return int(count)


@pytest.mark.parametrize(
    ("user", "shows_sql", "expected"),
    [
        ("monitor", False, ("Lock", True, "UPDATE")),
        ("monitor", True, ("Lock", True, "update t set a = a + 1")),
        ("low", False, None),  # It may not see transactions.
    ],
)
def test_blocker_of_a_held_connection(
    mariadb: MariaDBServer, user: str, shows_sql: bool, expected: tuple[str, bool, str] | None
) -> None:
    """The thread that keeps a row's lock is named; a user without the privilege gets nothing, and nothing fails."""
    url = url_of(mariadb, user).render_as_string(hide_password=False)
    targets = parse_targets([url])

    def activity(pid: int) -> BackendActivity | None:
        time.sleep(0.2)  # InnoDB shows the same as before to a reader that comes back within 0.1 s.
        found = query_servers(targets, {targets[0].identity: {pid}}, 10.0, shows_sql=shows_sql)
        return found.get(targets[0].identity, {}).get(pid)

    with ExitStack() as stack:
        first, second = (stack.enter_context(client(mariadb)) for _ in range(2))
        keeper, waiting = (cursor.connection.thread_id() for cursor in (first, second))
        first.execute("update t set a = a + 1")
        with ThreadPoolExecutor(1) as threads:
            blocked = threads.submit(second.execute, "update t set a = a + 1")
            try:
                until(expected, lambda: _shown(activity(waiting), keeper))
            finally:
                first.connection.rollback()
                blocked.result()


def _shown(found: BackendActivity | None, keeper: int) -> tuple[str, bool, str] | None:
    if found is None:
        return None
    return found.wait_event.partition(":")[0], (keeper,) == found.blockers, found.statement


@DRIVERS
def test_states_are_the_servers(mariadb: MariaDBServer, driver: str) -> None:
    """Each thread is counted under what it does: at rest, at work, in a transaction, waiting for a row."""
    with ExitStack() as stack, ThreadPoolExecutor(2) as threads:
        idle, holder, waiter, worker = (stack.enter_context(client(mariadb)) for _ in range(4))
        idle.execute("select 1")
        holder.execute("update app.t set a = 1 where a = 1")
        waiting = threads.submit(waiter.execute, "update app.t set a = 1 where a = 1")
        working = threads.submit(worker.execute, "select sleep(60)")
        with probing(url_of(mariadb, "monitor", driver)) as probes:
            expected = {"active": 1, "waiting": 1, "idle": 1, "idle_in_transaction": 1}
            until(expected, lambda: states(probes, "app"))
            seen = look_again(probes)

            assert 0 < (seen.oldest_idle_transaction_seconds or 0) <= (seen.oldest_transaction_seconds or 0) < 60
        mariadb.admin(f"kill query {worker.connection.thread_id()}")
        holder.connection.rollback()
        waiting.result()
        with pytest.raises(pymysql.OperationalError, match="interrupted"):
            working.result()


@DRIVERS
def test_without_process_only_the_limit_and_oneself(mariadb: MariaDBServer, driver: str) -> None:
    """A user without any grant sees its own connection and the limit, and is no error."""
    with client(mariadb), probing(url_of(mariadb, "low", driver)) as probes:
        seen = until_up(probes)

        assert 151 == seen.connections_max
        assert [("low", "")] == list(seen.connections)
        assert (None, None) == (seen.oldest_transaction_seconds, seen.oldest_idle_transaction_seconds)
        assert set() == failures(probes)


@DRIVERS
def test_limit_is_how_many_fit(mariadb: MariaDBServer, driver: str) -> None:
    """As many connections fit as the metric shows; a probe that comes late counts why it was refused."""
    mariadb.admin("set global max_connections = 12")
    try:
        with probing(url_of(mariadb, "monitor", driver)) as early, ExitStack() as stack:
            assert 12 == until_up(early).connections_max

            fill(mariadb, stack)
            until(11, lambda: sum(states(early, "app").values()))
            with probing(url_of(mariadb, "monitor", driver)) as late:
                until({"too_many_connections"}, lambda: failures(late))

                assert (0, 1) == (server(late).up, server(early).up)
    finally:
        until(0, lambda: len(mariadb.admin("select 1 from information_schema.processlist where user = 'app'")))
        mariadb.admin("set global max_connections = 151")


def test_grants_of_the_page_are_enough(mariadb: MariaDBServer) -> None:
    """docs/how-to/probe-servers.md: with them, the probe sees what others do."""
    [grants] = [block for block in blocks("sql") if block.startswith("-- mysql")]
    for statement in grants.replace("monitor", "documented").split(";")[:-1]:
        mariadb.admin(statement)
    with client(mariadb), probing(url_of(mariadb, "documented", password="a good password")) as probes:
        until({"idle": 1}, lambda: states(probes, "app"))

        assert 0.0 == server(probes).oldest_transaction_seconds


@DRIVERS
def test_wrong_password(mariadb: MariaDBServer, driver: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted as authentication and logged once, without the password."""
    with probing(url_of(mariadb, "monitor", driver, "falsch@:/%#")) as probes:
        until({"authentication"}, lambda: failures(probes))
        shown = repr(probes.servers()) + caplog.text

    assert 1 == caplog.text.count("(authentication)")
    assert "falsch" not in shown


@DRIVERS
def test_connection_that_was_closed_is_no_failure(mariadb: MariaDBServer, driver: str) -> None:
    """An administrator, or wait_timeout, ends the idle connection: the next query opens another."""
    with probing(url_of(mariadb, "monitor", driver)) as probes:
        until_up(probes)
        ((before,),) = mariadb.admin("select id from information_schema.processlist where user = 'monitor'")
        mariadb.admin(f"kill {before}")
        sql = f"select count(*) from information_schema.processlist where user = 'monitor' and id <> {before}"
        until([(1,)], lambda: mariadb.admin(sql))
        look_again(probes)

        assert (1, set()) == (server(probes).up, failures(probes))
    until(0, lambda: probes_threads(mariadb))


@DRIVERS
def test_server_restarts(driver: str, caplog: pytest.LogCaptureFixture) -> None:
    """While it is down `up` is 0; then the numbers are back, and the log has one line for each change."""
    caplog.set_level(logging.INFO, "pool_exporter")
    with mariadb_server() as mariadb, probing(mariadb.url(driver)) as probes:
        until_up(probes)
        mariadb.stop()
        until({"connect"}, lambda: failures(probes))

        assert (0, None) == (server(probes).up, server(probes).connections_max)

        mariadb.start()
        until(1, lambda: server(probes).up)
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("probe: ")]

    assert ["cannot", "answers"] == [word for line in lines for word in ("cannot", "answers") if word in line]


@DRIVERS
@pytest.mark.asyncio
async def test_connection_is_read_only_and_has_timeouts(mariadb: MariaDBServer, driver: str) -> None:
    """On a poller's connection the server refuses to write, and ends a statement that takes too long."""
    from pool_exporter.probe import mysql

    async with connected_to(parse_target(mariadb.url(driver).render_as_string()), 5.0) as link:
        for sql in mysql.PREPARATION:
            await link.fetch(sql.format(seconds=0.2, milliseconds=200))
        with pytest.raises(sa.exc.DBAPIError, match="READ ONLY transaction"):
            await link.fetch("insert into app.t values (2)")
        with pytest.raises(sa.exc.DBAPIError) as caught:
            await link.fetch("select sum(a.seq * b.seq) from seq_1_to_100000 a, seq_1_to_100000 b")

    assert "timeout" == error_type_of(caught.value)
