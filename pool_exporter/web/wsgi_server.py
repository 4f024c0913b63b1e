"""The standard library's WSGI server with limits: connections, and bytes and seconds of a request.

A connection is one request in a daemon thread of its own. When all connections are taken, the oldest one that has sent
no request is closed. `http.server` parses and `wsgiref` answers; this module adds the limits, and keeps versions and
tracebacks out of answers and stderr. Nothing here may know what the app answers.
"""

import io
import logging
import re
import socket
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from errno import EINVAL
from socketserver import BaseServer, ThreadingMixIn
from typing import Final, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from pool_exporter.web.wsgi_app import WSGIApp

CONNECTIONS_MAX: Final = 16
REQUEST_BYTES_MAX: Final = 65536  # Of the request line and the headers together.
REQUEST_SECONDS: Final = 5.0  # From a connection's start to the end of its headers.
SEND_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.1  # After a connection could not be accepted.

_BUSY: Final = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 21\r\n\r\ntoo many connections\n"
_END: Final = re.compile(rb"\n\r?\n")
_SERVER: Final = ("Server", "pool_exporter")

_log = logging.getLogger("pool_exporter")


class LimitedServer(ThreadingMixIn, WSGIServer):
    """Answers connections to *listening* by *app*, while `handle_request` is called in one thread."""

    def __init__(self, listening: socket.socket, app: WSGIApp) -> None:
        # WSGIServer's constructor would make a second socket, and ask DNS for this machine's name.
        BaseServer.__init__(self, listening.getsockname(), WSGIRequestHandler)
        self.socket = listening
        self.server_name, self.server_port = listening.getsockname()[:2]
        self.setup_environ()
        # wsgiref would send a Server header with its version and Python's.
        self.set_app(lambda env, start: app(env, lambda status, headers: start(status, [*headers, _SERVER])))
        self.connections: dict[threading.Thread, socket.socket] = {}  # Changed by the thread of handle_request only.
        self._silent: OrderedDict[socket.socket, None] = OrderedDict()  # Have sent no request; the oldest first.

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection."""
        try:
            return self.socket.accept()
        except OSError as error:
            if error.errno != EINVAL:  # EINVAL: hang_up() was called on the listening socket.
                # Most likely no descriptor is left. The connection stays in the queue: no busy loop until one is free.
                time.sleep(PAUSE_SECONDS)
            raise

    def process_request(self, request: object, client_address: object) -> None:
        """Answer a connection in a thread of its own; if there are too many, close the oldest silent one."""
        client = cast("socket.socket", request)
        self.connections = {thread: each for thread, each in self.connections.items() if thread.is_alive()}
        try:
            if len(self.connections) >= CONNECTIONS_MAX:
                hang_up(self._silent.popitem(last=False)[0])
            name, work = f"pool_exporter:{self.server_port} connection", (client, client_address)
            thread = threading.Thread(target=self.process_request_thread, args=work, name=name, daemon=True)
            self._silent[client] = None
            thread.start()
            self.connections[thread] = client
        except (KeyError, RuntimeError):  # None is silent, or no thread can be started.
            self._silent.pop(client, None)
            client.settimeout(0)
            client.send(_BUSY)
            raise

    def finish_request(self, request: object, client_address: object) -> None:
        """Read the request of a connection and answer it."""
        client = cast("socket.socket", request)
        try:
            head = _read_head(client)
        finally:
            self._silent.pop(client, None)
        _RequestHandler(client, client_address, self, head)

    def handle_error(self, *_: object) -> None:
        """Log why a connection failed: most likely the client has gone, or is too slow."""
        _log.debug("a connection failed", exc_info=True)


def hang_up(connection: socket.socket) -> None:
    """Wake the threads that read from a socket, write to it or accept from it; they close it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _read_head(client: socket.socket) -> bytes:
    """Return what arrives up to the end of the headers, of the stream, or of REQUEST_BYTES_MAX.

    Raises:
        OSError: The client has gone; TimeoutError if REQUEST_SECONDS have passed, however many bytes have arrived.
    """
    head, deadline = b"", time.monotonic() + REQUEST_SECONDS
    while len(head) <= REQUEST_BYTES_MAX and not _END.search(head):
        client.settimeout(max(0.001, deadline - time.monotonic()))
        part = client.recv(REQUEST_BYTES_MAX + 2 - len(head))
        if not part:
            break
        head += part
    return head


class _RequestHandler(WSGIRequestHandler):
    """Answers the request with the line and headers *head*; then the connection can be closed."""

    default_request_version = "HTTP/1.0"  # What cannot be parsed is answered with a status line too.
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"
    disable_nagle_algorithm = True  # wsgiref sends headers and body one by one; the body must not wait for an ACK.

    def __init__(self, client: socket.socket, address: object, server: WSGIServer, head: bytes) -> None:
        client.settimeout(SEND_SECONDS)
        self._head = head
        super().__init__(client, address, server)

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BytesIO(self._head)

    def parse_request(self) -> bool:
        """Parse the head; send what is wrong with it, and return False, if it is no request of HTTP/1."""
        if not super().parse_request():
            return False
        if len(self._head) > REQUEST_BYTES_MAX:
            self.send_error(431)
        elif len(self.requestline.split()) < 3:  # noqa: PLR2004  # method, path and version; HTTP/0.9 has no version
            self.send_error(505)
        else:
            return True
        return False

    def get_stderr(self) -> io.StringIO:
        """Return where wsgiref is to write a traceback, as when the client reads too slowly."""
        return io.StringIO()

    def version_string(self) -> str:
        return "pool_exporter"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in http.server
        _log.debug(format, *args)
