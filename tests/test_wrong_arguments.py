"""What is passed wrongly to a public function is named, with what was meant; and nothing has been done by then."""

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import flask
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from opentelemetry.metrics import get_meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import get_tracer
from prometheus_client import REGISTRY
from sqlalchemy import orm
from sqlalchemy.ext import asyncio as sa_asyncio
from sqlmodel import SQLModel

import pool_exporter
from pool_exporter.runtime.instrumentation import monitors
from tests.pools import Database

ENGINE = sa.create_engine("sqlite://")
ASYNC_ENGINE = sa_asyncio.create_async_engine("sqlite+aiosqlite://")


class Base(orm.DeclarativeBase):
    """A declarative base."""


class FlaskSQLAlchemy:
    """As the extension of Flask-SQLAlchemy: outside of an application, its engine cannot be read."""

    __module__ = "flask_sqlalchemy.extension"

    @property
    def engine(self) -> Any:
        """Fail."""
        raise RuntimeError("Working outside of application context.")


FlaskSQLAlchemy.__name__ = "SQLAlchemy"


def get_engine() -> sa.Engine:
    """Return the engine."""
    return ENGINE


def awaited() -> Any:
    """Return a coroutine that has ended."""

    async def make() -> sa_asyncio.AsyncEngine:
        return ASYNC_ENGINE

    coroutine = make()
    coroutine.close()
    return coroutine


@pytest.fixture(autouse=True)
def _no_pool_stays_instrumented() -> Iterator[None]:
    """Close what a test has instrumented: a pool of a later test would get another name."""
    before = set(monitors())
    yield
    for monitor in set(monitors()) - before:
        monitor.close()


TARGETS: dict[str, tuple[Callable[[], Any], str]] = {
    "session": (lambda: orm.Session(ENGINE), r"not Session: .*\bCALL\(session\.get_bind\(\)\)"),
    "async session": (lambda: sa_asyncio.AsyncSession(ASYNC_ENGINE), r"not AsyncSession: .*CALL\(session\.get_bind"),
    "scoped session": (lambda: orm.scoped_session(orm.sessionmaker(ENGINE)), r"not scoped_session: .*CALL\(session"),
    "sessionmaker": (lambda: orm.sessionmaker(ENGINE), r"not sessionmaker: .*made with: CALL\(engine\)"),
    "async sessionmaker": (
        lambda: sa_asyncio.async_sessionmaker(ASYNC_ENGINE),
        r"not async_sessionmaker: .*CALL\(engine\)",
    ),
    "connection": (ENGINE.connect, r"not Connection: .*CALL\(connection\.engine\)"),
    "raw connection": (ENGINE.raw_connection, r"not _ConnectionFairy: .*the engine that it came from"),
    "text of a URL": (lambda: "postgresql://app:secret@db/app", r"not str: .*CALL\(create_engine\(url\)\)"),
    "URL": (lambda: sa.make_url("postgresql://app:secret@db/app"), r"not URL: .*CALL\(create_engine\(url\)\)"),
    "Flask-SQLAlchemy": (FlaskSQLAlchemy, r"not SQLAlchemy: .*app_context.*CALL\(db\.engine\)"),
    "Flask": (lambda: flask.Flask("app"), r"not Flask: pass what create_engine"),
    "metadata": (sa.MetaData, r"not MetaData: tables have no pool"),
    "declarative class": (lambda: Base, r"the class Base; pass what create_engine"),
    "SQLModel": (lambda: SQLModel, r"the class SQLModel; pass what create_engine"),
    "class of engines": (lambda: sa.Engine, r"the class Engine; pass what create_engine"),
    "function": (lambda: get_engine, r"the function get_engine; call it: CALL\(get_engine\(\)\)"),
    "coroutine": (awaited, r"not coroutine: it has not been awaited"),
    "none": (lambda: None, r"not NoneType: the engine has not been made yet"),
    "list": (lambda: [ENGINE], r"not list: call it for each engine"),
    "dict": (lambda: {"default": ENGINE}, r"not dict: call it for each engine"),
    "number": (lambda: 5, r"not int: pass what create_engine\(\) or create_async_engine\(\)"),
}
"""What is not an engine, and the message, in which CALL is the function."""


