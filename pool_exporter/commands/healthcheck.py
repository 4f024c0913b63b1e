"""`pool-exporter healthcheck`: asks a sidecar's /-/healthy, for Docker's HEALTHCHECK; with the standard library alone.

What counts is that the sidecar answers. So an answer that only refuses us (a password or a client's certificate is
wanted, the rate limit is reached) is healthy too, and its certificate is not verified: nothing is told to it.
"""

import argparse
import http.client
import socket
import ssl
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from pool_exporter.sidecar.listen_addresses import parse

NAME: Final = "healthcheck"
HELP: Final = "Ask a sidecar whether it is healthy: exit code 0 when it answers, else 1."
ADDRESS: Final = ":10042"
SECONDS: Final = 3.0

_LOCAL: Final = {"": "localhost", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # what listens everywhere
_REFUSALS: Final = (401, 429)
_HANDSHAKE: Final = 0x16
_SERVER_HELLO: Final = 0x02
_HELLO_AT: Final = 5
"""Of a server's first bytes, the first is the kind of the record, and this one the kind of the message."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "address",
        nargs="?",
        metavar="ADDRESS",
        default=ADDRESS,
        help="what serve has as --web.listen-address (default: %(default)s)",
    )
    parser.add_argument("--timeout", type=float, default=SECONDS, metavar="SECONDS", help="default: %(default)s")


def run(asked: argparse.Namespace) -> None:
    """Ask, and exit. Raises SettingsError for an address that is none."""
    fault = fault_of(asked.address, asked.timeout)
    if fault is not None:
        print(f"{asked.address}: {fault}", file=sys.stderr)  # noqa: T201  # for who reads Docker's health log
    raise SystemExit(0 if fault is None else 1)


def fault_of(address: str, seconds: float = SECONDS) -> str | None:
    """Return what is wrong with the sidecar at *address*, None if nothing; HTTP and HTTPS get *seconds* each."""
    where = parse(address)
    try:
        return _answer(_Connection(where, seconds))
    except (http.client.HTTPException, ConnectionResetError):  # It may want TLS.
        pass
    except OSError as error:
        return str(error)
    try:
        return _answer(_TlsConnection(where, seconds))
    except (http.client.HTTPException, OSError) as error:
        # Who wants a certificate of ours begins the handshake and then hangs up.
        return None if _greets(where, seconds) else f"no HTTP, and no HTTPS: {error}"


def _answer(connection: http.client.HTTPConnection) -> str | None:
    with closing(connection):
        connection.request("GET", "/-/healthy")
        status = connection.getresponse().status
    return None if status == http.client.OK or status in _REFUSALS else f"the answer is {status}"


def _greets(where: tuple[str, int] | Path, seconds: float) -> bool:
    """Tell whether a client's first message of TLS gets the server's."""
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        _context().wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    with suppress(OSError), _connected(where, seconds) as plain:
        plain.sendall(outgoing.read())
        said = plain.recv(_HELLO_AT + 1)
        return len(said) > _HELLO_AT and (said[0], said[_HELLO_AT]) == (_HANDSHAKE, _SERVER_HELLO)
    return False


class _Connection(http.client.HTTPConnection):
    """A connection to a port or a unix socket."""

    def __init__(self, where: tuple[str, int] | Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._where = where
        self._seconds = seconds

    def connect(self) -> None:
        self.sock = _connected(self._where, self._seconds)


class _TlsConnection(_Connection):
    """The same with TLS."""

    def connect(self) -> None:
        super().connect()
        self.sock = _context().wrap_socket(self.sock)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _connected(where: tuple[str, int] | Path, seconds: float) -> socket.socket:
    if not isinstance(where, Path):
        host, port = where
        return socket.create_connection((_LOCAL.get(host, host), port), seconds)
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(seconds)
    try:
        plain.connect(str(where))
    except BaseException:
        plain.close()
        raise
    return plain
