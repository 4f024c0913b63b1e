"""One checkout and checkin of a QueuePool, bare and under each kind of monitoring.

The database is SQLite in memory, because its driver costs next to nothing: what is left is the pool. Two jobs are
timed: `pool`, which is `pool.connect().close()`, and `engine`, which is `with engine.connect(): pass`, for context. The
asynchronous variants do the same in an AsyncAdaptedQueuePool without reset on return, because aiosqlite's rollback runs
in another thread and takes ten times as long as all that is measured here.

The clock is the thread's own processor time, which stands still while another process has the processor. The garbage
collector is on, as in an application; each round begins after a collection, and what was allocated before the first
round is frozen, so that a variant's own garbage is all that it pays for.
"""

import asyncio
import atexit
import gc
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool
from sqlalchemy.util import greenlet_spawn

from tests.bench.worker import Job
from tests.patience import waiting
from tests.pools import measured

WARM_UP: Final = 3000

_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # a directory of its own is made in it


@dataclass(frozen=True)
class Subject:
    """An engine under one kind of monitoring, and whether that has seen its checkouts."""

    engine: Any
    seen: Callable[[], bool] = lambda: True


def _engine() -> Engine:
    return create_engine("sqlite://", poolclass=QueuePool)


def bare() -> Subject:
    """Return an engine without any monitoring."""
    return Subject(_engine())


def listeners() -> Subject:
    """Return an engine with a listener for each of both events that does nothing: the least that events cost."""
    engine = _engine()
    event.listen(engine, "checkout", lambda dbapi_connection, record, proxy: None)
    event.listen(engine, "checkin", lambda dbapi_connection, record: None)
    return Subject(engine)


def instrumented() -> Subject:
    """Return an engine that is instrumented: every metric of the catalogue."""
    from pool_exporter import instrument

    engine = _engine()
    monitor = instrument(engine)
    return Subject(engine, lambda: measured(monitor).snapshot().checkouts > 0)


def provider() -> Subject:
    """Return an engine that is instrumented and reported to a MeterProvider, its slow waits traced."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from pool_exporter import instrument

    engine, reader = _engine(), InMemoryMetricReader()
    instrument(engine, meter_provider=MeterProvider(metric_readers=[reader]), trace_waits=0.1)
    return Subject(engine, lambda: reader.get_metrics_data() is not None)


def with_another_instrumented() -> Subject:
    """Return an engine without monitoring, in a process where another one is instrumented."""
    from pool_exporter import instrument

    instrumented = _engine()
    instrument(instrumented)
    return Subject(_engine(), lambda: hasattr(instrumented.pool, "_pool_exporter"))


def instrumented_in_file() -> Subject:
    """Return an engine that is instrumented, with its slots in a worker file."""
    directory = tempfile.TemporaryDirectory(prefix="pool_exporter_bench_", dir=_MEMORY if _MEMORY.is_dir() else None)
    atexit.register(directory.cleanup)
    os.environ["POOL_EXPORTER_DIR"] = directory.name
    subject = instrumented()
    with waiting(30.0):
        subject.engine.connect().close()  # The first event creates the file.
    assert list(Path(directory.name).glob("w-*.pool"))
    return subject


def without_places() -> Subject:
    """Return an engine that is instrumented, without the places of checkouts."""
    os.environ["POOL_EXPORTER_PLACES"] = "off"
    return instrumented()


def prometheus() -> Subject:
    """Return an engine with three metrics by hand, written as in the tutorials: `labels()` at each event."""
    engine = _engine()
    used, checkouts, use_time = _metrics()

    def on_checkout(dbapi_connection: object, record: Any, proxy: object) -> None:
        record.info["checked_out"] = time.perf_counter()
        used.labels(pool="orders").inc()
        checkouts.labels(pool="orders").inc()

    def on_checkin(dbapi_connection: object, record: Any) -> None:
        used.labels(pool="orders").dec()
        use_time.labels(pool="orders").observe(time.perf_counter() - record.info.pop("checked_out"))

    event.listen(engine, "checkout", on_checkout)
    event.listen(engine, "checkin", on_checkin)
    return Subject(engine, lambda: checkouts.labels(pool="orders")._value.get() > 0)


def prometheus_cached() -> Subject:
    """Return an engine with the same three metrics, each series looked up once: the least that they cost."""
    engine = _engine()
    used, checkouts, use_time = (metric.labels(pool="orders") for metric in _metrics())

    def on_checkout(dbapi_connection: object, record: Any, proxy: object) -> None:
        record.info["checked_out"] = time.perf_counter()
        used.inc()
        checkouts.inc()

    def on_checkin(dbapi_connection: object, record: Any) -> None:
        used.dec()
        use_time.observe(time.perf_counter() - record.info.pop("checked_out"))

    event.listen(engine, "checkout", on_checkout)
    event.listen(engine, "checkin", on_checkin)
    return Subject(engine, lambda: checkouts._value.get() > 0)


def _metrics() -> tuple[Any, Any, Any]:
    from prometheus_client import Counter, Gauge, Histogram

    used = Gauge("db_pool_used", "Connections in use.", ["pool"], multiprocess_mode="livesum")
    checkouts = Counter("db_pool_checkouts", "Checkouts.", ["pool"])
    use_time = Histogram("db_pool_use_seconds", "Time from checkout to checkin.", ["pool"])
    return used, checkouts, use_time


def multiprocess() -> Subject:
    """Return the engine of `prometheus`, its values in prometheus_client's shared files."""
    _share()
    return prometheus()


def multiprocess_cached() -> Subject:
    """Return the engine of `prometheus_cached`, its values in prometheus_client's shared files."""
    _share()
    return prometheus_cached()