def monitor_of_another_pool() -> Any:
    """Return the monitor of a pool."""
    return pool_exporter.instrument(Database().engine())


@pytest.mark.parametrize("function", ["instrument", "check"])
@pytest.mark.parametrize("name", TARGETS)
def test_what_is_no_engine(name: str, function: str) -> None:
    """The error names what was passed, and the call that was meant; it has no password; no pool is instrumented."""
    make, message = TARGETS[name]
    target, before = make(), len(monitors())
    with pytest.raises(TypeError, match=message.replace("CALL", function)) as raised:
        getattr(pool_exporter, function)(target)
    if name in ("connection", "raw connection"):
        target.close()

    assert (before, True) == (len(monitors()), str(raised.value).startswith(f"{function}() takes an Engine, "))
    assert "secret" not in str(raised.value)


def test_monitor_is_no_engine() -> None:
    """A monitor is said to be one."""
    monitor = monitor_of_another_pool()
    with pytest.raises(TypeError, match=r"not PoolMonitor: .*is instrumented already"):
        pool_exporter.instrument(monitor)


WRONG: dict[str, tuple[str, dict[str, Any], type[Exception], str]] = {
    "meter": ("instrument", {"meter_provider": get_meter("x")}, TypeError, "MeterProvider, not _?Proxy"),
    "no provider": ("instrument", {"meter_provider": "otlp"}, TypeError, "meter_provider must be .*, not str"),
    "tracer": ("instrument", {"tracer_provider": get_tracer("x")}, TypeError, "TracerProvider, not ProxyTracer"),
    "swapped": ("instrument", {"tracer_provider": MeterProvider()}, TypeError, "TracerProvider, not MeterProvider"),
    "swapped back": (
        "instrument",
        {"meter_provider": TracerProvider()},
        TypeError,
        "MeterProvider, not TracerProvider",
    ),
    "name: bytes": ("instrument", {"name": b"x"}, TypeError, 'name must be text such as "orders", not bytes'),
    "name: number": ("instrument", {"name": 5}, TypeError, "name must be text .*, not int"),
    "name: list": ("instrument", {"name": ["orders"]}, TypeError, "name must be text .*, not list"),
    "service: bytes": ("instrument", {"service": b"x"}, TypeError, 'service must be text such as "shop", not bytes'),
    "service: URL": ("instrument", {"service": sa.make_url("a://b:secret@c")}, TypeError, "service .*, not URL"),
    "text": ("instrument", {"trace_waits": "x"}, ValueError, "trace_waits must be seconds, at least 0, not 'x'"),
    "negative": ("instrument", {"trace_waits": -1}, ValueError, "trace_waits must be seconds, at least 0, not -1"),
    "infinite": ("instrument", {"trace_waits": float("inf")}, ValueError, "trace_waits must be seconds"),
    "true": ("instrument", {"trace_waits": True}, TypeError, "trace_waits must be seconds, such as 0.1, not bool"),
    "timedelta": ("instrument", {"trace_waits": timedelta(1)}, TypeError, "such as 0.1, not timedelta"),
    "all: true": ("instrument_all", {"trace_waits": True}, TypeError, "such as 0.1, not bool"),
    "all: meter": ("instrument_all", {"meter_provider": get_meter("x")}, TypeError, "meter_provider must be"),
    "all: tracer": ("instrument_all", {"tracer_provider": get_tracer("x")}, TypeError, "tracer_provider must be"),
    "all: negative": ("instrument_all", {"trace_waits": -1}, ValueError, "not -1"),
    "threads": ("check", {"threads": "4"}, TypeError, "threads must be a whole number from 1 on, not str"),
    "threads: true": ("check", {"threads": True}, TypeError, "threads must be a whole number from 1 on, not bool"),
    "processes: true": ("check", {"processes": True}, TypeError, "processes must be a whole number .*, not bool"),
    "no process": ("check", {"processes": 0}, ValueError, "processes must be a whole number from 1 on, not 0"),
    "session": ("check", {"sessionmaker": orm.Session(ENGINE)}, TypeError, "sessionmaker must be .*, not Session"),
    "server": (
        "check",
        {"server": "postgresql://"},
        TypeError,
        r"server must be .*\.ServerFacts\(…\), not str",
    ),
    "unknown id": ("check", {"silence": ["P01", "nonsense"]}, ValueError, "silence has nonsense: the rules are P01, "),
    "id: number": ("check", {"silence": {23}}, TypeError, 'silence must have ids of rules, such as "P23", not int'),
    "silence": ("check", {"silence": "P23"}, TypeError, 'ids, such as {"P23"}, not str'),
    "asgi: registry": ("make_asgi_app", {"source": REGISTRY}, TypeError, r"registry\.register\(PoolCollector\(\)\)"),
    "asgi: engine": (
        "make_asgi_app",
        {"source": ENGINE},
        TypeError,
        r"not Engine: call instrument\(\) with the engine",
    ),
    "asgi: no slash": ("make_asgi_app", {"metrics": "metrics"}, ValueError, "must begin with a slash"),
    "asgi: no path": ("make_asgi_app", {"metrics": None}, TypeError, "metrics must be a path such as '/metrics'"),
    "asgi: no": ("make_asgi_app", {"diagnosis": "no"}, TypeError, "diagnosis must be True or False, not str"),
    "wsgi: registry": ("make_wsgi_app", {"source": REGISTRY}, TypeError, r"registry\.register\(PoolCollector\(\)\)"),
    "wsgi: no slash": ("make_wsgi_app", {"metrics": "metrics"}, ValueError, "must begin with a slash"),
    "wsgi: no": ("make_wsgi_app", {"diagnosis": "no"}, TypeError, "diagnosis must be True or False, not str"),
    "collector: registry": ("PoolCollector", {"source": REGISTRY}, TypeError, r"registry\.register\(PoolCollector"),
    "collector: number": ("PoolCollector", {"source": 5}, TypeError, "a function that returns a Snapshot, not int$"),
    "port: text": ("start_http_server", {"port": "10042"}, TypeError, "port must be a whole number .*, not str"),
    "port: none": ("start_http_server", {"port": None}, TypeError, "port must be a whole number .*, not NoneType"),
    "port: true": ("start_http_server", {"port": True}, TypeError, "port must be a whole number .*, not bool"),
    "port: large": ("start_http_server", {"port": 65536}, ValueError, "port must be from 0 to 65535, not 65536"),
    "addr: none": ("start_http_server", {"port": 0, "addr": None}, TypeError, 'addr must be text, "" for every'),
    "server: registry": ("start_http_server", {"port": 0, "source": REGISTRY}, TypeError, "PoolCollector"),
    "asgi units: Flask": ("UnitMiddleware", {"app": flask.Flask("app")}, TypeError, r"call FlaskUnits\(app\)"),
    "asgi units: none": ("UnitMiddleware", {"app": None}, TypeError, "an ASGI application, not NoneType"),
    "wsgi units: FastAPI": ("WsgiUnitMiddleware", {"app": FastAPI()}, TypeError, "add UnitMiddleware to FastAPI"),
    "wsgi units: none": ("WsgiUnitMiddleware", {"app": None}, TypeError, "a WSGI application, not NoneType"),
    "Flask units: FastAPI": ("FlaskUnits", {"app": FastAPI()}, TypeError, "an application of Flask, not FastAPI"),
    "Flask units: text": ("FlaskUnits", {"app": "app"}, TypeError, "an application of Flask, not str"),
    "unit: number": ("unit", {"name": 5}, TypeError, "takes a name, .*, not int"),
    "unit: bytes": ("unit", {"name": b"x"}, TypeError, "takes a name, .*, not bytes"),
    "unit: long": ("unit", {"name": "x", "long": "no"}, TypeError, "long must be True or False, not str"),
    "unit: function": ("unit", {"name": get_engine}, TypeError, r'takes a name, as in @unit\("nightly-report"\)'),
}
"""The function, what is passed to it, the class of the error, and the message."""

