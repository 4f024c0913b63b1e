"""The sidecar: a process that serves the metrics of a shared directory's workers until it gets a signal.

It reads the workers' files, so it responds while they are frozen or dead. This module does not import SQLAlchemy, and
knows neither the format of the files (workers/) nor the command line (commands/serve.py).
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn
from starlette.types import ASGIApp
from typing_extensions import override

from pool_exporter.environment import Environment
from pool_exporter.metrics.reports.process_report import ProcessReport
from pool_exporter.metrics.snapshot import Snapshot, Source
from pool_exporter.otel.otlp_options import create_push
from pool_exporter.sidecar import listen_addresses
from pool_exporter.sidecar.connection_limits import HEADER_BYTES_MAX, KEEP_ALIVE_SECONDS, ConnectionLimiter
from pool_exporter.sidecar.directory_check import DirectoryCheck
from pool_exporter.sidecar.request_checks import AuthMiddleware, TimeoutMiddleware
from pool_exporter.sidecar.webconfig.basic_auth import BasicAuth
from pool_exporter.sidecar.webconfig.reload import ReloadedConfig
from pool_exporter.version import build
from pool_exporter.web.asgi_app import asgi_pages
from pool_exporter.web.status.source import Knowledge, StatusSource, knowledge_without
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_reader import counting_since
from pool_exporter.workers.reports.directory_reports import DirectoryReports

if TYPE_CHECKING:
    from pool_exporter.otel.otlp_push import PushTarget
    from pool_exporter.probe.probes import Probes

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_log = logging.getLogger("pool_exporter")


@dataclass(frozen=True, slots=True)
class SidecarOptions:
    """What `pool-exporter serve` was given, read and checked.

    Attributes:
        directory: The directory that the workers share.
        config: The web config.
        addresses: Where to listen, as `listen_addresses.parse` reads it.
        passed: Listening sockets that systemd has passed, in addition.
        metrics: The path of the metrics.
        shows_holders: Whether everyone may see what holds the connections.
        per_worker: Whether each worker has series of its own.
        probes: The probes of database servers, not started; None for none.
        push_target: Where to push over OTLP; None for nowhere.
        other_directory: Another directory, which the environment names; it is not read. None without one.
        environment: The other settings of the environment.
    """

    directory: Path
    config: ReloadedConfig
    addresses: Sequence[str] = ()
    passed: Sequence[socket.socket] = ()
    metrics: str = "/metrics"
    shows_holders: bool = False
    per_worker: bool = False
    probes: "Probes | None" = None
    push_target: "PushTarget | None" = None
    other_directory: Path | None = None
    environment: Environment = field(default_factory=Environment)


class SidecarSource:
    """The source of snapshots: the directory's workers and its faults, the sidecar itself and the probes.

    Attributes:
        is_busy: Whether a snapshot is being taken, which may block in the file system.
    """

    def __init__(
        self,
        workers: Callable[[], Snapshot],
        check: DirectoryCheck,
        config: ReloadedConfig,
        probes: "Probes | None" = None,
    ) -> None:
        self.is_busy = False
        self._workers, self._check = workers, check
        self._config = config
        self._probes = probes

    def __call__(self) -> Snapshot:
        """Take a snapshot.

        Raises:
            OSError: The directory cannot be read.
        """
        self.is_busy = True
        try:
            faults = self._check()
            snapshot = replace(self._workers(), faults=faults, web_config_stale=int(self._config.is_stale))
            return snapshot if self._probes is None else self._probes.joined(snapshot)
        finally:
            self.is_busy = False


class PagesSource:
    """The source of the pages' snapshots: where the directory cannot be read, they have its faults and no pool.

    A push has `SidecarSource` itself, and fails meanwhile: a collector must not take a missing pool for an ended one.
    """

    def __init__(self, source: Source, check: DirectoryCheck) -> None:
        self._source, self._check = source, check
        self._last = Snapshot()

    def __call__(self) -> Snapshot:
        """Take a snapshot.

        Raises:
            OSError: The directory cannot be read, for a reason that is none of its faults.
        """
        try:
            self._last = self._source()
        except OSError:
            if not self._check.last.prevents_reading:
                raise
            # The counter of errors must not fall.
            return Snapshot(hook_errors=self._last.hook_errors, build=build(), faults=self._check.last)
        return self._last


class _Server(uvicorn.Server):
    """uvicorn's server, with ConnectionLimiter instead of its own accept loop."""

    def __init__(self, app: ASGIApp, listening_sockets: Sequence[socket.socket], config: ReloadedConfig) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                workers=1,  # Otherwise uvicorn reads WEB_CONCURRENCY.
                lifespan="off",
                log_config=None,
                access_log=_log.isEnabledFor(logging.DEBUG),
                proxy_headers=False,
                server_header=False,
                # Later than the timeout of LimitedProtocol, which knows whether a response was read.
                timeout_keep_alive=int(KEEP_ALIVE_SECONDS) * 2,
                h11_max_incomplete_event_size=HEADER_BYTES_MAX,
            )
        )
        self._listening_sockets = listening_sockets
        self._web_config = config
        self._limiter: ConnectionLimiter | None = None

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._limiter = ConnectionLimiter(self.config, self.server_state, self._web_config.current)
        self._limiter.start(self._listening_sockets)
        self.started = True
        has_tls = self._web_config.current().context is not None
        for listening_socket in self._listening_sockets:
            _log.info(
                "listening", extra={"fields": {"address": listen_addresses.name_of(listening_socket), "tls": has_tls}}
            )

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._limiter is not None:
            await self._limiter.close()


