"""The OpenTelemetry instrumentor: every pool, one provider, and no other library that counts the same connections."""

import asyncio
import gc
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points, requires
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # it has no types
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from packaging.requirements import Requirement
from packaging.version import Version
from sqlalchemy import create_engine, event, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool

import pool_exporter
from pool_exporter.hook_errors import errors
from pool_exporter.instrumentor import _ZERO_CODE, Configuration, PoolInstrumentor
from pool_exporter.otel import other_instrumentation
from pool_exporter.runtime import instrumentation
from tests.serving import run
from tests.telemetry import collected, points, value

CHECKOUTS, COUNT = "sqlalchemy.pool.checkouts", "db.client.connection.count"
OTHER_METRIC = "db.client.connections.usage"


class Telemetry:
    """A provider and a reader of metrics, and one of spans."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.spans = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))

    def instrument_pools(self, **options: Any) -> None:
        """Begin this package's instrumentation."""
        PoolInstrumentor().instrument(meter_provider=self.meters, **options)

    def instrument_sqlalchemy(self) -> None:
        """Begin OpenTelemetry's own for SQLAlchemy, which does not know version 2.1."""
        SQLAlchemyInstrumentor().instrument(
            meter_provider=self.meters, tracer_provider=self.tracers, skip_dep_check=True
        )

    def checkouts(self, path: Path) -> list[int]:
        """Return the checkouts of each pool of a database below *path*: other tests' engines may be there too."""
        found = collected(self.reader)
        of_all = points(found[CHECKOUTS]) if CHECKOUTS in found else []
        return sorted(p.value for p in of_all if str(p.attributes.get("db.namespace")).startswith(str(path)))

    @property
    def span_names(self) -> list[str]:
        """The names of the spans that have ended."""
        return [span.name for span in self.spans.get_finished_spans()]


KEPT: list[sqlalchemy.Engine] = []
"""Collected within a test, an idle connection to SQLite would be a warning on Python 3.13."""


@pytest.fixture(name="telemetry")
def _telemetry() -> Iterator[Telemetry]:
    gc.collect()  # An engine that an earlier test left would be found.
    before, telemetry = errors.count, Telemetry()
    yield telemetry
    KEPT.clear()
    for instrumentor in (PoolInstrumentor(), SQLAlchemyInstrumentor()):
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()
    for monitor in instrumentation.monitors():
        monitor.close()
    gc.collect()

    assert before == errors.count


def engine(path: Path) -> sqlalchemy.Engine:
    """Return an engine, made by whatever `create_engine` is at the moment. It is kept until the end of the test."""
    KEPT.append(sqlalchemy.create_engine(f"sqlite:///{path}/x.db", poolclass=QueuePool))
    return KEPT[-1]


def use(used: sqlalchemy.Engine) -> None:
    """Run a statement."""
    with used.connect() as connection:
        connection.execute(text("select 1"))


def test_it_is_found_by_its_entry_point() -> None:
    """`opentelemetry-instrument` finds it as sqlalchemy_pool; a stale installation is installed anew."""
    (found,) = entry_points(group="opentelemetry_instrumentor", name="sqlalchemy_pool")

    assert PoolInstrumentor is found.load()
    assert issubclass(PoolInstrumentor, BaseInstrumentor)


def test_it_is_for_every_supported_sqlalchemy() -> None:
    """Extra and `instrumentation_dependencies()` name the same versions of SQLAlchemy, with the installed one."""
    extras = [Requirement(line) for line in requires("pool-exporter") or () if "extra" in line]
    (extra,) = (found for found in extras if found.marker and found.marker.evaluate({"extra": "instruments"}))
    (own,) = map(Requirement, PoolInstrumentor().instrumentation_dependencies())

    assert (extra.name, extra.specifier) == (own.name, own.specifier)
    assert {"2.0", "2.1.9", "2.2"} == set(own.specifier.filter(["1.4.54", "2.0", "2.1.9", "2.2"]))
    assert Version(sqlalchemy.__version__) in own.specifier


def test_every_engine_is_reported(telemetry: Telemetry, tmp_path: Path) -> None:
    """Engines made before, after, and by functions that were imported before are reported, once each."""
    before = engine(tmp_path)
    use(before)
    telemetry.instrument_pools()
    after, imported = engine(tmp_path), create_engine(f"sqlite:///{tmp_path}/y.db", poolclass=QueuePool)
    use(after)
    use(imported)

    assert [0, 1, 1] == telemetry.checkouts(tmp_path)