WITH_TARGET = ("instrument", "check")


@pytest.mark.parametrize("name", WRONG)
def test_what_is_passed_wrongly(name: str) -> None:
    """The error names the argument, what it was, and what is meant; no pool is instrumented by the call."""
    function, arguments, error, message = WRONG[name]
    target = (sa.create_engine("sqlite://"),) if function in WITH_TARGET else ()
    before = len(monitors())
    with pytest.raises(error, match=message):
        getattr(pool_exporter, function)(*target, **arguments)

    assert before == len(monitors())


def test_each_public_name_that_takes_arguments_is_in_the_table() -> None:
    """A new public function gets rows, too; these take nothing, or are called or made by no application."""
    without = {"CeleryUnits", "Monitor", "ServerFacts", "is_compiled", "metrics_endpoint"}

    assert set(pool_exporter.__all__) - without == {function for function, *_ in WRONG.values()}


@pytest.mark.parametrize(
    ("function", "arguments", "argument"),
    [
        ("instrument", {"trace_waits": 0.1}, "trace_waits"),
        ("instrument", {"meter_provider": MeterProvider()}, "meter_provider"),
        ("instrument_all", {"trace_waits": 0.1}, "trace_waits"),
        ("instrument_all", {"meter_provider": MeterProvider()}, "meter_provider"),
    ],
)
def test_without_opentelemetry(
    monkeypatch: pytest.MonkeyPatch, function: str, arguments: dict[str, Any], argument: str
) -> None:
    """The error names the argument and the extra, and no pool is instrumented."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    target, before = (sa.create_engine("sqlite://"),) if function in WITH_TARGET else (), len(monitors())
    with pytest.raises(ImportError, match=rf"{argument} needs OpenTelemetry: pip install 'pool-exporter\[otel\]'"):
        getattr(pool_exporter, function)(*target, **arguments)

    assert before == len(monitors())


def test_without_celery(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "celery", None)
    with pytest.raises(ImportError, match="CeleryUnits needs Celery: pip install celery"):
        pool_exporter.CeleryUnits().install()


def test_monitor_of_wrong_waits() -> None:
    """The method checks as the function does."""
    monitor = monitor_of_another_pool()
    with pytest.raises(TypeError, match=r"such as 0\.1, not bool"):
        monitor.trace_waits(True)
    with pytest.raises(TypeError, match="TracerProvider, not MeterProvider"):
        monitor.trace_waits(0.1, MeterProvider())


def test_second_name_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The first name and service stay, however often others are given, and one WARNING says so."""
    engine = Database().engine()
    monitor = pool_exporter.instrument(engine, name="orders", service="shop")
    for _ in range(2):
        assert monitor is pool_exporter.instrument(engine, name="stock", service="store")
    (warning,) = [record.getMessage() for record in caplog.records]

    assert ("orders", "shop") == (monitor.identity.name, monitor.identity.service)
    assert "pool 'orders' of service 'shop' is instrumented already" in warning
    assert "instrument(…, name='stock', service='store')" in warning


