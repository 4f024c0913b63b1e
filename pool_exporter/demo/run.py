"""Runs the demo: the service on its port, the load and the scenes, and removes everything at the end.

A context manager starts each part and ends it, in the reverse order, however the demo ends: after its duration, by an
error, or by SIGINT or SIGTERM, which cancel the demo's task. Nothing here may know what a scene does.
"""

import asyncio
import errno
import gc
import logging
import signal
import socket
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import SAWarning
from typing_extensions import override

from pool_exporter.demo import fleet
from pool_exporter.demo.database import Database, fault
from pool_exporter.demo.database_settings import DatabaseSettings
from pool_exporter.demo.load import Load, sign_up
from pool_exporter.demo.output import json_lines, terminal
from pool_exporter.demo.report_printer import printed
from pool_exporter.demo.rounds import Rounds, say
from pool_exporter.demo.scenes import Stage, play_calm
from pool_exporter.demo.service import create_app
from pool_exporter.demo.telemetry import pushed
from pool_exporter.errors import Problem, SettingsError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
START_SECONDS_MAX = 10.0
STOP_SECONDS_MAX = 2.0
USUAL_SECONDS = 4.0
"""How long there are few clients before a scene that is played alone. Reports compare with what was usual before: after
the users' sign-up alone, which takes milliseconds, a burst of ordinary reports seems to be slow queries."""
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # keys of a table


@dataclass(frozen=True)
class DemoOptions:
    """The arguments of `pool-exporter demo`.

    Attributes:
        host: The address to listen on.
        port: The port to listen on; 0 for any free one.
        duration_seconds: How long one round of scenes takes; None plays rounds until a signal comes.
        scene: The only scene to play; None for all.
        workers: How many worker processes run the service; with 0 it runs in this process.
        has_sidecar: Whether a sidecar runs, on the next port.
        otlp: The URL of an OpenTelemetry collector to push to.
        is_json: Whether the output is for programs.
        environ: The environment, for the push and for the processes that are started.
    """

    host: str
    port: int
    duration_seconds: float | None = None
    scene: str | None = None
    workers: int = 0
    has_sidecar: bool = False
    otlp: str | None = None
    is_json: bool = False
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def texts(self) -> json_lines.Texts:
        """The texts that are printed."""
        return json_lines if self.is_json else terminal


def run(options: DemoOptions, settings: DatabaseSettings) -> None:
    """Run the demo until its duration is over, or until SIGINT or SIGTERM.

    Raises:
        SettingsError: The demo cannot run with these options, or with the settings of the environment.
    """
    with expected_errors_unlogged():
        asyncio.run(until_signal(_demo(options, settings)))


@contextmanager
def expected_errors_unlogged() -> Iterator[None]:
    """Keep SQLAlchemy from logging the errors that scenes cause on purpose; the scene's output has their number."""
    log = logging.getLogger("sqlalchemy.pool")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The garbage collector is trying to clean up", SAWarning)
            yield
    finally:
        log.setLevel(level)


async def until_signal(demo: Coroutine[None, None, None]) -> None:
    """Run *demo* until it ends, or is cancelled by SIGINT or SIGTERM."""
    task, loop = asyncio.ensure_future(demo), asyncio.get_running_loop()

    def stop() -> None:
        task.cancel()
        # Drivers would log that their connections have ended.
        loop.set_exception_handler(lambda *_: None)
        # The end takes seconds at most; a second signal would leave tables behind.
        for number in SIGNALS:
            loop.add_signal_handler(number, lambda: None)

    for number in SIGNALS:
        loop.add_signal_handler(number, stop)
    threads = set(threading.enumerate())
    try:
        with suppress(asyncio.CancelledError):
            await task
    finally:
        await _connections_ended(threads)


async def _connections_ended(others: set[threading.Thread]) -> None:
    """Wait for the threads of aiosqlite's connections, which have the default name of threads.

    A thread that outlives the event loop prints a traceback when its connection ends.
    """
    now = asyncio.get_running_loop().time
    end = now() + STOP_SECONDS_MAX
    while now() < end and any(  # noqa: ASYNC110  # a thread that ends sets no event
        thread.name.startswith("Thread-") for thread in {*threading.enumerate()} - others
    ):
        await asyncio.sleep(0.01)


