"""The demo's settings are read once, one error has all that is wrong with them, and their engine is right."""

import errno
import inspect
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import asyncpg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, Pool, QueuePool, SingletonThreadPool, StaticPool

from pool_exporter.database_url import LIBPQ_ONLY, async_url, parse_url
from pool_exporter.demo.database_settings import ENGINE_FIELDS, SERVER_POOL, DatabaseSettings, engine_arguments
from pool_exporter.errors import SettingsError

SECRET = "Zq9"


def load(**environ: str) -> DatabaseSettings:
    """Read settings from these keys alone."""
    return DatabaseSettings.load(environ, env_file=None)


def refusal(**environ: str) -> SettingsError:
    """Return the error that reading these keys raises."""
    with pytest.raises(SettingsError) as caught:
        load(**environ)
    return caught.value


def keys(error: SettingsError) -> list[str]:
    """Return the keys that an error names, sorted."""
    return sorted(problem.key for problem in error.problems)


@pytest.fixture(name="dotenv")
def _dotenv(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a `.env` of the given text."""

    def write(text: str) -> Path:
        path = tmp_path / ".env"
        path.write_text(text, "utf-8")
        return path

    return write


# What is read.


def test_nothing_set() -> None:
    """In an empty environment everything is unset, and nothing is wrong."""
    assert dict.fromkeys(DatabaseSettings.model_fields) == load().model_dump()
    assert load().url is None


def test_everything_set() -> None:
    """Each key arrives in its field, with its type."""
    settings = load(
        DATABASE_URL="postgresql+asyncpg://u:p@h/d",
        DB_POOL_SIZE="7",
        DB_MAX_OVERFLOW="-1",
        DB_POOL_TIMEOUT="2.5",
        DB_POOL_PRE_PING="off",
        DB_POOL_RECYCLE="-1",
        DB_ECHO="true",
    )

    assert make_url("postgresql+asyncpg://u:p@h/d") == settings.url
    assert [7, -1, 2.5, False, -1, True] == [getattr(settings, name) for name in ENGINE_FIELDS]


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_empty_is_unset(empty: str) -> None:
    """A key that is set to nothing, as Compose files do it, is not set, whatever its type."""
    names = ["DATABASE_URL", "DB_POOL_SIZE", "DB_POOL_TIMEOUT", "DB_POOL_PRE_PING", "DB_ECHO"]

    assert load() == load(**dict.fromkeys(names, empty))


def test_blanks_around_a_value_are_dropped() -> None:
    """The line break at the end of a mounted secret is no part of it."""
    settings = load(DATABASE_URL=" postgresql://u:p@h/d\n", DB_POOL_SIZE=" 5 ")

    assert (make_url("postgresql://u:p@h/d"), 5) == (settings.url, settings.pool_size)


def test_keys_are_case_sensitive_and_other_peoples_are_ignored() -> None:
    """Only the keys as they are written count; what belongs to others is not looked at."""
    assert load() == load(
        db_pool_size="many", DB_POOL="x", DB_HOST="h", PATH="/bin", POOL_SIZE="x", MY_DATABASE_URL="x"
    )


def test_construction_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings made by hand are what is given: neither the environment nor `.env` gets into a test or a demo."""
    monkeypatch.setenv("DB_POOL_SIZE", "many")

    assert (None, 3) == (DatabaseSettings(pool_size=3).max_overflow, DatabaseSettings(pool_size=3).pool_size)


def test_settings_are_frozen() -> None:
    """What was read stays as it was read."""
    with pytest.raises(ValidationError, match="frozen"):
        load().pool_size = 3


# What is refused.


@pytest.mark.parametrize(
    ("key", "bad", "allowed"),
    [
        ("DB_POOL_SIZE", "many", "a whole number from 0 (0: no limit)"),
        ("DB_POOL_SIZE", "-1", "a whole number from 0 (0: no limit)"),
        ("DB_POOL_SIZE", "5.5", "a whole number from 0 (0: no limit)"),
        ("DB_MAX_OVERFLOW", "-2", "a whole number from -1 (-1: no limit)"),
        ("DB_POOL_TIMEOUT", "-0.1", "seconds, at least 0"),
        ("DB_POOL_TIMEOUT", "30s", "seconds, at least 0"),
        ("DB_POOL_TIMEOUT", "nan", "seconds, at least 0"),
        ("DB_POOL_TIMEOUT", "inf", "seconds, at least 0"),
        ("DB_POOL_PRE_PING", "maybe", "true or false (also 1/0, yes/no, on/off)"),
        ("DB_POOL_RECYCLE", "-2", "whole seconds from -1 (-1: never)"),
        ("DB_ECHO", "2", "true or false (also 1/0, yes/no, on/off)"),
        ("DATABASE_URL", "x://h/d", "a dialect and driver that SQLAlchemy has"),
        ("DATABASE_URL", "postgresql+nodriver://h/d", "a dialect and driver that SQLAlchemy has"),
        ("DATABASE_URL", "mysql+mariadb://h/d", "a dialect and driver that SQLAlchemy has"),
        ("DATABASE_URL", "postgresql://h:99999/d", "a database URL such as postgresql+asyncpg://"),
    ],
)
def test_bad_value(key: str, bad: str, allowed: str) -> None:
    """A value that is not allowed is named with its key and with what is."""
    message = str(refusal(**{key: bad}))

    assert message.startswith(f"{key}={bad!r}: must ")
    assert allowed in message
    assert "\n" not in message


@pytest.mark.parametrize("bad", ["postgresql", "postgresql:/h", "postgresql//h", "my-db://h", "postgresql://h:port/d"])
def test_unparsable_url(bad: str) -> None:
    """A database URL that cannot be parsed is one of the problems, and the message has one that can be."""
    assert "must be a database URL such as postgresql+asyncpg://user" in str(refusal(DATABASE_URL=bad))


@pytest.mark.parametrize("bad", ["postgresql://u:p@w@h/d", "mysql://u/u:p@h/d", "mysql://u:p@w?x@h/d"])
def test_at_sign_in_a_wrong_place(bad: str) -> None:
    """A password that is not encoded would end in the host's name, so the message says how it is written."""
    assert "must have @, : and / in the user's name and the password as %40, %3A and %2F" in str(
        refusal(DATABASE_URL=bad)
    )


@pytest.mark.parametrize("good", ["sqlite:////data/a@b.db", "postgresql://u:p%40w@h/d%40", "mysql://u:p/w@h/d?a=b%40c"])
def test_at_sign_in_its_place(good: str) -> None:
    """An @ in a file's path, or encoded, is not taken for one of a password."""
    assert make_url(good) == load(DATABASE_URL=good).url


def test_all_problems_at_once(dotenv: Callable[[str], Path]) -> None:
    """One reading finds everything that is wrong, in the environment and in `.env`."""
    path = dotenv("DB_ECHO=maybe\nnot a setting\n")
    environ = {"DB_POOL_SIZE": "many", "DATABASE_URL": "nonsense", "DB_POOL_TIMEOUT": "-1"}
    with pytest.raises(SettingsError) as caught:
        DatabaseSettings.load(environ, path)

    names = [*environ, "DB_ECHO", f"{path}, line 2"]
    assert sorted(names) == keys(caught.value)
    assert all(name in str(caught.value) for name in names)


# The file.


def test_env_file_is_read(dotenv: Callable[[str], Path]) -> None:
    """Quotes, comments, `export`, blank lines and other people's keys are as in any `.env`."""
    path = dotenv(
        "\n# a comment\nexport DB_POOL_SIZE=5 # five\nDB_ECHO='yes'\nDATABASE_URL=\"sqlite:///a b\"\nOTHER=x\nBARE\n"
    )

    assert DatabaseSettings(pool_size=5, echo=True, database_url=SecretStr("sqlite:///a b")) == DatabaseSettings.load(
        {}, path
    )


def test_env_file_may_begin_with_a_byte_order_mark(dotenv: Callable[[str], Path]) -> None:
    """An editor's invisible mark is no part of the first key."""
    assert 5 == DatabaseSettings.load({}, dotenv("\ufeffDB_POOL_SIZE=5\n")).pool_size


def test_environment_wins_over_env_file(dotenv: Callable[[str], Path]) -> None:
    """Key by key, what is set outside counts; what is empty outside is unset there and the file's counts."""
    path = dotenv("DB_POOL_SIZE=5\nDB_MAX_OVERFLOW=6\nDB_POOL_RECYCLE=7\n")
    settings = DatabaseSettings.load({"DB_POOL_SIZE": "50", "DB_MAX_OVERFLOW": ""}, path)

    assert (50, 6, 7) == (settings.pool_size, settings.max_overflow, settings.pool_recycle)


def test_env_file_refers_to_other_keys(dotenv: Callable[[str], Path]) -> None:
    """`${KEY}` is replaced from the environment given, then from the lines above, and not from the process's own."""
    path = dotenv("HOST=file\nNAME=d\nDATABASE_URL=postgresql://${WHO:-u}:${PATH}@${HOST}/${NAME}\n")
    settings = DatabaseSettings.load({"HOST": "real", "PATH": SECRET}, path)

    assert make_url(f"postgresql://u:{SECRET}@real/d") == settings.url


@pytest.mark.parametrize("env_file", [None, "missing/.env", "directory"])
def test_no_env_file(tmp_path: Path, env_file: str | None) -> None:
    """A file that is not there is fine, and so is a directory of its name, which is a virtual environment."""
    (tmp_path / "directory").mkdir()

    assert DatabaseSettings() == DatabaseSettings.load({}, env_file and tmp_path / env_file)


def test_env_file_of_the_working_directory_by_default(
    dotenv: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a name, `.env` where the program was started is read."""
    monkeypatch.chdir(dotenv("DB_POOL_SIZE=8").parent)

    assert 8 == DatabaseSettings.load({}).pool_size


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"DB_ECHO=1\n\n  \nDB_PASSWORD {SECRET}\n", 4),
        (f"A='{SECRET}\nDB_ECHO=1\n", 1),
        (f'DB_ECHO=1\r\nA="{SECRET}" {SECRET}\r\n', 2),
    ],
)
def test_malformed_env_file(dotenv: Callable[[str], Path], text: str, line: int) -> None:
    """A line that is none is named by its number, and never quoted, since it may be a password."""
    path = dotenv(text)
    with pytest.raises(SettingsError) as caught:
        DatabaseSettings.load({}, path)

    assert f"{path}, line {line}: must be KEY=value or a comment" == str(caught.value)


def test_unreadable_env_file(tmp_path: Path) -> None:
    """A file that is there and cannot be read is an error that says why."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "binary").write_bytes(b"DB_ECHO=\xff")
    messages = []
    for name in ("loop", "binary"):
        with pytest.raises(SettingsError) as caught:
            DatabaseSettings.load({}, tmp_path / name)
        messages.append(str(caught.value))

    expected = [
        f"{tmp_path}/loop: cannot be read: {os.strerror(errno.ELOOP)}",
        f"{tmp_path}/binary: cannot be read: it is not UTF-8 text",
    ]
    assert expected == messages


# The password.

passwords = st.lists(st.sampled_from("@:/?#&=%[] +'\"\\"), max_size=4).map(
    lambda marks: SECRET + SECRET.join(["", *marks, ""])
)


@given(
    password=passwords,
    form=st.sampled_from(
        [
            "postgresql+asyncpg://user:{quoted}@host/name",
            "postgres://user:{raw}@host/name",
            "mysql://host/name?password={quoted}",
            "mysql://user@host/name?passwd={quoted}",
            "postgresql://user:{quoted}@host/name?password={quoted}&password={quoted}",
            "postgresql+psycopg:///name?user=u&password={quoted}",
            "nosuch://user:{raw}@host/name?password={raw}",
            "postgresql+nosuch://user:{raw}@host",
            "postgresql://user:{raw}@host:port/name",
            "postgresql://us/er:{quoted}@host/name",
            "postgresql://[user:{raw}@host",
            "postgresql:/user:{raw}@host",
            "host=host password={raw}",
            "{raw}",
        ]
    ),
)
def test_password_is_nowhere(password: str, form: str) -> None:
    """No piece of it is in any text of the settings, of their URL, of the engine's arguments or of the error."""
    text = form.format(raw=password, quoted=quote(password, safe=""))
    try:
        settings = load(DATABASE_URL=text, DB_POOL_SIZE="5")
        url = settings.url
        arguments = engine_arguments(settings)
        texts = [repr(settings), str(settings), repr(url), str(url), str(arguments), settings.model_dump_json()]
        texts += [repr(settings.model_dump()), str(async_url(text)), repr(pickle.loads(pickle.dumps(settings)))]  # noqa: S301  # of the line itself
    except SettingsError as error:
        texts = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
        texts += [repr(error.__cause__), repr(error.__context__)]

    assert [] == [shown for shown in texts if SECRET in shown]


@given(password=passwords)
def test_password_arrives(password: str) -> None:
    """It is masked and not lost: the driver gets it, from wherever in the URL."""
    quoted = quote(password, safe="")
    for text in (f"mysql+pymysql://u:{quoted}@h/d", f"postgresql+psycopg://h/d?user=u&password={quote_plus(password)}"):
        url = load(DATABASE_URL=text).url
        assert url is not None
        parameters = url.get_dialect()().create_connect_args(url)[1]

        assert ("u", password) == (parameters["user"], parameters["password"])


def test_construction_shows_no_password() -> None:
    """DatabaseSettings made by hand with a bad URL fail without quoting it."""
    with pytest.raises(ValidationError) as caught:
        DatabaseSettings(database_url=f"nosuch://u:{SECRET}@h/d")  # type: ignore[arg-type]  # pydantic takes it.

    assert SECRET not in f"{caught.value}{caught.value!r}"


# The URL for an async engine.


@pytest.mark.parametrize(
    ("given_url", "expected"),
    [
        ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("mysql://u:p@h/d", "mysql+aiomysql://u:p@h/d"),
        ("mariadb://u:p@h/d", "mariadb+aiomysql://u:p@h/d"),
        ("sqlite:///app.db", "sqlite+aiosqlite:///app.db"),
        ("sqlite://", "sqlite+aiosqlite://"),
        ("postgresql+asyncpg://h/d", "postgresql+asyncpg://h/d"),
        ("postgres+asyncpg://h/d", "postgresql+asyncpg://h/d"),
        ("postgresql+psycopg://h/d?sslmode=require", "postgresql+psycopg://h/d?sslmode=require"),
        ("postgresql+psycopg_async://h/d", "postgresql+psycopg_async://h/d"),
        ("mysql+asyncmy://h/d", "mysql+asyncmy://h/d"),
        ("postgres://h/d?sslmode=require&application_name=x", "postgresql+asyncpg://h/d?ssl=require"),
        (
            "postgresql+asyncpg://h/d?plugin=a&plugin=b&sslmode=prefer",
            "postgresql+asyncpg://h/d?plugin=a&plugin=b&ssl=prefer",
        ),
    ],
)
def test_async_url(given_url: str, expected: str) -> None:
    """A plain URL gets the async driver, an explicit async driver stays, and asyncpg gets its own word for sslmode."""
    assert make_url(expected) == async_url(given_url)
    assert make_url(expected) == async_url(make_url(given_url))
    assert make_url(expected) == async_url(async_url(given_url))


@pytest.mark.parametrize(
    ("sync", "use"),
    [
        ("postgresql+psycopg2", "postgresql+asyncpg"),
        ("mysql+pymysql", "mysql+aiomysql"),
        ("mariadb+mysqldb", "mariadb+aiomysql"),
        ("sqlite+pysqlite", "sqlite+aiosqlite"),
        ("mssql+pymssql", "postgresql+asyncpg, mysql+aiomysql"),
    ],
)
def test_async_url_of_a_sync_driver(sync: str, use: str) -> None:
    """A driver that was chosen and has no async form is refused, with what to use instead."""
    with pytest.raises(SettingsError) as caught:
        async_url(f"{sync}://u:{SECRET}@h/d")

    assert f"DATABASE_URL='{sync}://u:***@h/d': must have an async driver, such as {use}" in str(caught.value)


@pytest.mark.parametrize("name", sorted(LIBPQ_ONLY))
def test_async_url_with_what_asyncpg_has_not(name: str) -> None:
    """What asyncpg would fail on at the first connection is named here; psycopg takes it."""
    with pytest.raises(SettingsError, match=f"asyncpg has no {name}: leave it out, or use postgresql[+]psycopg"):
        async_url(f"postgres://h/d?{name}=x")

    assert {name: "x"} == async_url(f"postgresql+psycopg://h/d?{name}=x").query


def test_asyncpg_has_none_of_libpq_only() -> None:
    """The list is right about the asyncpg that is installed."""
    assert set() == {*LIBPQ_ONLY, "sslmode", "application_name"} & {*inspect.signature(asyncpg.connect).parameters}


@pytest.mark.parametrize("bad", ["nonsense", "postgresql://h:port/d"])
def test_async_url_of_nonsense(bad: str) -> None:
    """What cannot be parsed is the same error as in the settings."""
    with pytest.raises(SettingsError, match="must be a database URL"):
        async_url(bad)


# The engine.


async def async_pool(url: str | URL, settings: DatabaseSettings) -> Pool:
    """Return the pool of an async engine as a service makes it."""
    engine = create_async_engine(async_url(url), **engine_arguments(settings, async_url(url)))
    await engine.dispose()
    return engine.pool


def sync_pool(url: str | URL, settings: DatabaseSettings) -> Pool:
    """Return the pool of a sync engine as a service makes it."""
    engine = sa.create_engine(parse_url(url), **engine_arguments(settings, parse_url(url)))
    engine.dispose()
    return engine.pool


@pytest.mark.asyncio
@pytest.mark.parametrize("url", ["postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"])
async def test_server_pool_of_an_async_engine(url: str) -> None:
    """A server's pool is a queue, pinged and recycled, whichever kind of driver psycopg is taken for."""
    pool = await async_pool(url, load(DATABASE_URL=url))

    assert isinstance(pool, AsyncAdaptedQueuePool)
    assert (5, 10, 30.0) == (pool.size(), pool._max_overflow, pool.timeout())
    assert (True, 1800) == (pool._pre_ping, pool._recycle)


def test_server_pool_of_a_sync_engine() -> None:
    """The same for a sync engine, with the pool for threads."""
    pool = sync_pool("postgresql+psycopg://u:p@h/d", load())

    assert QueuePool is type(pool)
    assert (True, 1800) == (pool._pre_ping, pool._recycle)


@pytest.mark.parametrize(
    "url", ["mysql+aiomysql://h/d", "mariadb+aiomysql://h/d", "mysql+pymysql://h/d", "mssql+aioodbc://h/d"]
)
def test_other_servers_have_the_same_pool(url: str) -> None:
    """Every server is pinged and recycled, long before MySQL closes an idle connection, and none is named."""
    assert SERVER_POOL == engine_arguments(load(DATABASE_URL=url))


def test_server_sizes_are_sqlalchemys_own() -> None:
    """What is called SQLAlchemy's default is its default."""
    engine = sa.create_engine("postgresql+psycopg://h/d")
    assert isinstance(engine.pool, QueuePool)

    assert (5, 10, 30.0) == (engine.pool.size(), engine.pool._max_overflow, engine.pool.timeout())


@pytest.mark.asyncio
@pytest.mark.parametrize("url", ["postgresql+asyncpg://h/d", "sqlite+aiosqlite:///app.db"])
async def test_explicit_settings_win(url: str) -> None:
    """What is set is what the pool has, on a server and on a file."""
    settings = load(
        DB_POOL_SIZE="2",
        DB_MAX_OVERFLOW="0",
        DB_POOL_TIMEOUT="0.5",
        DB_POOL_PRE_PING="0",
        DB_POOL_RECYCLE="-1",
        DB_ECHO="0",
    )
    pool = await async_pool(url, settings)

    assert isinstance(pool, AsyncAdaptedQueuePool)
    assert (2, 0, 0.5, False, -1) == (pool.size(), pool._max_overflow, pool.timeout(), pool._pre_ping, pool._recycle)
    assert engine_arguments(settings, make_url(url))["echo"] is False


def test_file_is_left_to_sqlalchemy() -> None:
    """For a SQLite file there are no defaults: no server can end the connections."""
    assert {} == engine_arguments(load(DATABASE_URL="sqlite+aiosqlite:///app.db"))
    assert {"echo": True} == engine_arguments(load(DATABASE_URL="sqlite:///app.db", DB_ECHO="1"))


@pytest.mark.parametrize("setting", ["DB_POOL_SIZE", "DB_MAX_OVERFLOW", "DB_POOL_TIMEOUT"])
@pytest.mark.parametrize(("dialect", "pool"), [("sqlite", QueuePool), ("sqlite+aiosqlite", AsyncAdaptedQueuePool)])
def test_sized_file_has_a_queue(dialect: str, pool: type[Pool], setting: str) -> None:
    """A size for a SQLite file means a pool with a size, also with a SQLAlchemy of another default."""
    assert pool is engine_arguments(load(DATABASE_URL=f"{dialect}:///app.db", **{setting: "3"}))["poolclass"]


MEMORY = ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&cache=shared&uri=true"]


@pytest.mark.asyncio
@pytest.mark.parametrize("url", MEMORY)
async def test_memory_is_one_connection(url: str) -> None:
    """A database in memory keeps its one connection, without a deprecation warning, and what is no size can be set."""
    settings = load(DB_POOL_PRE_PING="1", DB_ECHO="0")
    pool = await async_pool(url, settings)

    assert StaticPool is type(pool)
    assert pool._pre_ping
    assert SingletonThreadPool is type(sync_pool(url, settings))


@pytest.mark.parametrize("url", [*MEMORY, "sqlite+aiosqlite://"])
def test_memory_has_no_size(url: str) -> None:
    """A size, and a recycling that would empty it, cannot be had for a database in memory; all are named at once."""
    settings = load(DATABASE_URL=url, DB_POOL_SIZE="5", DB_MAX_OVERFLOW="0", DB_POOL_TIMEOUT="1", DB_POOL_RECYCLE="60")
    with pytest.raises(SettingsError) as caught:
        engine_arguments(settings)

    assert ["DB_MAX_OVERFLOW", "DB_POOL_RECYCLE", "DB_POOL_SIZE", "DB_POOL_TIMEOUT"] == keys(caught.value)
    assert "DB_POOL_SIZE='5': cannot be set: the database is in memory" in str(caught.value)


def test_recycling_would_empty_memory() -> None:
    """The reason for the refusal above: a recycled connection takes the tables with it."""
    engine = sa.create_engine("sqlite://", poolclass=StaticPool, pool_recycle=0)
    with engine.begin() as connection:
        connection.execute(sa.text("create table t (a int)"))

    with engine.connect() as connection:
        assert [] == sa.inspect(connection).get_table_names()
    engine.dispose()


class UnpooledDialect(SQLiteDialect_pysqlite):
    """A third party's dialect that keeps no connection."""

    name = "unpooled"

    @classmethod
    def get_pool_class(cls, url: URL) -> type[Pool]:
        """Choose no pool."""
        return NullPool


def test_unpooled_dialect_has_no_size() -> None:
    """Where the dialect's pool is none, a size is refused with the pool's name, and the rest is passed on."""
    registry.register("unpooled", __name__, "UnpooledDialect")
    with pytest.raises(SettingsError, match="DB_POOL_SIZE='5': cannot be set: the pool of unpooled is a NullPool"):
        engine_arguments(load(DATABASE_URL="unpooled://h/d", DB_POOL_SIZE="5"))

    assert {"echo": True} == engine_arguments(load(DATABASE_URL="unpooled://h/d", DB_ECHO="1"))


def test_dialect_that_cannot_be_imported() -> None:
    """A dialect that is registered and broken is a problem of the URL, with what is missing."""
    registry.register("broken", "no_such_module", "Dialect")

    assert "its dialect cannot be imported: No module named 'no_such_module'" in str(
        refusal(DATABASE_URL="broken://h/d")
    )


def test_no_url_no_engine() -> None:
    """Without a URL there is nothing to make an engine of, and the message says what to set."""
    with pytest.raises(SettingsError, match=r"^DATABASE_URL: must be a database URL such as"):
        engine_arguments(load())


# The name that PostgreSQL shows.


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg://h/d", {"application_name": "pool_exporter_demo"}),
        ("postgresql+asyncpg://h/d", {"server_settings": {"application_name": "pool_exporter_demo"}}),
        ("postgresql+psycopg://h/d?application_name=own", None),
    ],
)
def test_application_name(url: str, expected: dict[str, object] | None) -> None:
    """The demo's name goes where the driver takes it, and not over one in the URL."""
    assert expected == engine_arguments(load(DATABASE_URL=url)).get("connect_args")
