"""`check` against set-ups as documentation has them: no error in those that are right, the right one in wrong ones.

Each right one is written after a section of SQLAlchemy's, SQLModel's or FastAPI's documentation, which is named. A
warning is no error: a tutorial has `echo=True`, and a service should not.
"""

from collections.abc import Callable
from typing import NamedTuple
from uuid import uuid4

import pytest
from sqlalchemy import URL, Engine, NullPool, QueuePool, StaticPool, create_engine, engine_from_config, event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import AssertionPool, SingletonThreadPool
from sqlmodel import Session as SQLModelSession
from sqlmodel import create_engine as sqlmodel_engine
from sqlmodel.ext.asyncio.session import AsyncSession as SQLModelAsyncSession

import pool_exporter
from pool_exporter.advice.checks.facts import ServerFacts
from pool_exporter.advice.checks.finding import Finding
from pool_exporter.runtime.checking.check import SessionFactory

TIGER = "scott:tiger@localhost"
REMOTE = "scott:tiger@db.internal"
BOUNCER = ServerFacts(100, {"max_prepared_statements": 0}, is_bouncer=True, pool_mode="transaction")
ANY_THREAD = {"check_same_thread": False}


class Setup(NamedTuple):
    """An engine with what else its application has."""

    engine: Engine | AsyncEngine
    sessionmaker: object = None
    processes: int = 1
    server: ServerFacts | None = None


def found(setup: Setup) -> tuple[Finding, ...]:
    """Return what is found in a set-up."""
    maker: SessionFactory = setup.sessionmaker  # type: ignore[assignment]  # a sessionmaker of any kind
    return pool_exporter.check(setup.engine, sessionmaker=maker, processes=setup.processes, server=setup.server)


def bounced_asyncpg(*, has_names: bool = True) -> Setup:
    """Behind PgBouncer asyncpg has: no pool of its own, no cache of statements, unique names."""
    names = {"prepared_statement_name_func": lambda: f"__asyncpg_{uuid4()}__"} if has_names else {}
    arguments = {"statement_cache_size": 0, **names}
    url = "postgresql+asyncpg://user:pass@somepgbouncer:6432/dbname"
    return Setup(create_async_engine(url, poolclass=NullPool, connect_args=arguments), server=BOUNCER)


def custom_reset() -> Setup:
    """The pool's own reset is off, because a listener does it."""
    engine = create_engine(f"postgresql+psycopg://{REMOTE}/test", pool_reset_on_return=None)

    @event.listens_for(engine, "reset")
    def reset(connection: object, record: object, state: object) -> None:
        connection.rollback()  # type: ignore[attr-defined]  # a DBAPI connection

    return Setup(engine)


def asynchronous_sessions() -> Setup:
    """Objects that stay loaded after a commit."""
    engine = create_async_engine(f"postgresql+asyncpg://{TIGER}/test", echo=True)
    return Setup(engine, async_sessionmaker(engine, expire_on_commit=False))


def synchronous_sessions() -> Setup:
    """A sessionmaker with its defaults, which are right for synchronous sessions."""
    engine = create_engine(f"postgresql+psycopg2://{TIGER}/")
    return Setup(engine, sessionmaker(engine))


def from_config() -> Setup:
    """An engine from a dictionary of texts, as of an .ini file."""
    config = {
        "sqlalchemy.url": f"postgresql+psycopg://{TIGER}/test",
        "sqlalchemy.pool_size": "20",
        "sqlalchemy.max_overflow": "0",
    }
    return Setup(engine_from_config(config))