async def begin(stage: Stage, scene: str | None) -> None:
    """Play what is usual before a *scene* that is played alone; a round of all scenes begins with it."""
    if scene is not None:
        await play_calm(stage, USUAL_SECONDS)


async def _demo(options: DemoOptions, settings: DatabaseSettings) -> None:
    texts = options.texts
    async with AsyncExitStack() as stack:
        stack.enter_context(printed(lambda text: say(texts.report(text))))
        listener = stack.enter_context(_listening(options.host, options.port))
        directory = stack.enter_context(TemporaryDirectory(prefix="pool-exporter-demo-"))
        database = Database.choose(settings, Path(directory))
        rounds = Rounds.of(options.scene, options.duration_seconds, database)
        app = create_app(database.engine())
        await stack.enter_async_context(pushed(app.state.engine, options.otlp, options.environ))
        await stack.enter_async_context(started(app, database))
        address, source = _address(listener), app.state.monitor
        more = texts.pushed(options.otlp) if options.otlp else ""
        if options.workers or options.has_sidecar:
            source = await stack.enter_async_context(_fleet(options, database, listener))
            more += texts.fleet(source.pids, source.directory, source.sidecar)
        else:
            await stack.enter_async_context(served(app, listener))
        load = await stack.enter_async_context(Load(address))
        pool = source.snapshot()
        say(texts.banner(address, database.url, pool, more))
        await sign_up(load)
        monitor = None if isinstance(source, fleet.Fleet) else source
        stage = Stage.of(load, pool.max, database.end_connections)
        await begin(stage, options.scene)
        await rounds.play(stage, source, monitor, texts)


def _fleet(
    options: DemoOptions, database: Database, listener: socket.socket
) -> "AbstractAsyncContextManager[fleet.Fleet]":
    sidecar = (options.host, options.port and options.port + 1) if options.has_sidecar else None
    return fleet.running(database, listener, max(1, options.workers), sidecar, options.environ)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Open the port before anything else is started, so that no other process takes it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(Problem("--port", str(port), f"is in use on {host}; choose another port")) from error
        raise SettingsError(Problem("--host", host, f"port {port} cannot be opened: {_reason(error)}")) from error
    with listener:
        yield listener


def _reason(error: OSError) -> str:
    """Return the system's text, without the address that Python adds."""
    return (error.strerror or str(error)).partition(" (")[0]


def _address(listener: socket.socket) -> str:
    """Return the URL of a listening socket on this machine."""
    host, port = listener.getsockname()[:2]
    host = WILDCARDS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@asynccontextmanager
async def started(app: FastAPI, database: Database) -> AsyncIterator[None]:
    """Run the service's lifespan, and at the end remove its tables from a database of the user.

    uvicorn could run the lifespan too, but prints a traceback if the database cannot be reached.
    """
    lifespan = app.router.lifespan_context(app)
    try:
        await asyncio.wait_for(lifespan.__aenter__(), START_SECONDS_MAX)
    except Exception as error:
        if database.is_own:
            raise
        raise SettingsError(Problem("DATABASE_URL", str(database.url), f"cannot be used: {fault(error)}")) from error
    try:
        yield
    finally:
        await _in_time("closing the connections", lifespan.__aexit__(None, None, None))
        if not database.is_own:
            await _in_time("removing the tables pool_exporter_demo_*", database.drop_tables())


async def _in_time(what: str, work: Coroutine[None, None, object]) -> None:
    """Do a part of the clean-up; if it fails or takes too long, print that and return."""
    try:
        await asyncio.wait_for(work, STOP_SECONDS_MAX)
    except Exception as error:  # noqa: BLE001  # drivers raise anything
        print(f"pool-exporter demo: {what} failed: {type(error).__name__}", file=sys.stderr)


class _Server(uvicorn.Server):
    """A server without signal handlers: the demo has its own."""

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: FastAPI, listener: socket.socket) -> AsyncIterator[None]:
    """Serve the app on *listener*, without its lifespan."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=0,  # Its clients have ended by then.
    )
    server, others = _Server(config), asyncio.all_tasks()
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        # A leaked connection may hold locks until it is collected, and its driver needs time to close it.
        gc.collect()
        # uvicorn would log each request that it cancels.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        server.should_exit = True
        await serving
        # A task that closes a connection must not be cancelled a second time: some drivers never end then.
        if begun := asyncio.all_tasks() - others:
            await asyncio.wait(begun, timeout=STOP_SECONDS_MAX)