def _reports(options: SidecarOptions, check: DirectoryCheck) -> Callable[[], tuple[ProcessReport, ...]]:
    """Return the source of the reports on the directory's workers: none while it cannot be read."""
    of_directory = DirectoryReports(options.directory)

    def reports() -> tuple[ProcessReport, ...]:
        return () if check.last.prevents_reading else of_directory()

    if options.probes is None:
        return reports
    from pool_exporter.sidecar.server_reports import ServerReports

    return ServerReports(reports, options.probes.targets, shows_sql=options.environment.shows_sql)


def _knowledge(options: SidecarOptions) -> Knowledge:
    """Return what checks the directory's pools."""
    silenced = options.environment.silenced
    if options.probes is None:
        return knowledge_without(silenced)
    from pool_exporter.sidecar.server_checks import ServerChecks

    return Knowledge(ServerChecks(options.probes.targets, silenced=silenced))


def serve(options: SidecarOptions) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        SettingsError: An address cannot be listened on.
    """
    config, probes, passwords = options.config, options.probes, BasicAuth()
    reader = DirectoryReader(
        options.directory,
        per_worker=options.per_worker,
        for_servers=probes is not None,
        file_mode=options.environment.file_mode,
    )
    check = DirectoryCheck(options.directory, options.other_directory)
    source, since = SidecarSource(reader, check, config, probes), partial(counting_since, options.directory)
    push = None if options.push_target is None else create_push(options.push_target, source, options.directory, since)
    shown = PagesSource(source if push is None else push.source, check)
    statuses = StatusSource(_reports(options, check), knowledge=_knowledge(options))
    pages = asgi_pages(shown, statuses, options.metrics, shows_holders=options.shows_holders)
    app = AuthMiddleware(TimeoutMiddleware(pages), config.current, passwords)
    with ExitStack() as stack:
        listening_sockets = [stack.enter_context(each) for each in options.passed]
        listening_sockets += stack.enter_context(listen_addresses.listening(options.addresses))
        server = _Server(app, listening_sockets, config)
        for number in SIGNALS:  # uvicorn does so too late, and at its end raises again the signals that it got.
            signal.signal(number, server.handle_exit)
        if probes is not None:
            probes.start()
        with check.running(), push or nullcontext():
            asyncio.run(server.serve())
        has_ended = probes is None or probes.close()
    _log.info("ended")
    if source.is_busy or passwords.is_busy or not has_ended:
        # Python would wait for the thread, which may be blocked for ever in a file system.
        logging.shutdown()
        os._exit(0)