def test_an_async_engine_is_counted_once(telemetry: Telemetry, tmp_path: Path) -> None:
    """An asynchronous engine is one pool, not two."""
    telemetry.instrument_pools()

    async def use_one() -> dict[str, Any]:
        made = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x.db", poolclass=AsyncAdaptedQueuePool)
        async with made.connect():
            found = collected(telemetry.reader)
        await made.dispose()
        return found

    found = asyncio.run(use_one())
    of_it = {"db_client_connection_pool_name": "x.db"}

    assert [1, 0] == [value(found, COUNT, db_client_connection_state=state, **of_it) for state in ("used", "idle")]


ORDERS = pytest.mark.parametrize(
    "order", [["instrument_pools", "instrument_sqlalchemy"], ["instrument_sqlalchemy", "instrument_pools"]]
)


@ORDERS
def test_the_other_metric_is_taken_over(telemetry: Telemetry, tmp_path: Path, order: list[str]) -> None:
    """Whichever comes first, only this package counts connections, and all spans of the other are there."""
    getattr(telemetry, order[0])()
    before = engine(tmp_path)
    use(before)
    getattr(telemetry, order[1])()
    use(before)
    telemetry.spans.clear()
    after = engine(tmp_path)
    use(after)
    use(before)
    found = collected(telemetry.reader)

    is_first = order[0] == "instrument_pools"
    assert (4 if is_first else 3) == sum(telemetry.checkouts(tmp_path))
    # What it counted before stays as it was in the SDK.
    assert (0 if is_first else 2) == (len(points(found[OTHER_METRIC])) if OTHER_METRIC in found else 0)
    # An engine that was made before the other instrumentation has no spans of statements, as without this package.
    statements = [name for name in telemetry.span_names if name.startswith("select")]
    assert (2, 1 if is_first else 2) == (telemetry.span_names.count("connect"), len(statements))


@ORDERS
def test_the_other_listeners_are_gone(telemetry: Telemetry, tmp_path: Path, order: list[str]) -> None:
    """A pool has no listener of the other, also after a dispose: a checkout costs what this package costs."""
    getattr(telemetry, order[0])()
    made = engine(tmp_path)
    getattr(telemetry, order[1])()
    made.dispose()
    for pool in (made.pool, engine(tmp_path).pool):
        listeners: list[Any] = [*pool.dispatch.checkout, *pool.dispatch.checkin]

        assert [] == [each for each in listeners if "opentelemetry" in getattr(each, "__module__", "")]


def test_taken_over_while_a_checkout_is_under_way(telemetry: Telemetry, tmp_path: Path) -> None:
    """A thread that iterates over the other's listeners goes on: the list that it iterates over does not change."""
    telemetry.instrument_sqlalchemy()
    made = engine(tmp_path)
    event.listen(made, "checkout", lambda *_: telemetry.instrument_pools(), insert=True)
    use(made)

    assert [1] == [len(telemetry.checkouts(tmp_path))]


def test_the_other_metric_can_stay(telemetry: Telemetry, tmp_path: Path) -> None:
    """`take_over=False` leaves the other metric."""
    telemetry.instrument_pools(take_over=False)
    telemetry.instrument_sqlalchemy()
    use(engine(tmp_path))

    assert {OTHER_METRIC, CHECKOUTS} <= set(collected(telemetry.reader))


def test_the_other_can_still_be_ended(telemetry: Telemetry, tmp_path: Path) -> None:
    """The other instrumentation can be ended after its listeners were removed."""
    telemetry.instrument_sqlalchemy()
    made = engine(tmp_path)
    telemetry.instrument_pools()
    SQLAlchemyInstrumentor().uninstrument()
    use(made)

    assert [] == telemetry.span_names
    assert [1] == telemetry.checkouts(tmp_path)


def test_uninstrument_leaves_nothing(telemetry: Telemetry, tmp_path: Path) -> None:
    """At its end no pool is instrumented, nothing is reported, and the other metric is counted again."""
    telemetry.instrument_pools()
    made = engine(tmp_path)
    use(made)
    PoolInstrumentor().uninstrument()
    use(made)

    assert ([], {}) == (instrumentation.monitors(), collected(telemetry.reader))
    telemetry.instrument_sqlalchemy()
    use(engine(tmp_path))

    assert OTHER_METRIC in collected(telemetry.reader)


