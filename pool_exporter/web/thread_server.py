"""start_http_server(): the pages of `make_wsgi_app` on a port of their own, answered by threads of this process.

The threads answer while the application's event loop is blocked, and do not keep the process from ending. A forked
child has no server, and closes the sockets that it inherits. Nothing here may decide what is on a page or how HTTP is
read; no error of a request reaches the application.
"""

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from errno import EACCES, EADDRNOTAVAIL
from typing import Final, final

from pool_exporter.environment import DEFAULT_PORT, PORT_MAX, Environment, address_text
from pool_exporter.metrics.snapshot import Source
from pool_exporter.runtime.argument_checks import check_source
from pool_exporter.web.holders_access import Access, is_local_listener
from pool_exporter.web.notices.fork_hooks import ForkHook
from pool_exporter.web.notices.fork_notice import ForkNotice
from pool_exporter.web.status.own_process import own_source, statuses_for
from pool_exporter.web.wsgi_app import WSGIApp, WsgiPages
from pool_exporter.web.wsgi_server import CONNECTIONS_MAX, LimitedServer, hang_up

CLOSE_SECONDS: Final = 1.0
"""How long close() waits for the threads."""
RETRY_SECONDS: Final = 1.0
"""How long a server waits before it tries again to listen on a port that was taken."""

_WITHOUT_DIRECTORY: Final = (
    "give each process a port of its own, or set POOL_EXPORTER_DIR, and one server shows all processes"
)
_OF_DIRECTORY: Final = (
    "if another process that has the same POOL_EXPORTER_DIR listens there, its page shows this process too; else "
    "choose another port"
)
_WITHOUT_THREAD: Final = "nothing tries again; call start_http_server() again when the system allows a further thread"

_log = logging.getLogger("pool_exporter")


def start_http_server(
    port: int = DEFAULT_PORT, addr: str = "127.0.0.1", source: Source | None = None
) -> "MetricsServer":
    """Serve the pages of `make_wsgi_app` from threads of this process.

    On a loopback address, which is the default, page and JSON show what holds the connections, to requests with
    a `Host` of `localhost` or a loopback address. On other addresses they do not: mount `make_wsgi_app(diagnosis=True)`
    for that, behind what protects it.

    Call it in each worker, after the fork. If the port is taken, a WARNING is logged and the server's `port` is None;
    as soon as the port is free, as when the worker that had it has ended, this process listens there.

    Args:
        port: The port, or 0 for any that is free.
        addr: An IPv4 or IPv6 address or a host name; "" is every address.
        source: Returns the snapshot of each answer, by default that of this process.

    Returns:
        The running server, which `close()` ends.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: The port is not from 0 to 65535.
        OSError: The address is not one of this machine, or this user may not listen on the port.

    Example:
        >>> server = pool_exporter.start_http_server(10042)
    """
    _check_arguments(port, addr, source)
    environment = Environment.lenient()
    shown, statuses = source or ForkNotice(own_source()), statuses_for(source, environment)

    def pages(listening: socket.socket) -> WSGIApp:
        if source is None:
            _note_server()
        return WsgiPages(shown, statuses, access=Access(is_local=is_local_listener(listening)))

    server = MetricsServer(addr, port, pages)
    try:
        server.start()
    except (OSError, RuntimeError) as error:
        reason = _why_not_now(error, addr, port)
        until = "until it can, this process serves no metrics"
        advice = _OF_DIRECTORY if environment.directory else _WITHOUT_DIRECTORY
        if not server.start_when_free():
            until, advice = "this process serves no metrics", _WITHOUT_THREAD
        _log.warning("cannot listen on %s: %s; %s: %s", address_text(addr, port), reason, until, advice)
    return server


def _why_not_now(error: OSError | RuntimeError, addr: str, port: int) -> object:
    """Return why the server cannot listen now; raise the error if it never can."""
    reason: object = error  # A RuntimeError: no thread can be started.
    if isinstance(error, OSError):
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        if isinstance(error, socket.gaierror) or error.errno in (EACCES, EADDRNOTAVAIL):
            instead = f"cannot listen on {address_text(addr, port)}: {reason}; choose another address or port"
            raise type(error)(error.errno, instead) from error
    return reason


