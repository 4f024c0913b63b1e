"""Queries a Prometheus, or a server with the same HTTP API. A wrong answer is an error that names the URL.

Nothing here may know a metric.
"""

import json
import math
from collections.abc import Mapping
from typing import TypeAlias, cast
from urllib.parse import quote, urlencode

from pool_exporter.commands.loads.argument_page import ArgumentPage

Labels: TypeAlias = Mapping[str, str]
Point: TypeAlias = tuple[float, str]


class PrometheusApi:
    """One server."""

    def __init__(self, page: ArgumentPage) -> None:
        """Keep the page at the server's base URL; nothing is sent yet."""
        self._page, self._base = page, page.path.partition("?")[0].rstrip("/")

    def at(self, query: str, time: float) -> list[tuple[Labels, float]]:
        """Return the series that *query* has at *time*, in seconds of Unix time, each with its value.

        Raises:
            SettingsError: The server cannot be read, or refuses the query.
        """
        found = self._series("query", {"query": query, "time": f"{time:.3f}"})
        series = [(labels, float(cast("Point", one["value"])[1])) for labels, one in found]
        return [(labels, value) for labels, value in series if math.isfinite(value)]

    def between(self, query: str, start: float, end: float, step: float) -> list[tuple[Labels, dict[float, float]]]:
        """Return the series that *query* has from *start* to *end*, each with its values by time.

        Raises:
            SettingsError: The server cannot be read, or refuses the query.
        """
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        return [
            (
                labels,
                {at: float(value) for at, value in cast("list[Point]", one["values"]) if math.isfinite(float(value))},
            )
            for labels, one in self._series("query_range", {"query": query, **times})
        ]

    def _series(self, path: str, parameters: Mapping[str, str]) -> list[tuple[Labels, Mapping[str, object]]]:
        text = self._page.text(f"{self._base}/api/v1/{path}?{urlencode(parameters, quote_via=quote)}")
        try:
            return [(dict(one["metric"]), one) for one in json.loads(text)["data"]["result"]]
        except (ValueError, KeyError, TypeError):
            raise self._page.problem("is not the base URL of a Prometheus, such as http://localhost:9090") from None
