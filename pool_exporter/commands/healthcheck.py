"""`pool-exporter healthcheck`: request a sidecar's /-/healthy, for Docker's HEALTHCHECK. Standard library only.

A sidecar that responds is healthy, also if it refuses the request: it needs a password or a client certificate, or its
rate limit is reached. The sidecar's certificate is not verified, because nothing secret is sent.
"""

import argparse
import http.client
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from pool_exporter.arguments import DURATION, CheckedValue, at_least_seconds
from pool_exporter.commands.json_output import add_json, write_json
from pool_exporter.environment import DEFAULT_PORT
from pool_exporter.sidecar.listen_addresses import parse

Address: TypeAlias = tuple[str, int] | Path
"""Host and port, or the path of a unix socket."""

NAME: Final = "healthcheck"
HELP: Final = "Check that a sidecar responds: exit code 0 if it does, else 1 and the reason."
ADDRESS: Final = f":{DEFAULT_PORT}"
SECONDS: Final = 3.0
SECONDS_MIN: Final = 0.1

_LOCAL: Final = {"": "localhost", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # addresses that mean all interfaces
_REFUSALS: Final = (401, 429)
_HANDSHAKE: Final = 0x16
_SERVER_HELLO: Final = 0x02
_MESSAGE_TYPE_AT: Final = 5
"""In a TLS record, the index of the byte with the type of the message; that of the record is the first byte."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "address",
        nargs="?",
        metavar="ADDRESS",
        help=f"the sidecar's --web.listen-address (default: {ADDRESS})",
    )
    parser.add_argument(
        "--web.listen-address", dest="listen_address", metavar="ADDRESS", help="the same as ADDRESS, as in serve"
    )
    parser.add_argument(
        "--timeout",
        action=CheckedValue,
        convert=at_least_seconds(SECONDS_MIN),
        default=SECONDS,
        metavar=DURATION,
        help=f"how long to wait for a response (default: {SECONDS:g} s)",
    )
    add_json(parser)


def prepare(arguments: argparse.Namespace, _: Mapping[str, str]) -> Callable[[], None]:
    """Return what checks, and exits with the result.

    Raises:
        SettingsError: The address is malformed.
    """
    given: str = arguments.address or arguments.listen_address or ADDRESS
    return partial(_check, given, parse(given), arguments.timeout, is_json=arguments.is_json)


def _check(given: str, address: Address, seconds: float, *, is_json: bool) -> None:
    fault = fault_of(address, seconds)
    if is_json:
        write_json({"address": given, "is_healthy": fault is None, "fault": fault})
    elif fault is not None:
        print(f"{given}: {fault}", file=sys.stderr)  # noqa: T201  # Docker shows it in its health log
    raise SystemExit(0 if fault is None else 1)


def fault_of(address: Address, seconds: float = SECONDS) -> str | None:
    """Return what is wrong with a sidecar, or None.

    Args:
        address: Where it listens: host and port, or the path of a unix socket.
        seconds: How long HTTP may take, and then HTTPS.
    """
    try:
        return _answer(_Connection(address, seconds))
    except (http.client.HTTPException, ConnectionResetError):  # The sidecar may use TLS.
        pass
    except OSError as error:
        return str(error)
    try:
        return _answer(_TlsConnection(address, seconds))
    except (http.client.HTTPException, OSError) as error:
        # A sidecar that wants a client certificate starts the handshake and then closes the connection.
        return None if _starts_handshake(address, seconds) else f"speaks neither HTTP nor HTTPS: {error}"


def _answer(connection: http.client.HTTPConnection) -> str | None:
    with closing(connection):
        connection.request("GET", "/-/healthy")
        status = connection.getresponse().status
    return None if status == http.client.OK or status in _REFUSALS else f"responds with status {status}"


def _starts_handshake(address: Address, seconds: float) -> bool:
    """Return whether the server answers the first TLS message of a client."""
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        _context().wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    with suppress(OSError), _connected(address, seconds) as plain:
        plain.sendall(outgoing.read())
        answer = plain.recv(_MESSAGE_TYPE_AT + 1)
        return len(answer) > _MESSAGE_TYPE_AT and (answer[0], answer[_MESSAGE_TYPE_AT]) == (_HANDSHAKE, _SERVER_HELLO)
    return False


class _Connection(http.client.HTTPConnection):
    """An HTTP connection to a port or a unix socket."""

    def __init__(self, address: Address, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._address = address
        self._seconds = seconds

    def connect(self) -> None:
        self.sock = _connected(self._address, self._seconds)


class _TlsConnection(_Connection):
    """An HTTPS connection to a port or a unix socket."""

    def connect(self) -> None:
        super().connect()
        self.sock = _context().wrap_socket(self.sock)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _connected(address: Address, seconds: float) -> socket.socket:
    if not isinstance(address, Path):
        host, port = address
        return socket.create_connection((_LOCAL.get(host, host), port), seconds)
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(seconds)
    try:
        plain.connect(str(address))
    except BaseException:
        plain.close()
        raise
    return plain
