"""Chooses the exposition format and the compression by the client's Accept headers (RFC 9110, 12.5).

Both are functions of a header's text, and every text has a result: malformed elements are ignored, and a client that
accepts none of the formats gets the oldest, which every scraper reads. Nothing here may know a server, a Snapshot or an
encoder.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Format:
    """An exposition format: its media type, its version, and its Content-Type header."""

    media_type: str
    version: str
    content_type: str


TEXT_0_0_4: Final = Format("text/plain", "0.0.4", "text/plain; version=0.0.4; charset=utf-8")
TEXT_1_0_0: Final = Format("text/plain", "1.0.0", "text/plain; version=1.0.0; charset=utf-8; escaping=underscores")
OPENMETRICS_1_0_0: Final = Format(
    "application/openmetrics-text",
    "1.0.0",
    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
)
FORMATS: Final = (TEXT_0_0_4, TEXT_1_0_0, OPENMETRICS_1_0_0)
"""The formats on offer; the first where the client has no preference. The package's metric names are legal in each of
them, so every `escaping` that a client may request leaves them as they are."""


@dataclass(frozen=True, slots=True)
class _Element:
    """One element of a header's list, in lower case; *quality* is its weight, from 0 (not acceptable) to 1."""

    value: str
    parameters: Mapping[str, str]
    quality: float


# A quoted string may contain commas and semicolons; one without a closing quote extends to the end.
_QUOTED = r'"(?:\\.|[^"\\])*"?'
_ELEMENT = re.compile(rf'(?:[^,"]|{_QUOTED})+')
_PARAMETER = re.compile(rf'(?:[^;"]|{_QUOTED})+')
_QUALITY = re.compile(r"0?\.[0-9]+|[01](\.[0-9]*)?")


def choose_format(accept: str) -> Format:
    """Return the format that the Accept header prefers; `TEXT_0_0_4` if it accepts none of `FORMATS`."""
    ranges = list(_elements(accept))
    ranks = {offered: _rank(offered, ranges) for offered in FORMATS}
    best = max(FORMATS, key=ranks.__getitem__)
    quality, _, _ = ranks[best]
    return best if quality > 0 else TEXT_0_0_4


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether the Accept-Encoding header accepts gzip, and does not prefer no compression."""
    qualities = {element.value: element.quality for element in _elements(accept_encoding)}
    gzip = qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0)))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


def _rank(offered: Format, ranges: list[_Element]) -> tuple[float, int, int]:
    """Return the rank of a format: its quality, then how exactly the header names it, then how early.

    The quality is that of the most exact media range: `text/*;q=0` does not forbid a `text/plain`.
    """
    exactness, quality, position = max(
        (
            (exactness, element.quality, -position)
            for position, element in enumerate(ranges)
            if (exactness := _exactness(element, offered))
        ),
        default=(0, 0.0, 0),
    )
    return quality, exactness, position


def _exactness(element: _Element, offered: Format) -> int:
    """Return how exactly a media range names a format, from 0 (not at all) to 4."""
    version = element.parameters.get("version")
    if element.value == offered.media_type:
        return 3 if version is None else 4 * (version == offered.version)
    if element.value == offered.media_type.partition("/")[0] + "/*":
        return 2
    return int(element.value in ("*/*", "*"))


def _elements(header: str) -> Iterator[_Element]:
    """Yield the elements of the list in order, without those that have a quality other than a number from 0 to 1."""
    for element in _ELEMENT.findall(header):
        value, *rest = _PARAMETER.findall(element) or [""]
        parameters = dict(map(_parameter, rest))
        quality = parameters.get("q", "1")
        if _QUALITY.fullmatch(quality) and float(quality) <= 1:
            yield _Element(value.strip().lower(), parameters, float(quality))


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"').lower()
