"""What each tool reports after an ordinary fault, and the truth: `python -m tests.bench.faults`.

Every fault runs on a fresh engine for each tool, in a process of its own, and ends with a reading (used, idle). The
truth is a count of the connections that the driver has open and of those that the fault's code still holds. The table
goes to standard output as Markdown.
"""

import asyncio
import gc
import json
import logging
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool, StaticPool

from tests.pools import measured

Reading = tuple[int, int]
Attach = Callable[[sa.Engine], Callable[[], Reading]]


class Database:
    """A database that counts its open connections and can be taken down."""

    def __init__(self) -> None:
        self.path = str(Path(tempfile.mkdtemp()) / "faults.db")
        self.open = 0
        self.is_down = False

    def connect(self) -> sqlite3.Connection:
        """Open one connection, unless the database is down."""
        if self.is_down:
            raise sqlite3.OperationalError("the database is down")
        database = self

        class Counted(sqlite3.Connection):
            is_open = True

            def close(self) -> None:
                super().close()
                database.open -= self.is_open
                self.is_open = False

            def __del__(self) -> None:
                self.close()

        self.open += 1
        return sqlite3.connect(self.path, check_same_thread=False, factory=Counted)

    def engine(self, **options: Any) -> sa.Engine:
        """Make an engine on it."""
        return sa.create_engine("sqlite://", creator=self.connect, **{"poolclass": QueuePool, **options})


# The tools.


def attach_pool_exporter(engine: sa.Engine) -> Callable[[], Reading]:
    """This package."""
    from pool_exporter import instrument

    monitor = instrument(engine)
    return lambda: (measured(monitor).snapshot().used, measured(monitor).snapshot().idle)


def attach_otel(engine: sa.Engine) -> Callable[[], Reading]:
    """The OpenTelemetry instrumentation."""
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    SQLAlchemyInstrumentor().instrument(engine=engine, meter_provider=MeterProvider([reader]), skip_dep_check=True)

    def read() -> Reading:
        data: Any = reader.get_metrics_data()
        values = {"used": 0, "idle": 0}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data else ():
            for point in metric.data.data_points:
                values[point.attributes["state"]] += point.value
        return values["used"], values["idle"]

    return read


def attach_collectd(engine: sa.Engine) -> Callable[[], Reading]:
    """sqlalchemy-collectd; its own counters, without the network."""
    from sqlalchemy_collectd.client import collector, worker

    worker._check_threads_started = lambda: None  # Its sender would be started at the first connection.
    target = collector.CollectionTarget.collection_for_name("faults")
    collector.EngineCollector(target, engine)
    return lambda: (target.num_checkedout, target.num_checkedin)


def attach_gauges(engine: sa.Engine) -> Callable[[], Reading]:
    """Gauges as projects write them by hand: two methods of the pool that the engine had at the start."""
    pool: Any = engine.pool
    return lambda: (pool.checkedout(), pool.checkedin())


TOOLS: dict[str, Attach] = {
    "pool_exporter": attach_pool_exporter,
    "OpenTelemetry": attach_otel,
    "collectd": attach_collectd,
    "pool's own gauges": attach_gauges,
}

# The faults: each takes the database and a tool, and returns the tool's reading and how many connections are held.

Fault = Callable[[Database, Attach], tuple[Reading, int]]


def instrumented_late(database: Database, attach: Attach) -> tuple[Reading, int]:
    """Instrumented when 3 connections are open, 1 of them used; 1 more is used."""
    engine = database.engine()
    held = [engine.connect() for _ in range(3)]
    held.pop().close()
    held.pop().close()
    read = attach(engine)
    held.append(engine.connect())
    return read(), len(held)


def detached(database: Database, attach: Attach) -> tuple[Reading, int]:
    """`detach()`, then closed."""
    engine = database.engine()
    read = attach(engine)
    connection = engine.connect()
    connection.detach()
    connection.close()
    return read(), 0


def invalidated(database: Database, attach: Attach) -> tuple[Reading, int]:
    """`invalidate()`, then closed."""
    engine = database.engine()
    read = attach(engine)
    connection = engine.connect()
    connection.invalidate()
    connection.close()
    return read(), 0


def soft_invalidated(database: Database, attach: Attach) -> tuple[Reading, int]:
    """Soft-invalidated while used."""
    engine = database.engine()
    read = attach(engine)
    held = engine.raw_connection()
    held.invalidate(soft=True)
    return read(), 1


def reconnects_failed(database: Database, attach: Attach) -> tuple[Reading, int]:
    """Database down, 5 reconnects fail."""
    engine = database.engine()
    read = attach(engine)
    connection = engine.connect()
    connection.invalidate()
    connection.close()
    database.is_down = True
    for _ in range(5):
        with suppress(sa.exc.OperationalError):
            engine.connect()
    return read(), 0


