"""Connections that end: by the server, by the limit of the pool, by their age."""

import gc
from contextlib import ExitStack

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from tests.fixtures.deadlines import until
from tests.fixtures.postgres import PostgresServer, postgres_server
from tests.integration.instrumented import begin, closes, failures, fill, instrumented, take
from tests.integration.load import run_threads
from tests.integration.marks import DROPPED
from tests.integration.reports.replays import replay


@replay("A22")
def test_a22_unlimited_overflow(postgres: PostgresServer) -> None:
    """A pool without a limit has no `max`, and its connections are the server's before and after."""
    with instrumented(postgres, pool_size=2, max_overflow=-1) as pool:
        with ExitStack() as stack:
            for _ in range(5):
                take(stack, pool.engine)
            pool.agree()
            assert (5, None) == (pool.now().used, pool.now().max)

        pool.agree()
        assert (2, {"overflow": 3}) == (pool.now().idle, closes(pool.now()))


@replay("A24")
def test_a24_null_pool_at_the_servers_limit() -> None:
    """Used is how many backends the server allowed; each other caller is a failure of the type connect."""
    with postgres_server(max_connections=20) as server, instrumented(server, poolclass=NullPool) as pool:
        refused = 0
        with ExitStack() as stack:
            for _ in range(25):
                try:
                    take(stack, pool.engine)
                except OperationalError:
                    refused += 1

            pool.agree()
            assert (pool.backends.open(), {"connect": refused}) == (pool.now().used, failures(pool.now()))
            assert 25 == pool.now().used + refused > pool.now().used

        pool.agree()
        assert (0, 0) == (pool.now().used, pool.now().idle)


@replay("A28")
def test_a28_server_ends_a_held_connection(postgres: PostgresServer) -> None:
    """A held and an idle connection that the server ends are closed at their next use, each with its reason."""
    with instrumented(postgres, pool_size=2, pool_pre_ping=True, pool_recycle=3600) as pool:
        fill(pool.engine, 2)
        connection = pool.engine.connect()
        pool.backends.kill_all()
        with pytest.raises(DBAPIError):
            begin(connection)
        connection.close()
        pool.engine.connect().close()

        pool.agree()
        assert (0, 1) == (pool.now().used, pool.now().idle)
        assert {"invalidate": 1, "pool_invalidate": 1} == closes(pool.now())


@replay("A29")
def test_a29_server_crashes_under_pre_ping() -> None:
    """Three idle connections die with the server, five callers are refused, and then one is open."""
    with postgres_server() as server, instrumented(server, pool_size=3, pool_pre_ping=True) as pool:
        fill(pool.engine, 3)
        server.stop("immediate")
        for _ in range(5):
            with pytest.raises(OperationalError):
                pool.engine.connect()
        server.start()
        pool.engine.connect().close()

        pool.agree()
        assert (0, 1, {"connect": 5}) == (pool.now().used, pool.now().idle, failures(pool.now()))
        assert 3 == sum(closes(pool.now()).values())


@replay("A30")
@DROPPED
def test_a30_static_pool(postgres: PostgresServer) -> None:
    """Each of 120 checkouts of the one connection is counted, and one connection is open."""
    with instrumented(postgres, poolclass=StaticPool) as pool:

        def work(_: int) -> None:
            for _ in range(20):
                pool.engine.raw_connection().close()

        run_threads(work, 6)

        # Threads that come first at once open a connection each; SQLAlchemy keeps one and drops the others.
        gc.collect()
        pool.agree()
        assert (120, 1, 0) == (pool.now().checkouts, pool.now().idle, pool.now().used)


@replay("A31")
def test_a31_creator_that_shares_one_connection(postgres: PostgresServer) -> None:
    """Two checkouts of one shared connection are two used, as SQLAlchemy's pool counts; the server has one."""
    url = postgres.url("psycopg").set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(), application_name="shared") as shared:
        sql = "select count(*) from pg_stat_activity where application_name = 'shared'"
        with instrumented(postgres, creator=lambda: shared) as pool, ExitStack() as stack:
            take(stack, pool.engine)
            take(stack, pool.engine)

            assert isinstance(pool.engine.pool, QueuePool)
            assert 2 == pool.now().used == pool.engine.pool.checkedout()
            assert [(1,)] == postgres.admin(sql)


@replay("A37")
def test_a37_lifo_recycle_and_pre_ping(postgres: PostgresServer) -> None:
    """The connections beyond the pool's size are closed, and one that is too old when it is checked out again."""
    options = {"pool_use_lifo": True, "pool_recycle": 1, "pool_pre_ping": True}
    with instrumented(postgres, pool_size=1, max_overflow=2, **options) as pool:
        fill(pool.engine, 3)
        pool.agree()
        assert {"overflow": 2} == closes(pool.now())

        (before,) = pool.backends.pids()

        def renewed() -> bool:
            pool.engine.connect().close()
            return pool.backends.pids() != [before]

        until(True, renewed)

        pool.agree()
        assert {"overflow": 2, "recycle": 1} == closes(pool.now())
