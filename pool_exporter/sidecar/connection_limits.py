"""The connections of the sidecar's server: uvicorn's protocol with a time limit on everything, and room for the next.

uvicorn limits neither the time that a client takes to ask nor the time that it takes to read. A `Visit` has both
limits, and `Door`, which lets visits in, has `VISITS_MAX` places. When all are taken, the oldest silent visit makes
room: one that says nothing, says it slowly, or rests between two requests. So nobody who does not ask can keep others
out, and who does not read can only for `ANSWER_SECONDS`.
"""

import asyncio
import logging
import socket
import ssl
from array import array
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

CONNECTIONS_MAX: Final = 32
ASK_SECONDS: Final = 5.0
"""From a connection's start, or a further request's first byte, to the end of the headers; the handshake likewise."""
ANSWER_SECONDS: Final = 60.0
"""From there until the answer is made and has been read."""
REST_SECONDS: Final = 120.0
"""From an answer to the next request: scrapers come back once a minute or more often."""
PAUSE_SECONDS: Final = 0.1
"""How long nobody is let in after somebody could not be."""
HEADER_BYTES_MAX: Final = 16 * 1024

CLOSE_SECONDS: Final = 0.5
"""How long the end waits for answers that are being made."""

_BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 21\r\nConnection: close\r\n\r\ntoo many connections\n"
)

_log = logging.getLogger("pool_exporter")


class LimitedProtocol(H11Protocol):
    """One connection, from before its TLS handshake to its end. Mutable, by the event loop."""

    def __init__(self, config: Config, state: ServerState, names: Sequence[str] | None, leave: "Leave") -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self._names = names
        self._leave = leave
        self._is_connected = self.is_answering = self._is_resting = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_silent(self) -> bool:
        """Whether the client owes something: to ask, or to end."""
        return not self.is_answering and not self._unread()

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._is_connected = True
        self._give(ASK_SECONDS, self.hang_up)
        is_allowed = False
        try:
            tls = transport.get_extra_info("ssl_object")
            is_allowed = self._names is None or has_allowed_name(tls.getpeercert(), self._names)
        finally:
            if not is_allowed:
                _log.warning("a client's certificate has no name of client_allowed_sans")
                self.hang_up()

    @override
    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return  # It came before we hung up.
        if self._is_resting:
            self._is_resting = False
            self._give(ASK_SECONDS, self.hang_up)
        before = self.cycle
        super().data_received(data)
        self._note_request(before)

    @override
    def on_response_complete(self) -> None:
        before, self.is_answering, self._is_resting = self.cycle, False, True
        super().on_response_complete()
        self._note_request(before)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()
        self._leave(self)

    def hang_up(self) -> None:
        """End the connection now, whatever has not been read."""
        if self._is_connected:
            self.transport.abort()

    def _note_request(self, before: object) -> None:
        """Begin to count the answer's time, if a request has come; one may have waited behind the one before."""
        if self.cycle is not before:
            self.is_answering, self._is_resting = True, False
            self._give(ANSWER_SECONDS, self._end_answer)

    def _end_answer(self) -> None:
        if self._is_resting and not self._unread():
            self._give(REST_SECONDS, self.hang_up)
        else:
            self.hang_up()

    def _give(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, then)

    def _unread(self) -> int:
        """Return how much the kernel holds that the client's has not taken; with TLS, asyncio itself does not know."""
        left = array("i", [0])
        if self._is_connected:
            with suppress(OSError, ValueError):  # It may be closed by now.
                ioctl(self.transport.get_extra_info("socket").fileno(), TIOCOUTQ, left)
        return left[0]


Leave = Callable[[LimitedProtocol], None]


class ConnectionLimiter:
    """Lets visits in at all listeners. Mutable, by the event loop: the visits and their handshakes, oldest first."""

    def __init__(self, config: Config, state: ServerState, current: Callable[[], Loaded]) -> None:
        self._config = config
        self._state = state
        self._current = current
        self._loop = asyncio.get_running_loop()
        self._is_empty = asyncio.Event()
        self._posts: list[asyncio.Task[None]] = []
        self._visits: dict[LimitedProtocol, asyncio.Task[None]] = {}

    def open(self, listeners: Sequence[socket.socket]) -> None:
        """Let visits in from now on."""
        for listener in listeners:
            listener.setblocking(False)  # noqa: FBT003  # the socket's own signature
            self._posts.append(self._loop.create_task(self._stand_at(listener)))

    async def close(self) -> None:
        """Let nobody in any more, give answers a moment to be made and read, and hang up."""
        for post in self._posts:
            post.cancel()
        for protocol in list(self._visits):
            if protocol.is_silent:
                self._show_out(protocol)
            elif protocol.is_answering:
                protocol.shutdown()  # After the answer.
        if self._visits:
            self._is_empty.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._is_empty.wait(), CLOSE_SECONDS)
        for protocol in list(self._visits):
            self._show_out(protocol)
        await asyncio.sleep(0)

    async def _stand_at(self, listener: socket.socket) -> None:
        while True:
            if not await self._admit(listener):
                await asyncio.sleep(PAUSE_SECONDS)

    async def _admit(self, listener: socket.socket) -> bool:
        """Let one in; not so, most likely, when descriptors have run out: then it stays in the queue."""
        try:
            connection, _ = await self._loop.sock_accept(listener)
            self._let_in(connection)
        except Exception as error:  # noqa: BLE001  # whatever it is, the next one may come in
            _log.warning("a connection could not be taken: %s", error)
            return False
        return True

    def _let_in(self, connection: socket.socket) -> None:
        if len(self._visits) >= CONNECTIONS_MAX and not self._make_room():
            with suppress(OSError), connection:
                connection.send(_BUSY)
            return
        loaded = self._current()
        names = loaded.config.tls.client_allowed_sans if loaded.config.tls else None
        protocol = LimitedProtocol(self._config, self._state, names, self._forget)
        self._visits[protocol] = self._loop.create_task(self._welcome(protocol, connection, loaded.context))

    def _make_room(self) -> bool:
        silent = next((protocol for protocol in self._visits if protocol.is_silent), None)
        if silent is not None:
            self._show_out(silent)
        return silent is not None

    async def _welcome(
        self, protocol: LimitedProtocol, connection: socket.socket, context: ssl.SSLContext | None
    ) -> None:
        patience = None if context is None else ASK_SECONDS
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=context, ssl_handshake_timeout=patience
            )
        except (OSError, asyncio.TimeoutError) as error:
            _log.debug("a connection has come to nothing: %s", error)
            self._forget(protocol)

    def _show_out(self, protocol: LimitedProtocol) -> None:
        self._visits[protocol].cancel()  # Its handshake, if it is still at that.
        protocol.hang_up()
        self._forget(protocol)

    def _forget(self, protocol: LimitedProtocol) -> None:
        self._visits.pop(protocol, None)
        if not self._visits:
            self._is_empty.set()
