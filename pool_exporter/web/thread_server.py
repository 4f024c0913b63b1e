"""The pages on a port of their own, served by threads of their own: they answer while the event loop is blocked.

Everything has a limit: the connections at a time, the seconds in which a client has to ask and to read, one answer
being made at a time. One connection is one request. What the pages hold is exposition's.

A server is its process' own. A forked child has neither its threads nor its port, and starts one on another port;
port 0 takes any that is free.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler
from selectors import EVENT_READ, PollSelector
from socketserver import BaseServer
from types import TracebackType
from typing import Final, cast, final
from urllib.parse import unquote
from weakref import WeakSet

from pool_exporter.runtime import instrumentation
from pool_exporter.web.responses import Request, Source, respond, takes_snapshot

DEFAULT_PORT: Final = 10042

CONNECTIONS_MAX: Final = 16
ASK_SECONDS: Final = 5.0
"""From a connection's start to the end of its request's headers."""
ANSWER_SECONDS: Final = 60.0
"""From there to its end; Prometheus itself waits for 10 seconds unless it is told otherwise."""
CLOSE_SECONDS: Final = 1.0
"""How long close() waits for answers that are being made."""
PAUSE_SECONDS: Final = 0.1
"""How long no connection is accepted after one could not be."""

_BUSY: Final = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 21\r\n\r\ntoo many connections\n"

_log = logging.getLogger("pool_exporter")


def start_http_server(
    port: int = DEFAULT_PORT, addr: str = "127.0.0.1", source: Source = instrumentation.snapshot
) -> "MetricsServer":
    """Serve the pages of `make_asgi_app` on *addr* and *port*, from threads of their own; return the running server.

    *addr* may be IPv6; "" is every address. Port 0 takes a free one, which the server's `port` tells. *source* gives
    the snapshot of each answer, by default this process'. Raises ValueError for an impossible port, and OSError, with
    its errno, when it is taken or may not be used. Call it after a fork, in each worker with a port of its own.
    """
    if not 0 <= port <= 65535:  # noqa: PLR2004  # the largest there is
        raise ValueError(f"a port is from 0 to 65535, got {port}")
    return MetricsServer(_listen(addr, port), source)


@dataclass(slots=True)
class _Visit:
    """A connection's thread, and when its time is over on the monotonic clock; None: it was, and we have hung up."""

    thread: threading.Thread
    deadline: float | None


