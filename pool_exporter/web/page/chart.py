"""A chart of the p99 wait by the size of a pool, as SVG within the page: a pure function of numbers.

It needs no script and no other file. The scale of the waits is logarithmic and the same for all pools, so that charts
can be compared. The size now is a square with a dashed line, the recommended one a diamond with a solid line, and each
has a label: nothing is said by a colour alone. Nothing here may compute a wait.
"""

from collections.abc import Iterable, Sequence
from html import escape
from math import isinf, log10
from typing import Final

from pool_exporter.advice.wait_curve import WaitAtSize
from pool_exporter.diagnosis.texts.wording import duration
from pool_exporter.web.status.values import SizingStatus

WIDTH: Final = 360
HEIGHT: Final = 212
LEFT, RIGHT, TOP, BOTTOM = 58, 346, 40, 172
"""The edges of the plot."""
SHORTEST, LONGEST = 0.001, 10.0
"""The ends of the scale in seconds: what is shorter or longer is at the edge."""
TICKS: Final = (0.001, 0.01, 0.1, 1.0, 10.0)
SIZE_TICKS_MAX: Final = 7
_MARK: Final = 6
"""Half of the width of a mark."""


def chart(sizing: SizingStatus, points: Sequence[WaitAtSize], name: str) -> str:
    """Return the chart as an SVG element.

    Args:
        sizing: What was computed.
        points: The wait at each size that is shown, by size.
        name: An id for the element; the ids in it begin with it.
    """
    if not points:
        return ""
    plot = _Plot(points)
    pieces = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name} {name}-more">',
        f'<title id="{name}">{escape(title(sizing))}</title>',
        f'<desc id="{name}-more">{escape(description(points))}</desc>',
        *_axes(plot),
        f'<polyline class="curve" points="{" ".join(plot.at(point) for point in points)}"/>',
        *(f'<circle class="point" {plot.centre(point)} r="2"/>' for point in points),
        *_target(plot, sizing.wait_p99_seconds_target),
        *_marks(plot, sizing, points),
        "</svg>",
    ]
    return "\n".join(pieces)


def title(sizing: SizingStatus) -> str:
    """Return what the chart says, in words."""
    now = "no limit now" if sizing.size_now is None else f"{sizing.size_now} connections now"
    return f"p99 wait by pool size: {now}, {sizing.size_recommended} recommended"


def description(points: Iterable[WaitAtSize]) -> str:
    """Return the points of a curve in words."""
    return "; ".join(f"{point.size} connections: {wait(point.wait_seconds)}" for point in points)


def wait(seconds: float) -> str:
    """Return a wait as text."""
    if isinf(seconds):
        return "grows for ever"
    return duration(seconds) if seconds >= SHORTEST else "less than 1 ms"


class _Plot:
    """Where in the drawing a size and a wait are."""

    def __init__(self, points: Sequence[WaitAtSize]) -> None:
        self.least, self.most = points[0].size, points[-1].size

    def x(self, size: float) -> float:
        return round(LEFT + 8 + (RIGHT - LEFT - 16) * (size - self.least) / max(1, self.most - self.least), 1)

    def y(self, seconds: float) -> float:
        shown = min(LONGEST, max(SHORTEST, seconds))
        return round(BOTTOM - (BOTTOM - TOP) * log10(shown / SHORTEST) / log10(LONGEST / SHORTEST), 1)

    def at(self, point: WaitAtSize) -> str:
        return f"{self.x(point.size)},{self.y(point.wait_seconds)}"

    def centre(self, point: WaitAtSize) -> str:
        return f'cx="{self.x(point.size)}" cy="{self.y(point.wait_seconds)}"'


def _axes(plot: _Plot) -> Iterable[str]:
    for seconds in TICKS:
        y = plot.y(seconds)
        text = {SHORTEST: "\N{LESS-THAN OR EQUAL TO} 1 ms", LONGEST: "\N{GREATER-THAN OR EQUAL TO} 10 s"}.get(seconds)
        yield f'<line class="grid" x1="{LEFT}" y1="{y}" x2="{RIGHT}" y2="{y}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{text or duration(seconds).replace(".0", "")}</text>'
    step = -(-(plot.most - plot.least + 1) // SIZE_TICKS_MAX)
    for size in range(plot.least, plot.most + 1, step):
        yield f'<text x="{plot.x(size)}" y="{BOTTOM + 16}" text-anchor="middle">{size}</text>'
    yield f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 34}" text-anchor="middle">connections of the pool</text>'


def _target(plot: _Plot, seconds: float | None) -> Iterable[str]:
    if seconds is not None:
        y = plot.y(seconds)
        yield f'<line class="target" x1="{LEFT}" y1="{y}" x2="{RIGHT}" y2="{y}"/>'
        yield f'<text x="{LEFT + 4}" y="{y + 13}">target {duration(seconds)}</text>'


def _marks(plot: _Plot, sizing: SizingStatus, points: Iterable[WaitAtSize]) -> Iterable[str]:
    """Yield the marks, each with its label in a line of its own, so that no label covers another."""
    waits = {point.size: point for point in points}
    now, wanted = (waits.get(size or 0) for size in (sizing.size_now, sizing.size_recommended))
    if now is not None:
        yield _marked(plot, now, "now", 13, f"now and recommended: {now.size}" if now == wanted else f"now: {now.size}")
    if wanted is not None:
        yield _marked(plot, wanted, "wanted", 28, "" if now == wanted else f"recommended: {wanted.size}")


def _marked(plot: _Plot, point: WaitAtSize, kind: str, row: int, label: str) -> str:
    x, y = plot.x(point.size), plot.y(point.wait_seconds)
    shape = f"M{x - _MARK} {y - _MARK}h{2 * _MARK}v{2 * _MARK}h-{2 * _MARK}z"
    if kind == "wanted":
        wide = _MARK + 1
        shape = f"M{x} {y - wide}l{wide} {wide}l-{wide} {wide}l-{wide} -{wide}z"
    anchor = "end" if x > (LEFT + RIGHT) / 2 else "start"
    text = f'<text class="label" x="{x}" y="{row}" text-anchor="{anchor}">{escape(label)}</text>' if label else ""
    line = f'<line class="{kind}" x1="{x}" y1="{row + 3}" x2="{x}" y2="{BOTTOM}"/>' if label else ""
    return f'{line}<path class="mark {kind}" d="{shape}"/>{text}'