def test_uninstrument_leaves_what_the_application_began(telemetry: Telemetry, tmp_path: Path) -> None:
    """An `instrument_all()` of the application goes on when the instrumentor ends."""
    made = engine(tmp_path)
    with pool_exporter.instrument_all():
        use(made)
        before = len(instrumentation.monitors())
        telemetry.instrument_pools()
        PoolInstrumentor().uninstrument()

        assert before == len(instrumentation.monitors())
        assert {} == collected(telemetry.reader)


@pytest.mark.parametrize("key", ["POOL_EXPORTER_TRACE_WAITS", "POOL_EXPORTER_SERVCE"])
def test_a_bad_setting_stops_nothing(
    telemetry: Telemetry, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong variable is one line of level ERROR, and pools are instrumented with the default."""
    monkeypatch.setenv(key, "presently")
    telemetry.instrument_pools()
    telemetry.instrument_sqlalchemy()
    use(engine(tmp_path))

    assert [("ERROR", True)] == [(line.levelname, key in line.message) for line in caplog.records]
    assert [1] == telemetry.checkouts(tmp_path)


def test_waits_are_traced_as_the_environment_says(
    telemetry: Telemetry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """POOL_EXPORTER_TRACE_WAITS is the option for applications without code for it."""
    monkeypatch.setenv("POOL_EXPORTER_TRACE_WAITS", "0")
    telemetry.instrument_pools(tracer_provider=telemetry.tracers)
    with telemetry.tracers.get_tracer("shop").start_as_current_span("request"):
        use(engine(tmp_path))

    assert ["pool.acquire", "request"] == telemetry.span_names


def test_it_begins_again(telemetry: Telemetry, tmp_path: Path) -> None:
    """After an end it can begin once more."""
    made = engine(tmp_path)
    for _ in range(2):
        telemetry.instrument_pools()
        use(made)
        found = telemetry.checkouts(tmp_path)
        PoolInstrumentor().uninstrument()

        assert [1] == found


def test_another_version_of_the_other(
    telemetry: Telemetry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A version of the other with unknown internals is left alone, with one warning; pools are instrumented."""
    monkeypatch.delattr(EngineTracer, "_register_event_listener")
    telemetry.instrument_pools()
    use(engine(tmp_path))

    assert ["its pool metric stays, in addition to those of pool_exporter"] == [
        text.rpartition(": ")[2] for text in caplog.messages
    ]
    assert [1] == telemetry.checkouts(tmp_path)


def test_the_other_is_not_installed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Without the other package there is nothing to take over, and nothing to warn of."""
    monkeypatch.setattr(other_instrumentation, "find_spec", lambda _: None)
    other_instrumentation.take_over()()

    assert [] == caplog.messages


def test_the_configuration_is_a_dataclass() -> None:
    """Declarative configuration checks its options against this class."""
    assert PoolInstrumentor.configuration is Configuration
    assert Configuration(take_over=True) == Configuration()


def test_the_global_provider_by_default() -> None:
    """Without options, as under opentelemetry-instrument, the global provider is used, even if it is set later."""
    printed = run("""
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from pool_exporter.instrumentor import PoolInstrumentor
from tests.pools import Database
from tests.telemetry import collected, value
PoolInstrumentor().instrument()
engine, reader = Database().engine(), InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
engine.connect().close()
print(value(collected(reader), "sqlalchemy.pool.checkouts"))
""")

    assert "1" == printed


class Placeholder(NoOpMeterProvider):
    """The global provider before one is set."""

    def on_set_meter_provider(self, _: object) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("endpoint", "module", "provider", "is_said"),
    [
        ("http://localhost:4318", _ZERO_CODE, Placeholder(), True),
        ("", _ZERO_CODE, Placeholder(), False),
        ("http://localhost:4318", "another_module", Placeholder(), False),
        ("http://localhost:4318", _ZERO_CODE, MeterProvider(shutdown_on_exit=False), False),
    ],
    ids=["nothing is set up", "no push is asked for", "in code", "a provider is set"],
)
def test_nothing_is_pushed(  # noqa: PLR0917  # a case and two fixtures
    endpoint: str,
    module: str,
    provider: Any,
    is_said: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where OTLP is asked for and opentelemetry-instrument has no distro, one line says so; elsewhere none does."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.delitem(sys.modules, _ZERO_CODE, raising=False)
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    monkeypatch.setattr("pool_exporter.instrumentor.get_meter_provider", lambda: provider)
    monkeypatch.setattr("pool_exporter.otel.meter_provider_bridge.global_provider", lambda: provider)
    PoolInstrumentor().instrument()
    PoolInstrumentor().uninstrument()

    assert is_said == ("opentelemetry-distro" in caplog.text)