@final
class MetricsServer:
    """A server that is running. It is a context manager, which closes it; merely dropping it changes nothing."""

    def __init__(self, listener: socket.socket, source: Source) -> None:
        self.addr: str = listener.getsockname()[0]
        self.port: int = listener.getsockname()[1]
        self.source = source
        #: Held while an answer is made: any number of scrapers at once cost the application what one does.
        self._making = threading.Lock()
        self._listener = listener
        self._bell, self._ear = socket.socketpair()
        #: Only the serving thread adds and removes, so that close() can wait for each thread to its very end.
        self._visits: dict[socket.socket, _Visit] = {}
        self._is_closing = False
        self._thread = threading.Thread(target=self._serve, name=f"pool_exporter:{self.port}", daemon=True)
        _hook_fork()
        _servers.add(self)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<MetricsServer {self.url}{' closed' if self._is_closing else ''}>"

    @property
    def url(self) -> str:
        """Where the landing page is."""
        return f"http://{_place(self.addr, self.port)}/"

    def close(self) -> None:
        """Free the port, end the connections and wait for the threads. Closing twice does nothing."""
        if self._is_closing:
            return
        self._is_closing = True
        self._bell.send(b"!")
        self._thread.join()
        for each in (self._listener, self._bell, self._ear):
            each.close()
        end = time.monotonic() + CLOSE_SECONDS
        for connection, visit in list(self._visits.items()):
            _hang_up(connection)
            visit.thread.join(max(0.0, end - time.monotonic()))

    def __enter__(self) -> "MetricsServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def answering(self, connection: socket.socket, *, alone: bool) -> Iterator[None]:
        """Give a connection that has made its request time for the answer; *alone*: one such connection at a time."""
        self._visits[connection].deadline = time.monotonic() + ANSWER_SECONDS
        if not alone:
            yield
        elif self._making.acquire(timeout=ANSWER_SECONDS):
            try:
                yield
            finally:
                self._making.release()
        else:
            raise TimeoutError("the answers before this one took too long")

    def forget(self) -> None:
        """Give up, in a forked child, what is the parent's: the threads are not here, the sockets are only copies."""
        self._is_closing = True
        for each in (self._listener, self._bell, self._ear, *self._visits):
            descriptor = each.detach()  # What close() does not do while a thread's file on the socket is open.
            if descriptor >= 0:
                os.close(descriptor)

    def _serve(self) -> None:
        with PollSelector() as selector:
            selector.register(self._listener, EVENT_READ)
            selector.register(self._ear, EVENT_READ)
            while not self._is_closing:
                for key, _ in selector.select(self._patience()):
                    if key.fileobj is self._listener:
                        self._drop_ended()
                        self._accept()
                self._hang_up_overdue()

    def _patience(self) -> float | None:
        """Return the seconds until a connection's time is over, None when there is none to wait for."""
        deadlines = [visit.deadline for visit in list(self._visits.values()) if visit.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _accept(self) -> None:
        try:
            connection, client = self._listener.accept()
        except OSError:
            # Out of file descriptors, most likely: the next connection stays ready, and the loop must not spin.
            time.sleep(PAUSE_SECONDS)
            return
        if len(self._visits) >= CONNECTIONS_MAX:
            _turn_away(connection)
            return
        thread = threading.Thread(
            target=self._talk, args=(connection, client), name=f"pool_exporter:{self.port} visit", daemon=True
        )
        self._visits[connection] = _Visit(thread, time.monotonic() + ASK_SECONDS)
        try:
            thread.start()
        except RuntimeError:  # No more threads can be started.
            del self._visits[connection]
            _turn_away(connection)

    def _drop_ended(self) -> None:
        for connection, visit in list(self._visits.items()):
            if not visit.thread.is_alive():
                del self._visits[connection]

    def _hang_up_overdue(self) -> None:
        now = time.monotonic()
        for connection, visit in list(self._visits.items()):
            if visit.deadline is not None and visit.deadline <= now:
                visit.deadline = None
                _hang_up(connection)

    def _talk(self, connection: socket.socket, client: object) -> None:
        try:
            _Handler(connection, client, self)
        except OSError:
            pass  # The client has gone, or its time was over.
        finally:
            self._visits[connection].deadline = None
            _hang_up(connection)
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    """Parses one request and sends one response: HTTP/1.0, so that no connection outlives it."""

    # What cannot be parsed is answered as HTTP/1.0 too, and not as 0.9, which has no status line.
    default_request_version = "HTTP/1.0"
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def __init__(self, connection: socket.socket, client: object, home: MetricsServer) -> None:
        self._home = home
        # A handler needs nothing of socketserver's.
        super().__init__(connection, client, cast("BaseServer", home))

    def __getattr__(self, name: str) -> Callable[[], None]:
        # http.server calls the method do_GET, do_POST and so on; which of them are answered is not decided here.
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        asked = Request(self.command, unquote(path), query, self._header("Accept"), self._header("Accept-Encoding"))
        with self._home.answering(self.request, alone=takes_snapshot(asked.path)):
            answer = respond(asked, self._home.source)
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def _header(self, name: str) -> str:
        return ", ".join(self.headers.get_all(name, []))

    def version_string(self) -> str:
        """Return what the Server header says; not the Python version, which is nobody's business."""
        return "pool_exporter"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # so it is called in http.server
        """Log a request at a level that nobody sees who does not ask for it."""
        _log.debug(format, *args)


def _listen(addr: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            addr or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        is_dual = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, backlog=CONNECTIONS_MAX, dualstack_ipv6=is_dual)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        advice = "choose another address or port (port 0 takes any that is free)"
        raise type(error)(error.errno, f"cannot listen on {_place(addr, port)}: {reason}; {advice}") from error


def _place(addr: str, port: int) -> str:
    return f"[{addr}]:{port}" if ":" in addr else f"{addr}:{port}"


def _hang_up(connection: socket.socket) -> None:
    """Wake whoever reads from or writes to a connection; they close it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _turn_away(connection: socket.socket) -> None:
    with suppress(OSError), connection:
        connection.setblocking(False)  # noqa: FBT003  # the socket's own signature
        connection.send(_BUSY)


_servers: WeakSet[MetricsServer] = WeakSet()


@cache
def _hook_fork() -> None:
    """Have the servers forgotten in every child; once, because it cannot be taken back."""
    os.register_at_fork(after_in_child=_forget_all)


def _forget_all() -> None:
    for server in list(_servers):
        server.forget()
    _servers.clear()
