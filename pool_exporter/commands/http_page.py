"""Reads pages over HTTP for the commands that take URLs. Standard library only; it follows no redirect.

A URL may have a user name and a password, which become a header and are in no message. Nothing here may know what a
page has.
"""

import http.client
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

BYTES_MAX: Final = 64 * 1024 * 1024
UNIX: Final = "unix:"
FROM_ENVIRONMENT: Final = "env:"
A_URL: Final = "must be a URL such as http://127.0.0.1:10042/, or unix:/run/pool_exporter.sock"


class PageError(Exception):
    """There is no page; the message says why, without a password.

    Attributes:
        status: The status of the answer; None where there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def url_of(given: str, environ: Mapping[str, str]) -> str:
    """Return a URL as it was given, or that of the variable of `env:NAME`.

    Raises:
        ValueError: The variable is not set.
    """
    if not given.startswith(FROM_ENVIRONMENT):
        return given
    url = environ.get(given.removeprefix(FROM_ENVIRONMENT), "").strip()
    if not url:
        raise ValueError("is not set")
    return url


class HttpPage:
    """One page of a server, or of one behind a unix socket.

    Attributes:
        origin: Scheme, host and port, or `unix:PATH`.
        path: The path of the page, with its query.
    """

    def __init__(self, url: str, seconds: float) -> None:
        """Prepare to read; nothing is opened yet.

        Args:
            url: An http or https URL, or `unix:PATH`.
            seconds: How long a server may take to connect, and for each part of its answer.

        Raises:
            ValueError: It is no such URL.
        """
        self._socket = Path(url.removeprefix(UNIX)) if url.startswith(UNIX) else None
        parts = _parts("http://localhost/" if self._socket else url)
        if parts is None or url == UNIX:
            raise ValueError(A_URL)
        self._seconds, self._is_secure = seconds, parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._headers = {} if parts.username is None else _authorization(parts.username, parts.password or "")
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.origin = url if self._socket else f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}"
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def get(self, path: str | None = None, accept: str = "*/*") -> bytes:
        """Return the body of a page of this server, by default of this page.

        Raises:
            PageError: There is no answer, or another one than 200.
        """
        try:
            with closing(self._connection()) as connection:
                connection.request("GET", path or self.path, headers={"Accept": accept, **self._headers})
                answer = connection.getresponse()
                body = answer.read(BYTES_MAX)
        except TimeoutError:
            raise PageError(f"no answer within {self._seconds:g} s") from None
        except ssl.SSLError as error:
            raise PageError(f"TLS fails: {error.reason or error}") from None
        except OSError as error:
            raise PageError(f"no answer: {error.strerror or error}") from None
        except (http.client.HTTPException, ValueError) as error:  # The latter for a path with a control character.
            raise PageError(f"no HTTP answer: {type(error).__name__}") from None
        if answer.status != HTTPStatus.OK:
            raise PageError(f"it answers with status {answer.status}", answer.status)
        return body

    def _connection(self) -> http.client.HTTPConnection:
        if self._socket is not None:
            return _UnixConnection(self._socket, self._seconds)
        if self._is_secure:
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._seconds)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._seconds)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    @override
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _authorization(name: str, password: str) -> dict[str, str]:
    credentials = f"{unquote(name)}:{unquote(password)}"
    return {"Authorization": f"Basic {b64encode(credentials.encode()).decode()}"}


def _parts(url: str) -> SplitResult | None:
    """Return the parts of a URL of HTTP; None for anything else."""
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # Half of an IPv6 address, or no port.
        return None
    return parts if is_right else None