def disposed_while_used(database: Database, attach: Attach) -> tuple[Reading, int]:
    """`dispose()` with 1 used, then returned and collected."""
    engine = database.engine()
    read = attach(engine)
    connection = engine.connect()
    engine.dispose()
    connection.close()
    del connection
    gc.collect()
    return read(), 0


def disposed_without_closing(database: Database, attach: Attach) -> tuple[Reading, int]:
    """`dispose(close=False)` with 3 idle, then collected."""
    engine = database.engine()
    read = attach(engine)
    connections = [engine.connect() for _ in range(3)]
    while connections:
        connections.pop().close()
    engine.dispose(close=False)
    gc.collect()
    return read(), 0


def used_after_dispose(database: Database, attach: Attach) -> tuple[Reading, int]:
    """1 used after `dispose()`."""
    engine = database.engine()
    read = attach(engine)
    engine.connect().close()
    engine.dispose()
    held = engine.connect()
    return read(), int(not held.closed)


def shared(database: Database, attach: Attach) -> tuple[Reading, int]:
    """StaticPool: 2 checkouts of its one connection, both returned."""
    engine = database.engine(poolclass=StaticPool)
    read = attach(engine)
    first, second = engine.connect(), engine.connect()
    first.close()
    second.close()
    return read(), 0


def forked(database: Database, attach: Attach) -> tuple[Reading, int]:
    """Forked with 2 used; the child disposes and uses 1."""
    engine = database.engine()
    read = attach(engine)
    held = [engine.connect(), engine.connect()]
    source, sink = os.pipe()
    pid = os.fork()
    if not pid:
        engine.dispose(close=False)
        used = engine.connect()
        os.write(sink, json.dumps([*read(), int(not used.closed)]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    used_there = json.loads(os.read(source, 100))
    database.open = 1
    return (used_there[0], used_there[1]), len(held) - 1


def lost_async(database: Database, attach: Attach) -> tuple[Reading, int]:
    """Async: a checkout lost to the garbage collector."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{database.path}", poolclass=None)
    read = attach(engine.sync_engine)

    async def lose(engine: AsyncEngine) -> None:
        connection = await engine.connect()
        del connection
        gc.collect()

    asyncio.run(lose(engine))
    return read(), 0


FAULTS: tuple[Fault, ...] = (
    instrumented_late,
    detached,
    invalidated,
    soft_invalidated,
    reconnects_failed,
    disposed_while_used,
    disposed_without_closing,
    used_after_dispose,
    shared,
    forked,
    lost_async,
)


def run_one(fault: str, tool: str) -> None:
    """Print one reading and the truth as JSON, in this process."""
    warnings.simplefilter("ignore")
    logging.disable()
    database = Database()
    seen, held = globals()[fault](database, TOOLS[tool])
    print(json.dumps([*seen, held, max(0, database.open - held)]))
    sys.stdout.flush()
    os._exit(0)


def reading(fault: Fault, tool: str) -> list[int] | str:
    """Run one fault with one tool in a process of its own; return its reading and the truth, or the error's name."""
    command = [sys.executable, "-m", "tests.bench.faults", fault.__name__, tool]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1].split(":")[0]
    values: list[int] = json.loads(done.stdout)
    return values


def cell(result: list[int] | str, truth: list[int]) -> str:
    """Show a reading, in bold where it is not the truth."""
    if isinstance(result, str):
        return f"**{result}**"
    shown = f"{result[0]} / {result[1]}"
    return shown if result[:2] == truth else f"**{shown}**"


def table() -> str:
    """Run everything and return the Markdown."""
    lines = ["| fault | truth | " + " | ".join(TOOLS) + " |", "|---" * (len(TOOLS) + 2) + "|"]
    for fault in FAULTS:
        results = [reading(fault, tool) for tool in TOOLS]
        truth = next(result[2:] for result in results if not isinstance(result, str))
        cells = [f"{truth[0]} / {truth[1]}", *(cell(result, truth) for result in results)]
        lines.append(f"| {(fault.__doc__ or '').rstrip('.')} | " + " | ".join(cells) + " |")
    names = ("sqlalchemy", "opentelemetry-instrumentation-sqlalchemy", "sqlalchemy-collectd")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return "\n".join([*lines, "", f"Used / idle; bold is wrong. Python {platform.python_version()}, {versions}."])


if __name__ == "__main__":
    if sys.argv[1:]:
        run_one(*sys.argv[1:])
    else:
        print(table())