def test_second_name_that_is_the_begin_of_the_first(caplog: pytest.LogCaptureFixture) -> None:
    """What is behind a `#` in a name that the application has given is part of it, unless it is a number."""
    engine = Database().engine()
    pool_exporter.instrument(engine, name="orders#team")
    pool_exporter.instrument(engine, name="orders")

    assert ["pool 'orders#team' is instrumented already"] == [
        record.getMessage().partition(" and ")[0] for record in caplog.records
    ]


@pytest.mark.parametrize("again", [{}, {"name": "orders"}, {"name": ""}, {"name": "orders", "service": "shop"}])
def test_same_name_again(caplog: pytest.LogCaptureFixture, again: dict[str, Any]) -> None:
    """A second call with the same names, or without any, is no mistake; nor for a pool that was numbered."""
    for _ in range(2):
        engine = Database().engine()
        pool_exporter.instrument(engine, name="orders", service="shop")
        pool_exporter.instrument(engine, **again)

    assert [] == [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("silence", [["p04"], {"P04"}, ("P04", "p04"), {"P04": "why"}, frozenset(["P04"])])
def test_ids_in_either_case(silence: Any) -> None:
    """An id leaves its rule out however it is written, as in POOL_EXPORTER_SILENCE, and in any collection."""
    engine = sa.create_engine("postgresql+psycopg2://u:p@h/d")
    found = {finding.id for finding in pool_exporter.check(engine)}

    assert found - {"P04"} == {finding.id for finding in pool_exporter.check(engine, silence=silence)}
    assert "P04" in found


def test_no_source_is_that_of_this_process() -> None:
    """None means for a collector what it means for the other functions that take a source."""
    assert [] != list(pool_exporter.PoolCollector(None).collect())
