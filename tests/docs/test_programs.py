"""Every Python block of the documentation runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.testclient import TestClient

import pool_exporter
from pool_exporter.runtime import instrumentation
from tests.docs.pages import DOCS, README, pages, programs, title
from tests.pools import measured
from tests.telemetry import collected, value

PROGRAMS = {f"{title(page)} {number}": text for page in pages() for number, text in enumerate(programs(page))}


@pytest.fixture(name="run")
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that runs a program in an empty directory, with a registry and free ports, and its names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prometheus_client, "REGISTRY", CollectorRegistry())
    names: dict[str, Any] = {"__name__": "documentation"}

    def run(source: str) -> dict[str, Any]:
        code = compile(source.replace("port=10042", "port=0"), "documentation", "exec")
        exec(code, names)  # noqa: S102  # running it is the test
        return names

    yield run
    for name in ("server", "connection"):
        if name in names:
            names[name].close()
    for each in instrumentation.monitors():
        each.close()
    for each in names.values():
        if isinstance(each, Engine):
            each.dispose()


def program_with(page: Path, text: str) -> str:
    """Return the page's only program that contains *text*."""
    (found,) = (program for program in programs(page) if text in program)
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_runs(run: Any, name: str) -> None:
    """It raises nothing, its assertions hold, and the name of its engine is `engine`."""
    assert isinstance(run(PROGRAMS[name])["engine"], (Engine, AsyncEngine))


def test_readme_serves_its_pool_at_metrics(run: Any) -> None:
    """The service of the README answers at exactly /metrics, without a redirect: not all scrapers follow one."""
    app = run(program_with(README, "FastAPI"))["app"]
    answer = TestClient(app).get("/metrics", follow_redirects=False)

    assert 200 == answer.status_code
    assert 'db_client_connection_max{db_client_connection_pool_name="orders"' in answer.text


def test_wsgi_application_serves_metrics_and_service(run: Any) -> None:
    """The middleware of the page passes /metrics to the exporter, and everything else to the service."""
    app = run(program_with(DOCS / "how-to" / "serve-metrics.md", "make_wsgi_app"))["app"]
    statuses: list[str] = []
    pages = []
    for path in ("/metrics", "/orders"):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": ""}
        pages.append(b"".join(app(environ, lambda status, headers: statuses.append(status))))

    assert ["200 OK", "200 OK"] == statuses
    assert b'pool_name="orders.db"' in pages[0]
    assert b"orders" == pages[1]


def test_registry_has_the_pool(run: Any) -> None:
    """The collector adds the pools to the registry of the application."""
    run(program_with(DOCS / "how-to" / "serve-metrics.md", "PoolCollector"))
    page = prometheus_client.generate_latest(prometheus_client.REGISTRY).decode()

    assert 'pool_name="orders.db"' in page


def test_plugin_names_the_pool(run: Any) -> None:
    """The URL instruments the engine and names its pool."""
    engine = run(program_with(DOCS / "how-to" / "serve-metrics.md", "?plugin="))["engine"]
    with engine.connect():
        (pool,) = instrumentation.snapshot().pools

    assert ("orders", 1) == (pool.name, pool.used)


def test_global_meter_provider_gets_the_pool(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool is in the global provider, and slow waits are traced from 0.1 s on."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr("opentelemetry.metrics.get_meter_provider", lambda: provider)
    engine = run(program_with(DOCS / "how-to" / "opentelemetry.md", "meter_provider="))["engine"]
    with engine.connect():
        found = collected(reader)
    slow_acquire = measured(pool_exporter.instrument(engine))._state.slow_acquire

    assert 1 == value(found, "sqlalchemy.pool.checkouts", db_client_connection_pool_name="orders")
    assert slow_acquire is not None
    assert 100_000_000 == slow_acquire.threshold_ns
