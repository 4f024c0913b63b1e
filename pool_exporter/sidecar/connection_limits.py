"""Limits on the client connections of the sidecar's server: uvicorn's HTTP protocol with timeouts, and an accept loop.

uvicorn limits neither how long a client takes to send a request nor how long it takes to read the response.
`LimitedProtocol` has a timeout for each, and disconnects a client that does not read its response within
`RESPONSE_SECONDS`. `ConnectionLimiter` accepts connections and serves at most `CONNECTIONS_MAX` at once. For a further
connection it closes the oldest idle one: one that sends nothing, sends slowly, or waits between two requests. If none
is idle, the new connection waits a moment, in the order of arrival, before it is refused. Nothing here may know what is
on a page.
"""

import asyncio
import logging
import socket
import ssl
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Final

from typing_extensions import override
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from pool_exporter.sidecar.webconfig.reload import Loaded
from pool_exporter.sidecar.webconfig.tls import has_allowed_name
from pool_exporter.web.holders_access import STATE_KEY, Access, is_local_listener

CONNECTIONS_MAX: Final = 32
REQUEST_SECONDS: Final = 5.0
"""The TLS handshake may take this long, and so may the headers: from the start of the connection, or from the first
byte of a further request, to their end."""
RESPONSE_SECONDS: Final = 60.0
"""How long it may take to make and read the response, after the end of the headers."""
KEEP_ALIVE_SECONDS: Final = 120.0
"""How long a connection may wait between a response and the next request: a scraper sends one each minute or so."""
ACCEPT_RETRY_SECONDS: Final = 0.1
"""How long no connection is accepted after accepting one has failed."""
NEW_SECONDS: Final = 0.1
"""How long a connection is not closed for another one: its first request is on its way."""
PLACE_SECONDS: Final = 1.0
"""How long a further connection waits until one of the others ends."""
WAITING_MAX: Final = 64
HEADER_BYTES_MAX: Final = 16 * 1024

CLOSE_SECONDS: Final = 0.5
"""How long `ConnectionLimiter.close` waits for responses that are being made."""

_BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 21\r\nConnection: close\r\n\r\ntoo many connections\n"
)

_log = logging.getLogger("pool_exporter")