def _note_server() -> None:
    """Let a child that this process forks warn that this server does not show it. Imported when called."""
    from pool_exporter.runtime.registry import registry

    registry.unseen_child.note_server()


def _check_arguments(port: object, addr: object, source: object) -> None:
    check_source(source)
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port must be a whole number such as {DEFAULT_PORT}, not {type(port).__name__}")
    if not 0 <= port <= PORT_MAX:
        raise ValueError(f"port must be from 0 to {PORT_MAX}, not {port}")
    if not isinstance(addr, str):
        raise TypeError(f'addr must be text, "" for every address, not {type(addr).__name__}')


@final
class MetricsServer:
    """A running server, and a context manager that closes it. It goes on when the last reference is dropped.

    Attributes:
        addr: The address on which it listens.
        port: The port on which it listens; None if it could not.
        url: The URL of the status page; "" if it could not listen.
    """

    def __init__(self, addr: str, port: int, pages: Callable[[socket.socket], WSGIApp]) -> None:
        """Prepare to listen; *pages* makes the application for the socket on which the server listens."""
        self.addr, self.url, self.is_closed = addr, "", False
        self.port: int | None = None
        self._wanted, self._pages = port, pages
        self._server: LimitedServer | None = None
        self._thread: threading.Thread | None = None
        self._changing, self._has_closed = threading.Lock(), threading.Event()

    def start(self) -> None:
        """Listen, and answer from a thread.

        Raises:
            OSError: The port is taken, or the address is none of this machine.
            RuntimeError: No thread can be started.
        """
        listening = _listen(self.addr, self._wanted)
        with self._changing:
            if self.is_closed:
                listening.close()
            else:
                self._start(LimitedServer(listening, self._pages(listening)))

    def start_when_free(self) -> bool:
        """Have a thread try again until the port is free; return False where no thread can be started."""
        _servers.add(self)
        waiting = threading.Thread(target=self._retry, name=f"pool_exporter:{self._wanted} waits", daemon=True)
        with suppress(RuntimeError):
            waiting.start()
            self._thread = waiting
        return self._thread is not None

    def _retry(self) -> None:
        while not self._has_closed.wait(RETRY_SECONDS):
            with suppress(OSError, RuntimeError):
                self.start()
                _log.info("%r can listen now", self)
                return

    def _start(self, server: LimitedServer) -> None:
        server.timeout = None if sys.platform == "linux" else 0.5  # On Linux, hang_up() wakes the thread.
        name = f"pool_exporter:{server.server_port}"
        thread = threading.Thread(target=self._serve, args=(server,), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            server.socket.close()
            raise
        self._server, self._thread = server, thread
        self.addr, self.port = server.server_name, server.server_port
        self.url = f"http://{address_text(self.addr, self.port)}/"
        _servers.add(self)

    def __repr__(self) -> str:
        return f"<MetricsServer {self.url or 'not listening'}{' closed' if self.url and self.is_closed else ''}>"

    def close(self) -> None:
        """Free the port, end the connections and wait for the threads. Closing twice does nothing."""
        if self.is_closed:
            return
        with self._changing:
            server = self._server
            self.is_closed, end = True, time.monotonic() + CLOSE_SECONDS
            self._has_closed.set()
        if server is not None:
            hang_up(server.socket)
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
        if server is None:
            return
        server.socket.close()
        for thread, client in server.connections.items():
            hang_up(client)
            thread.join(max(0.0, end - time.monotonic()))

    def __enter__(self) -> "MetricsServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def forget(self) -> None:
        """Close, in a forked child, the copies of the parent's sockets; the parent's threads are not in the child."""
        self.is_closed, self._changing = True, threading.Lock()
        sockets = [] if self._server is None else [self._server.socket, *self._server.connections.values()]
        for each in sockets:
            if (descriptor := each.detach()) >= 0:
                os.close(descriptor)

    def _serve(self, server: LimitedServer) -> None:
        while not self.is_closed:
            server.handle_request()


def _listen(addr: str, port: int) -> socket.socket:
    kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
    family, _, _, _, address = socket.getaddrinfo(addr or None, port, type=kind, flags=flags)[0]
    is_dual = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    return socket.create_server(address, family=family, backlog=CONNECTIONS_MAX, dualstack_ipv6=is_dual)


_servers = ForkHook(MetricsServer.forget, in_child=True)
