"""What a client can read: the exposition format and the compression, chosen by its Accept headers (RFC 9110, 12.5).

Both are functions of a header's text, and every text has an answer: what makes no sense in it is passed over, and who
asks for nothing that there is gets the oldest format, which every scraper reads. Nothing here may know a server, a
Snapshot or an encoder.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Format:
    """An exposition format: its media type, its version, and the Content-Type that announces it."""

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
"""All that are offered; where the client has no preference, the first. The names of our metrics are legal in all of
them, so that each way of `escaping` which a client could ask for to get legal names leaves them as they are."""


@dataclass(frozen=True, slots=True)
class _Element:
    """One element of a header's list, in lower case; *quality* is how much it is wanted, 0 (not at all) to 1."""

    value: str
    parameters: Mapping[str, str]
    quality: float


# A quoted string may hold commas and semicolons; one that is never closed goes on to the end.
_QUOTED = r'"(?:\\.|[^"\\])*"?'
_ELEMENT = re.compile(rf'(?:[^,"]|{_QUOTED})+')
_PARAMETER = re.compile(rf'(?:[^;"]|{_QUOTED})+')
_QUALITY = re.compile(r"0?\.[0-9]+|[01](\.[0-9]*)?")


def choose_format(accept: str) -> Format:
    """Return the format that the Accept header wants most; `TEXT_0_0_4` if it wants none of ours."""
    ranges = list(_elements(accept))
    ranks = {offered: _rank(offered, ranges) for offered in FORMATS}
    best = max(FORMATS, key=ranks.__getitem__)
    quality, _, _ = ranks[best]
    return best if quality > 0 else TEXT_0_0_4


def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether the Accept-Encoding header takes gzip, and does not like no compression better."""
    qualities = {element.value: element.quality for element in _elements(accept_encoding)}
    gzip = qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0)))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


def _rank(offered: Format, ranges: list[_Element]) -> tuple[float, int, int]:
    """Return how much a format is wanted: by its quality, then how exactly it was named, then how early.

    The quality is that of the range that names it most exactly: `text/*;q=0` does not forbid a `text/plain`.
    """
    exactness, quality, place = max(
        (
            (exactness, element.quality, -place)
            for place, element in enumerate(ranges)
            if (exactness := _exactness(element, offered))
        ),
        default=(0, 0.0, 0),
    )
    return quality, exactness, place


def _exactness(element: _Element, offered: Format) -> int:
    """Return how exactly a media range names a format, 0 if it is another's."""
    version = element.parameters.get("version")
    if element.value == offered.media_type:
        return 3 if version is None else 4 * (version == offered.version)
    if element.value == offered.media_type.partition("/")[0] + "/*":
        return 2
    return int(element.value in ("*/*", "*"))


def _elements(header: str) -> Iterator[_Element]:
    """Yield the elements of the list in their order, without those whose quality is no number from 0 to 1."""
    for element in _ELEMENT.findall(header):
        value, *rest = _PARAMETER.findall(element) or [""]
        parameters = dict(map(_parameter, rest))
        quality = parameters.get("q", "1")
        if _QUALITY.fullmatch(quality) and float(quality) <= 1:
            yield _Element(value.strip().lower(), parameters, float(quality))


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"').lower()
