"""Reads the state of all pools from `/-/pools.json` of a server. Standard library only; it follows no redirect."""

import http.client
import json
import socket
import ssl
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from typing_extensions import override

from pool_exporter.web.status.document import from_document
from pool_exporter.web.status.values import Status

PATH: Final = "/-/pools.json"
SECONDS: Final = 5.0
"""How long a server may take to connect, and for each part of its answer."""
BYTES_MAX: Final = 64 * 1024 * 1024
UNIX: Final = "unix:"

_METRICS: Final = "/metrics"
_REASONS: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "it needs a password: http://USER:PASSWORD@HOST, or env:NAME with such a URL",
    HTTPStatus.NOT_FOUND: f"it has no {PATH}: give the URL of make_asgi_app(), start_http_server() or a sidecar",
    HTTPStatus.TOO_MANY_REQUESTS: "it limits the rate of requests: choose a longer --interval",
}


class SourceError(Exception):
    """A source has no state; the message says why, without a password."""


class HttpSource:
    """A server's page, by its URL, that of its metrics, or `unix:PATH`."""

    def __init__(self, url: str) -> None:
        """Prepare to read.

        Raises:
            ValueError: It is not such a URL.
        """
        self._socket = Path(url.removeprefix(UNIX)) if url.startswith(UNIX) else None
        parts = _parts("http://localhost" if self._socket else url)
        if parts is None or url == UNIX:
            raise ValueError("must be a URL such as http://127.0.0.1:10042/, or unix:/run/pool_exporter.sock")
        self._is_secure, self._host, self._port = parts.scheme == "https", parts.hostname or "", parts.port
        self._path = parts.path.removesuffix(PATH).removesuffix("/").removesuffix(_METRICS) + PATH
        self._headers = {"Accept": "application/json"}
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {b64encode(credentials.encode()).decode()}"
        host = f"[{self._host}]" if ":" in self._host else self._host
        port = f":{parts.port}" if parts.port else ""
        self.name = url if self._socket else f"{parts.scheme}://{host}{port}{self._path.removesuffix(PATH)}/"

    def __call__(self) -> Status:
        """Return the state now.

        Raises:
            SourceError: There is no answer, or another one.
        """
        try:
            with closing(self._connection()) as connection:
                connection.request("GET", self._path, headers=self._headers)
                answer = connection.getresponse()
                body = answer.read(BYTES_MAX)
        except TimeoutError:
            raise SourceError(f"no answer within {SECONDS:g} s") from None
        except ssl.SSLError as error:
            raise SourceError(f"TLS fails: {error.reason or error}") from None
        except OSError as error:
            raise SourceError(f"no answer: {error.strerror or error}") from None
        except http.client.HTTPException as error:
            raise SourceError(f"no HTTP answer: {type(error).__name__}") from None
        if answer.status != HTTPStatus.OK:
            raise SourceError(_REASONS.get(answer.status, f"it answers with status {answer.status}"))
        return _parsed(body)

    def _connection(self) -> http.client.HTTPConnection:
        if self._socket is not None:
            return _UnixConnection(self._socket)
        if self._is_secure:
            return http.client.HTTPSConnection(self._host, self._port, timeout=SECONDS)
        return http.client.HTTPConnection(self._host, self._port, timeout=SECONDS)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    @override
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(str(self._path))


def _parts(url: str) -> SplitResult | None:
    """Return the parts of a URL of HTTP; None for anything else."""
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # Half of an IPv6 address, or no port.
        return None
    return parts if is_right else None


def _parsed(body: bytes) -> Status:
    try:
        return from_document(json.loads(body))
    except (ValueError, RecursionError) as error:
        reason = "it is no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise SourceError(f"{PATH} cannot be read: {reason}") from None