def _share() -> None:
    directory = tempfile.TemporaryDirectory(prefix="pool_exporter_bench_")
    atexit.register(directory.cleanup)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory.name  # prometheus_client reads it when it is imported.


def collectd() -> Subject:
    """Return an engine with sqlalchemy-collectd's plugin, which sends to a port without a listener."""
    engine = create_engine("sqlite://?plugin=collectd", poolclass=QueuePool)
    from sqlalchemy_collectd.client.collector import CollectionTarget

    return Subject(engine, lambda: any(target.total_checkouts for target in CollectionTarget.targets.values()))


def opentelemetry() -> Subject:
    """Return an engine under opentelemetry-instrumentation-sqlalchemy: its one metric by the SDK, and no tracing."""
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    engine, reader = _engine(), InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    # It refuses SQLAlchemy 2.1, although it works with it.
    SQLAlchemyInstrumentor().instrument(engine=engine, meter_provider=provider, skip_dep_check=True)
    return Subject(engine, lambda: reader.get_metrics_data() is not None)


def _async_engine() -> Any:
    from sqlalchemy.ext.asyncio import create_async_engine

    return create_async_engine("sqlite+aiosqlite://", poolclass=AsyncAdaptedQueuePool, pool_reset_on_return=None)


def async_bare() -> Subject:
    """Return an asynchronous engine without any monitoring."""
    return Subject(_async_engine())


def async_instrumented() -> Subject:
    """Return an asynchronous engine that is instrumented; the owner of each checkout is a task."""
    from pool_exporter import instrument

    engine = _async_engine()
    monitor = instrument(engine)
    return Subject(engine, lambda: measured(monitor).snapshot().checkouts > 0)


def async_without_places() -> Subject:
    """Return an asynchronous engine that is instrumented, without the places of checkouts."""
    os.environ["POOL_EXPORTER_PLACES"] = "off"
    return async_instrumented()


VARIANTS: Final[dict[str, tuple[str, Callable[[], Subject]]]] = {
    "bare": ("nothing", bare),
    "bare_again": ("nothing, measured once more: the noise", bare),
    "listeners": ("two empty listeners", listeners),
    "pool_exporter": ("**pool_exporter**, everything", instrumented),
    "provider": ("**pool_exporter**, in a MeterProvider and with `trace_waits`", provider),
    "beside": ("nothing, beside a pool that pool_exporter instruments", with_another_instrumented),
    "pool_exporter_file": ("**pool_exporter**, everything, in a worker's file", instrumented_in_file),
    "pool_exporter_off": ("**pool_exporter**, `POOL_EXPORTER_PLACES=off`", without_places),
    "prometheus": ("prometheus_client by hand, 3 metrics, `labels()` at each event", prometheus),
    "prometheus_cached": ("prometheus_client by hand, 3 metrics, series looked up once", prometheus_cached),
    "multiprocess": ("prometheus_client, multiprocess mode, 3 metrics, `labels()` at each event", multiprocess),
    "multiprocess_cached": (
        "prometheus_client, multiprocess mode, 3 metrics, series looked up once",
        multiprocess_cached,
    ),
    "collectd": ("sqlalchemy-collectd", collectd),
    "opentelemetry": ("opentelemetry-instrumentation-sqlalchemy, 1 metric", opentelemetry),
    "async_bare": ("asynchronous: nothing", async_bare),
    "async_pool_exporter": ("asynchronous: **pool_exporter**, everything", async_instrumented),
    "async_pool_exporter_off": ("asynchronous: **pool_exporter**, `POOL_EXPORTER_PLACES=off`", async_without_places),
}
"""By key, a variant's title and what makes it."""


def jobs(variant: str) -> dict[str, Job]:
    """Return the two pairs of *variant*, in nanoseconds for one, and `seen`."""
    subject = VARIANTS[variant][1]()
    pairs = _async_pairs(subject.engine) if variant.startswith("async_") else _pairs(subject.engine)
    for run in pairs.values():
        run(WARM_UP)
    gc.collect()
    gc.freeze()
    return {**{name: _timed(run) for name, run in pairs.items()}, "seen": lambda _: subject.seen()}


Timed = Callable[[int], int]
"""Does a pair that many times and returns the nanoseconds that this took."""


def _timed(run: Timed) -> Job:
    def job(count: int) -> float:
        gc.collect()
        run(count // 5)  # The caches of the processor hold the worker before.
        return run(count) / count

    return job


def _pairs(engine: Engine) -> dict[str, Timed]:
    def connections(count: int) -> int:
        start = time.thread_time_ns()
        for _ in repeat(None, count):
            with engine.connect():
                pass
        return time.thread_time_ns() - start

    return {"pool": lambda count: _checkouts(engine.pool, count), "engine": connections}


def _checkouts(pool: Any, count: int) -> int:
    start = time.thread_time_ns()
    for _ in repeat(None, count):
        pool.connect().close()
    return time.thread_time_ns() - start


def _async_pairs(engine: Any) -> dict[str, Timed]:
    loop = asyncio.new_event_loop()

    async def checkouts(count: int) -> int:
        return await greenlet_spawn(_checkouts, engine.pool, count)

    async def connections(count: int) -> int:
        start = time.thread_time_ns()
        for _ in repeat(None, count):
            async with engine.connect():
                pass
        return time.thread_time_ns() - start

    def close() -> None:
        loop.run_until_complete(engine.dispose())
        loop.close()

    atexit.register(close)
    return {
        "pool": lambda count: loop.run_until_complete(checkouts(count)),
        "engine": lambda count: loop.run_until_complete(connections(count)),
    }