class LimitedProtocol(H11Protocol):
    """One client connection, from before its TLS handshake to its end. Used by the event loop's thread only.

    Args:
        config: uvicorn's configuration.
        state: uvicorn's state of the server.
        names: A client's certificate must have one of these names; None if it needs none.
        on_closed: Called when the connection has ended.
    """

    def __init__(self, config: Config, state: ServerState, names: Sequence[str] | None, on_closed: "OnClosed") -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self._names = names
        self._on_closed = on_closed
        self._accepted = self.loop.time()
        self._is_connected = self.is_responding = self._is_between_requests = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no response is being made, sent or read: closing the connection loses none."""
        return not self.is_responding and not self._unread_bytes()

    @property
    def is_new(self) -> bool:
        """Whether the connection was accepted less than NEW_SECONDS ago."""
        return self.loop.time() - self._accepted < NEW_SECONDS

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._is_connected = True
        self._set_timeout(REQUEST_SECONDS, self.abort)
        is_allowed = False
        try:
            tls = transport.get_extra_info("ssl_object")
            is_allowed = self._names is None or has_allowed_name(tls.getpeercert(), self._names)
        finally:
            if not is_allowed:
                _log.warning("connection closed: the client's certificate has no name of client_allowed_sans")
                self.abort()

    @override
    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return  # Received before the connection was aborted.
        if self._is_between_requests:
            self._is_between_requests = False
            self._set_timeout(REQUEST_SECONDS, self.abort)
        before = self.cycle
        super().data_received(data)
        self._start_response_timeout(before)

    @override
    def on_response_complete(self) -> None:
        before, self.is_responding, self._is_between_requests = self.cycle, False, True
        super().on_response_complete()
        self._start_response_timeout(before)  # A pipelined request starts here and not in data_received.

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()
        self._on_closed(self)

    def abort(self) -> None:
        """Close the connection now and discard what is not sent yet."""
        if self._is_connected:
            self.transport.abort()

    def _start_response_timeout(self, before: object) -> None:
        """Start the response timeout if uvicorn has begun a new request since *before*."""
        if self.cycle is not before:
            self.is_responding, self._is_between_requests = True, False
            self._set_timeout(RESPONSE_SECONDS, self._end_response)

    def _end_response(self) -> None:
        if self._is_between_requests and not self._unread_bytes():
            self._set_timeout(KEEP_ALIVE_SECONDS, self.abort)
        else:
            self.abort()

    def _set_timeout(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, then)

    def _unread_bytes(self) -> int:
        """Return how many bytes of responses the client's kernel has not acknowledged.

        asyncio does not know it: its own buffer is empty once the kernel has the bytes, and with TLS even before.
        """
        unread = array("i", [0])
        client = self.transport.get_extra_info("socket") if self._is_connected else None
        if client is not None:  # With TLS, asyncio has no socket any more one turn before connection_lost().
            with suppress(OSError, ValueError):  # The socket may be closed.
                ioctl(client.fileno(), TIOCOUTQ, unread)
        return unread[0]


OnClosed = Callable[[LimitedProtocol], None]


class ConnectionLimiter:
    """Accepts client connections on all listening sockets. Used by the event loop's thread only.

    Args:
        config: uvicorn's configuration.
        state: uvicorn's state of the server.
        current: Returns the web configuration for the next connection.
    """

    def __init__(self, config: Config, state: ServerState, current: Callable[[], Loaded]) -> None:
        self._config = config
        self._state = state
        self._current = current
        self._loop = asyncio.get_running_loop()
        self._is_empty = asyncio.Event()
        self._accept_loops: list[asyncio.Task[None]] = []
        # Oldest first, each with the task that makes its TLS handshake.
        self._connections: dict[LimitedProtocol, asyncio.Task[None]] = {}
        # Connections that wait to be served, oldest first, whether each is local, and the timer that refuses it.
        self._waiting: deque[tuple[socket.socket, bool, asyncio.TimerHandle]] = deque()

    def start(self, listening_sockets: Sequence[socket.socket]) -> None:
        """Accept connections from now on."""
        for listening_socket in listening_sockets:
            listening_socket.setblocking(False)  # noqa: FBT003  # the socket's own signature
            self._accept_loops.append(self._loop.create_task(self._accept_loop(listening_socket)))

    async def close(self) -> None:
        """Accept no more connections, wait up to CLOSE_SECONDS for responses that are being made, and close all."""
        for accept_loop in self._accept_loops:
            accept_loop.cancel()
        while self._waiting:
            self._refuse_oldest_waiting()
        for protocol in list(self._connections):
            if protocol.is_idle:
                self._disconnect(protocol)
            elif protocol.is_responding:
                protocol.shutdown()  # It closes the connection after the response.
        if self._connections:
            self._is_empty.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._is_empty.wait(), CLOSE_SECONDS)
        for protocol in list(self._connections):
            self._disconnect(protocol)
        await asyncio.sleep(0)

    async def _accept_loop(self, listening_socket: socket.socket) -> None:
        while True:
            if not await self._accept(listening_socket):
                await asyncio.sleep(ACCEPT_RETRY_SECONDS)

    async def _accept(self, listening_socket: socket.socket) -> bool:
        """Accept one connection, and return whether that succeeded. Without free descriptors it stays in the queue."""
        try:
            connection, _ = await self._loop.sock_accept(listening_socket)
            self._admit(connection, is_local=is_local_listener(listening_socket))
        except Exception as error:  # noqa: BLE001  # whatever it is, the next connection may be accepted
            _log.warning("a connection could not be accepted: %s", error)
            return False
        return True

    def _admit(self, connection: socket.socket, *, is_local: bool) -> None:
        """Serve a connection now, or when another one has ended, or refuse it."""
        if not self._waiting and self._has_place():
            self._open(connection, is_local=is_local)
        elif len(self._waiting) < WAITING_MAX:
            timer = self._loop.call_later(PLACE_SECONDS, self._refuse_oldest_waiting)
            self._waiting.append((connection, is_local, timer))
            self._loop.call_later(NEW_SECONDS, self._admit_waiting)
        else:
            _refuse(connection)

    def _admit_waiting(self) -> None:
        while self._waiting and self._has_place():
            connection, is_local, timer = self._waiting.popleft()
            timer.cancel()
            self._open(connection, is_local=is_local)

    def _refuse_oldest_waiting(self) -> None:
        connection, _, timer = self._waiting.popleft()
        timer.cancel()
        _refuse(connection)

    def _has_place(self) -> bool:
        return len(self._connections) < CONNECTIONS_MAX or self._evict_oldest_idle()

    def _open(self, connection: socket.socket, *, is_local: bool) -> None:
        if connection.family != socket.AF_UNIX:
            # asyncio does so only for sockets that were made with IPPROTO_TCP, which accepted ones are not. Without it,
            # Linux holds back the last part of a response until the client acknowledges the one before: 40 ms.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loaded = self._current()
        names = loaded.config.tls.client_allowed_sans if loaded.config.tls else None
        # The certificate is verified once, in the handshake, by this config: a changed one has no say in it any more.
        protocol = LimitedProtocol(self._config, self._state, names, self._remove)
        protocol.app_state[STATE_KEY] = Access(is_local, is_protected=loaded.config.verifies_clients)
        self._connections[protocol] = self._loop.create_task(self._connect(protocol, connection, loaded.context))

    def _evict_oldest_idle(self) -> bool:
        old = (protocol for protocol in self._connections if not protocol.is_new)
        idle = next((protocol for protocol in old if protocol.is_idle), None)
        if idle is not None:
            self._disconnect(idle)
        return idle is not None

    async def _connect(
        self, protocol: LimitedProtocol, connection: socket.socket, context: ssl.SSLContext | None
    ) -> None:
        """Make the TLS handshake, if there is a *context*, and hand the connection to its protocol."""
        timeout = None if context is None else REQUEST_SECONDS
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=context, ssl_handshake_timeout=timeout
            )
        except (OSError, asyncio.TimeoutError) as error:
            _log.debug("a connection ended before its first request: %s", error)
            self._remove(protocol)

    def _disconnect(self, protocol: LimitedProtocol) -> None:
        self._connections[protocol].cancel()  # The TLS handshake, if it is not over.
        protocol.abort()
        self._remove(protocol)

    def _remove(self, protocol: LimitedProtocol) -> None:
        self._connections.pop(protocol, None)
        if not self._connections:
            self._is_empty.set()
        if self._waiting:
            self._loop.call_soon(self._admit_waiting)  # Later: the caller may have a connection to serve.


def _refuse(connection: socket.socket) -> None:
    with suppress(OSError), connection:
        connection.setblocking(False)  # noqa: FBT003  # the socket's own signature
        with suppress(BlockingIOError):
            connection.recv(HEADER_BYTES_MAX)  # Closing a socket with unread bytes would discard the response.
        connection.send(_BUSY)
