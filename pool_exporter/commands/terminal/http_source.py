"""Reads the state of all pools from `/-/pools.json` of a server. Nothing here may print."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from pool_exporter.commands.http_page import UNIX, HttpPage, PageError
from pool_exporter.web.status.pools_json import from_document
from pool_exporter.web.status.values import Status

PATH: Final = "/-/pools.json"
SECONDS: Final = 5.0
"""How long a server may take to connect, and for each part of its answer."""

_METRICS: Final = "/metrics"
_REASONS: Final[Mapping[int | None, str]] = {
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
        self._page = HttpPage(url, SECONDS)
        prefix = self._page.path.partition("?")[0].removesuffix(PATH).removesuffix("/").removesuffix(_METRICS)
        self._path = prefix + PATH
        self.name = url if url.startswith(UNIX) else f"{self._page.origin}{prefix}/"

    def __call__(self) -> Status:
        """Return the state now.

        Raises:
            SourceError: There is no answer, or another one.
        """
        try:
            return _parsed(self._page.get(self._path, "application/json"))
        except PageError as error:
            raise SourceError(_REASONS.get(error.status, str(error))) from None


def _parsed(body: bytes) -> Status:
    try:
        return from_document(json.loads(body))
    except (ValueError, RecursionError) as error:
        reason = "it is no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise SourceError(f"{PATH} cannot be read: {reason}") from None