RIGHT: dict[str, Callable[[], Setup]] = {
    "Tutorial, Establishing Connectivity": lambda: Setup(create_engine("sqlite+pysqlite:///:memory:", echo=True)),
    "Engine Configuration, PostgreSQL": lambda: Setup(create_engine(f"postgresql+psycopg2://{TIGER}:5432/mydatabase")),
    "Engine Configuration, psycopg": lambda: Setup(create_engine(f"postgresql+psycopg://{TIGER}/mydatabase")),
    "Engine Configuration, MySQL": lambda: Setup(create_engine(f"mysql+pymysql://{TIGER}/foo")),
    "Engine Configuration, SQLite file": lambda: Setup(create_engine("sqlite:///foo.db")),
    "Engine Configuration, SQLite memory": lambda: Setup(create_engine("sqlite://")),
    "Engine Configuration, URL.create": lambda: Setup(
        create_engine(URL.create("postgresql+psycopg", "dbuser", "kx@jj5/g", "pghost10", database="appdb"))
    ),
    "Engine Configuration, engine_from_config": from_config,
    "Connection Pooling, sizes": lambda: Setup(
        create_engine("postgresql+psycopg2://me@localhost/mydb", pool_size=20, max_overflow=0)
    ),
    "Connection Pooling, pre-ping": lambda: Setup(create_engine("mysql+pymysql://user:pw@host/db", pool_pre_ping=True)),
    "Connection Pooling, recycle": lambda: Setup(create_engine(f"mysql+pymysql://{REMOTE}/test", pool_recycle=3600)),
    "Connection Pooling, LIFO": lambda: Setup(
        create_engine("postgresql+psycopg2://me@db/a", pool_use_lifo=True, pool_pre_ping=True)
    ),
    "Connection Pooling, NullPool": lambda: Setup(
        create_engine(f"postgresql+psycopg2://{TIGER}/test", poolclass=NullPool)
    ),
    "Connection Pooling, AssertionPool": lambda: Setup(
        create_engine(f"postgresql+psycopg2://{TIGER}/test", poolclass=AssertionPool)
    ),
    "Connection Pooling, reset by a listener": custom_reset,
    "Connection Pooling, no reset for AUTOCOMMIT": lambda: Setup(
        create_engine(f"postgresql+psycopg2://{REMOTE}/test", isolation_level="AUTOCOMMIT", pool_reset_on_return=None)
    ),
    "Session Basics, sessionmaker": synchronous_sessions,
    "Asynchronous I/O, Synopsis": asynchronous_sessions,
    "Asynchronous I/O, aiosqlite": lambda: Setup(create_async_engine("sqlite+aiosqlite:///filename")),
    "Asynchronous I/O, aiosqlite in memory": lambda: Setup(create_async_engine("sqlite+aiosqlite://")),
    "PostgreSQL, psycopg as an async driver": lambda: Setup(
        create_async_engine(f"postgresql+psycopg_async://{TIGER}/test")
    ),
    "PostgreSQL, asyncpg with PgBouncer": bounced_asyncpg,
    "PostgreSQL, psycopg with PgBouncer": lambda: Setup(
        create_engine(f"postgresql+psycopg://{REMOTE}:6432/a", connect_args={"prepare_threshold": None}),
        server=BOUNCER,
    ),
    "MySQL, aiomysql": lambda: Setup(
        create_async_engine("mysql+aiomysql://user:password@hostname/dbname?charset=utf8mb4", pool_recycle=3600)
    ),
    "MySQL, asyncmy": lambda: Setup(
        create_async_engine("mysql+asyncmy://user:password@hostname/dbname?charset=utf8mb4", pool_pre_ping=True)
    ),
    "SQLite, memory in several threads": lambda: Setup(
        create_engine("sqlite://", connect_args=ANY_THREAD, poolclass=StaticPool)
    ),
    "SQLite, temporary tables in a thread": lambda: Setup(
        create_engine("sqlite:///mydb.db", poolclass=SingletonThreadPool)
    ),
    "SQLite, temporary tables in all threads": lambda: Setup(create_engine("sqlite:///mydb.db", poolclass=StaticPool)),
    "SQLite, pool of a file": lambda: Setup(create_engine("sqlite:///myfile.db", poolclass=QueuePool)),
    "SQLModel and FastAPI, SQL databases": lambda: Setup(
        sqlmodel_engine("sqlite:///database.db", connect_args=ANY_THREAD), sessionmaker(class_=SQLModelSession)
    ),
    "SQLModel, echo": lambda: Setup(sqlmodel_engine("sqlite:///database.db", echo=True)),
    "SQLModel, testing": lambda: Setup(sqlmodel_engine("sqlite://", connect_args=ANY_THREAD, poolclass=StaticPool)),
    "FastAPI of earlier releases, SQL databases": lambda: Setup(
        create_engine("sqlite:///./sql_app.db", connect_args=ANY_THREAD),
        sessionmaker(autocommit=False, autoflush=False, class_=Session),
    ),
    "FastAPI template, psycopg": lambda: Setup(
        sqlmodel_engine("postgresql+psycopg://postgres:changethis@db:5432/app"), processes=4
    ),
    "creator of the application": lambda: Setup(create_engine("postgresql+psycopg://", creator=lambda: None)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_set_ups_have_no_error(name: str) -> None:
    """No error in what the documentation recommends."""
    assert [] == [str(each) for each in found(RIGHT[name]()) if each.severity == "error"]


def expiring(session: type[AsyncSession]) -> Setup:
    """Asynchronous sessions with the default, which expires objects at each commit."""
    engine = create_async_engine(f"postgresql+asyncpg://{TIGER}/test")
    return Setup(engine, async_sessionmaker(engine, class_=session))


WRONG: dict[str, tuple[str, Callable[[], Setup]]] = {
    "no limit": ("P02", lambda: Setup(create_engine(f"postgresql+psycopg://{REMOTE}/a", max_overflow=-1))),
    "no size": ("P02", lambda: Setup(create_async_engine(f"postgresql+asyncpg://{REMOTE}/a", pool_size=0))),
    "StaticPool on a server": (
        "P11",
        lambda: Setup(create_async_engine(f"postgresql+asyncpg://{REMOTE}/a", poolclass=StaticPool)),
    ),
    "never tested or replaced": ("P12", lambda: Setup(create_engine(f"postgresql+psycopg://{REMOTE}/a"))),
    "MySQL without recycle": ("P13", lambda: Setup(create_async_engine(f"mysql+aiomysql://{REMOTE}/a"))),
    "memory in workers": ("P15", lambda: Setup(create_async_engine("sqlite+aiosqlite://"), processes=2)),
    "asyncpg behind PgBouncer without names": ("P17", lambda: bounced_asyncpg(has_names=False)),
    "asyncpg behind PgBouncer with defaults": (
        "P17",
        lambda: Setup(create_async_engine(f"postgresql+asyncpg://{REMOTE}:6432/a")),
    ),
    "psycopg behind PgBouncer with defaults": (
        "P18",
        lambda: Setup(create_engine(f"postgresql+psycopg://{REMOTE}/a"), server=BOUNCER),
    ),
    "more than the server has": (
        "P01",
        lambda: Setup(create_engine(f"postgresql+psycopg://{REMOTE}/a"), processes=7, server=ServerFacts(97)),
    ),
    "no reset": (
        "P24",
        lambda: Setup(create_engine(f"postgresql+psycopg://{REMOTE}/a", pool_reset_on_return=None)),
    ),
    "SQLAlchemy's async sessions that expire": ("P26", lambda: expiring(AsyncSession)),
    "SQLModel's async sessions that expire": ("P26", lambda: expiring(SQLModelAsyncSession)),
    "no time limits": (
        "P21",
        lambda: Setup(
            create_engine(f"postgresql+psycopg://{REMOTE}/a"),
            server=ServerFacts(97, {"statement_timeout": 0, "idle_in_transaction_session_timeout": 0}),
        ),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_set_ups_are_found(name: str) -> None:
    """What is known to be wrong is found by its rule, and no other rule finds an error in it."""
    rule, make = WRONG[name]
    findings = found(make())

    assert rule in {each.id for each in findings}
    assert {each.id for each in findings if each.severity == "error"} <= {rule}


@pytest.mark.parametrize(("requests", "expected"), [(5, set()), (6, {"P09"})])
def test_an_engine_for_each_request(requests: int, expected: set[str]) -> None:
    """Six engines of one address within a minute are an error, and five are none."""
    url = f"postgresql+psycopg://{REMOTE}/{uuid4()}"
    engines = [create_engine(url) for _ in range(requests)]
    monitors = [pool_exporter.instrument(engine) for engine in engines]
    errors = {each.id for each in found(Setup(engines[0])) if each.severity == "error"}
    for monitor in monitors:
        monitor.close()

    assert expected == errors
