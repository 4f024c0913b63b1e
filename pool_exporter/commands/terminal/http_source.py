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
TOTAL_SECONDS: Final = 15.0
"""How long all of that may take."""

_METRICS: Final = "/metrics"
_PAGE: Final = "/-/page"
_REASONS: Final[Mapping[int | None, str]] = {
    HTTPStatus.UNAUTHORIZED: "it needs a password: http://USER:PASSWORD@HOST, or env:NAME with such a URL",
    HTTPStatus.NOT_FOUND: f"it has no {PATH}: give the URL of make_asgi_app(), make_wsgi_app(), start_http_server() "
    "or a sidecar",
    HTTPStatus.TOO_MANY_REQUESTS: "it limits the rate of requests: choose a longer --interval",
}


class SourceError(Exception):
    """A source has no state; the message says why, without a password."""


class HttpSource:
    """A server's page, by its URL, that of its metrics, or `unix:PATH`.

    An exporter that is mounted at `/metrics` has its state below that path, any other one beside it. So both are asked
    for until one is there.
    """

    def __init__(self, url: str) -> None:
        """Prepare to read.

        Raises:
            ValueError: It is not such a URL.
        """
        self._page = HttpPage(url, SECONDS, TOTAL_SECONDS)
        given = self._page.path.partition("?")[0].removesuffix(PATH).removesuffix(_PAGE).removesuffix("/")
        prefix = given.removesuffix(_METRICS)
        self._paths = [prefix + PATH, prefix + _METRICS + PATH]
        self.name = url if url.startswith(UNIX) else f"{self._page.origin}{prefix}/"

    def __call__(self) -> Status:
        """Return the state now.

        Raises:
            SourceError: There is no answer, or another one.
        """
        for path in list(self._paths):
            try:
                body = self._page.get(path, "application/json")
            except PageError as error:
                if error.status == HTTPStatus.NOT_FOUND and path != self._paths[-1]:
                    continue
                raise SourceError(_REASONS.get(error.status, str(error))) from None
            self._paths = [path]
            return _parsed(body)
        raise AssertionError("a source has a path")


def _parsed(body: bytes) -> Status:
    try:
        return from_document(json.loads(body))
    except (ValueError, RecursionError) as error:
        reason = "it is no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise SourceError(f"{PATH} cannot be read: {reason}") from None
