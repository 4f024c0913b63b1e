"""The sidecar: serves the workers of a shared directory, alone in its process, until a signal comes.

It reads what the workers wrote, so it answers while they are frozen or dead. Nothing here may import SQLAlchemy, know
what is in a worker's file (workers.py), or look at the command line (serve.py).
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn
from starlette.types import ASGIApp
from typing_extensions import override

from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.sidecar import listen_addresses
from pool_exporter.sidecar.connection_limits import HEADER_BYTES_MAX, KEEP_ALIVE_SECONDS, ConnectionLimiter
from pool_exporter.sidecar.request_checks import AuthMiddleware, TimeoutMiddleware
from pool_exporter.sidecar.webconfig.basic_auth import BasicAuth
from pool_exporter.sidecar.webconfig.reload import ReloadedConfig
from pool_exporter.web.asgi_app import make_asgi_app
from pool_exporter.workers.directory_snapshot import DirectoryReader

if TYPE_CHECKING:
    from pool_exporter.otel.otlp_push import OtlpPush
    from pool_exporter.probe.probes import Probes

    MakePusher = Callable[[Callable[[], Snapshot]], OtlpPush | None]

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_log = logging.getLogger("pool_exporter")


@dataclass(frozen=True, slots=True)
class SidecarOptions:
    """What a sidecar is told. Addresses are as `addresses.parse` takes them; without any, systemd passes sockets."""

    directory: Path
    addresses: Sequence[str]
    metrics: str = "/metrics"
    per_worker: bool = False
    config_file: Path | None = None


class Source:
    """What the pages show: the directory's workers, and the sidecar itself. `is_busy` while it reads."""

    def __init__(self, workers: DirectoryReader, config: ReloadedConfig, probes: "Probes | None" = None) -> None:
        self.is_busy = False
        self._workers = workers
        self._config = config
        self._probes = probes

    def __call__(self) -> Snapshot:
        """Take a snapshot. Raises OSError when the directory cannot be read."""
        self.is_busy = True
        try:
            snapshot = replace(self._workers(), web_config_stale=int(self._config.is_stale))
            return snapshot if self._probes is None else self._probes.joined(snapshot)
        finally:
            self.is_busy = False


class _Server(uvicorn.Server):
    """uvicorn's server, with ConnectionLimiter instead of its own accept loop."""

    def __init__(self, app: ASGIApp, listeners: Sequence[socket.socket], config: ReloadedConfig) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                workers=1,  # Otherwise WEB_CONCURRENCY is read.
                lifespan="off",
                log_config=None,
                access_log=_log.isEnabledFor(logging.DEBUG),
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=int(KEEP_ALIVE_SECONDS)
                * 2,  # Later than ours, which knows whether an answer was read.
                h11_max_incomplete_event_size=HEADER_BYTES_MAX,
            )
        )
        self._listeners = listeners
        self._file = config
        self._limiter: ConnectionLimiter | None = None

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._limiter = ConnectionLimiter(self.config, self.server_state, self._file.current)
        self._limiter.start(self._listeners)
        self.started = True
        has_tls = self._file.current().context is not None
        for listener in self._listeners:
            _log.info("listening", extra={"fields": {"address": listen_addresses.name_of(listener), "tls": has_tls}})

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._limiter is not None:
            await self._limiter.close()


def serve(options: SidecarOptions, probes: "Probes | None" = None, push: "MakePusher | None" = None) -> None:
    """Serve, and *push* if that is asked for, until SIGINT or SIGTERM.

    Raises SettingsError when an address, the config file or the collector's URL cannot be used.
    """
    config = ReloadedConfig(options.config_file)
    source = Source(
        DirectoryReader(options.directory, per_worker=options.per_worker, for_servers=probes is not None),
        config,
        probes,
    )
    pusher = None if push is None else push(source)
    passwords = BasicAuth()
    shown = source if pusher is None else pusher.source
    app = AuthMiddleware(TimeoutMiddleware(make_asgi_app(shown, options.metrics)), config.current, passwords)
    with ExitStack() as stack:
        if options.addresses:
            listeners = stack.enter_context(listen_addresses.listening(options.addresses))
        else:
            listeners = [stack.enter_context(each) for each in listen_addresses.passed_by_systemd(os.environ)]
        server = _Server(app, listeners, config)
        for number in SIGNALS:  # Before the server does it itself, and for when it raises them again at its end.
            signal.signal(number, server.handle_exit)
        if not options.directory.is_dir():
            _log.warning("the directory is not there yet", extra={"fields": {"directory": options.directory}})
        if probes is not None:
            probes.start()
        with pusher or nullcontext():
            asyncio.run(server.serve())
        has_ended = probes is None or probes.close()
    _log.info("ended")
    if source.is_busy or passwords.is_busy or not has_ended:
        # Python would wait for the thread, which may stand still in a file system that does.
        logging.shutdown()
        os._exit(0)
