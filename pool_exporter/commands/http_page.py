"""Reads pages over HTTP for the commands that take URLs. Standard library only; it follows no redirect.

A server that sends a byte now and then is within the time limit of each part: so the whole page has one, too.
A URL may have a user name and a password, which become a header and are in no message. Nothing here may know what a
page has.
"""

import http.client
import io
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from typing_extensions import Buffer, override

from pool_exporter.environment import FROM_ENVIRONMENT

BYTES_MAX: Final = 64 * 1024 * 1024
UNIX: Final = "unix:"
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

    def __init__(
        self, url: str, seconds: float, total_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare to read; nothing is opened yet.

        Args:
            url: An http or https URL, or `unix:PATH`.
            seconds: How long a server may take to connect, and for each part of its answer.
            total_seconds: How long all of that may take.
            clock: The time in seconds.

        Raises:
            ValueError: It is no such URL.
        """
        self._socket = Path(url.removeprefix(UNIX)) if url.startswith(UNIX) else None
        parts = _parts("http://localhost/" if self._socket else url)
        if parts is None or url == UNIX:
            raise ValueError(A_URL)
        self._seconds, self._total, self._clock = seconds, total_seconds, clock
        self._is_secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._headers = {} if parts.username is None else _authorization(parts.username, parts.password or "")
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.origin = url if self._socket else f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}"
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def get(self, path: str | None = None, accept: str = "*/*") -> bytes:
        """Return the body of a page of this server, by default of this page.

        Raises:
            PageError: There is no answer, it takes too long, or it is another one than 200.
        """
        left = _TimeLeft(self._seconds, self._clock() + self._total, self._clock)
        try:
            with closing(self._connection()) as connection:
                connection.response_class = partial(_Answer, left)  # type: ignore[assignment]  # all that it is used for
                connection.request("GET", path or self.path, headers={"Accept": accept, **self._headers})
                answer = connection.getresponse()
                body = answer.read(BYTES_MAX)
        except _Late:
            raise PageError(f"its answer is not complete within {self._total:g} s") from None
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


class _Late(TimeoutError):
    """The time limit of the whole page has passed."""


class _TimeLeft:
    """Says how long the next part of an answer may take."""

    def __init__(self, seconds: float, end: float, clock: Callable[[], float]) -> None:
        self._seconds, self._end, self._clock = seconds, end, clock

    def __call__(self) -> float:
        """Return a time in seconds.

        Raises:
            _Late: None is left.
        """
        left = self._end - self._clock()
        if left <= 0:
            raise _Late
        return min(left, self._seconds)


class _Answer(http.client.HTTPResponse):
    """An answer whose parts come in time."""

    def __init__(self, left: _TimeLeft, sock: socket.socket, *, method: str | None = None) -> None:
        super().__init__(sock, method=method)
        self.fp = io.BufferedReader(_Parts(self.fp.detach(), sock, left))


class _Parts(io.RawIOBase):
    """The parts that come from a socket."""

    def __init__(self, file: io.RawIOBase, sock: socket.socket, left: _TimeLeft) -> None:
        self._file, self._sock, self._left = file, sock, left

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer, /) -> int | None:
        self._sock.settimeout(self._left())
        try:
            return self._file.readinto(buffer)
        except TimeoutError:
            self._left()  # It was the rest of the page's time.
            raise

    @override
    def close(self) -> None:
        self._file.close()
        super().close()


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
