"""The part of the page about the size of a pool: what is recommended and why, the chart, and the same as a table.

Nothing here may compute a size; every text is escaped.
"""

from collections.abc import Iterable
from html import escape
from typing import Final

from pool_exporter.advice.wait_curve import WaitAtSize
from pool_exporter.diagnosis.texts.wording import counted, duration
from pool_exporter.web.page.chart import chart, wait
from pool_exporter.web.status.sizing import curve
from pool_exporter.web.status.values import PoolStatus, SizingStatus

SAME: Final = 0.01
"""Two loads that differ by a smaller part are the same."""


def size_part(pool: PoolStatus, name: str) -> Iterable[str]:
    """Yield the part about the size of *pool*.

    Args:
        pool: The pool; nothing is yielded where it is not measured.
        name: The id of the pool's article, with which the ids here begin.
    """
    sizing = pool.sizing
    if sizing is None:
        return
    points = curve(sizing)
    of_each = f" in each of {pool.processes} processes" if pool.processes > 1 else ""
    yield f"<h3>Size{of_each}: {_heading(sizing)}</h3>"
    yield '<div class="sizing">'
    yield chart(sizing, points, f"{name}-chart")
    yield f"<div>{''.join(f'<p>{escape(text)}</p>' for text in _texts(sizing))}{_table(points, name)}</div>"
    yield "</div>"


def _heading(sizing: SizingStatus) -> str:
    now = "no limit" if sizing.size_now is None else f"{sizing.size_now} now"
    if sizing.size_recommended is None:
        return f"{now}, none computed" if sizing.size_now is not None else "none computed"
    return f"{now}, {sizing.size_recommended} recommended"


def _texts(sizing: SizingStatus) -> Iterable[str]:
    yield sizing.reason
    if sizing.size_recommended is None:
        return
    waits = f"Predicted p99 wait: {_predicted(sizing, sizing.size_now, sizing.wait_p99_seconds_now)} now"
    if sizing.size_recommended != sizing.size_now:
        recommended = _predicted(sizing, sizing.size_recommended, sizing.wait_p99_seconds_recommended)
        waits += f", {recommended} with {sizing.size_recommended}"
    yield f"{waits}."
    yield f"Load: {_load(sizing)} It counts if this time is a busy one."
    period = "" if sizing.seconds is None else f" in the last {duration(sizing.seconds)}"
    yield f"Computed from {counted(sizing.uses, 'use')} that ended{period}."
    yield from sizing.notes
    yield f"Compare: {sizing.rule_of_thumb}."


def _load(sizing: SizingStatus) -> str:
    rate, use, load = sizing.arrival_rate or 0.0, sizing.mean_use_seconds or 0.0, sizing.offered_load or 0.0
    if abs(rate * use - load) > SAME * load:  # Callers that come again at once: their number is the load.
        return f"on average {load:.2f} callers had a connection or waited for one."
    return f"{rate:.1f} callers a second x {duration(use)} = {load:.2f} connections."


def _predicted(sizing: SizingStatus, size: int | None, seconds: float | None) -> str:
    if size is None:
        return "none"
    return "endless" if seconds is None and (sizing.offered_load or 0) >= size else wait(seconds or 0.0)


def _table(points: Iterable[WaitAtSize], name: str) -> str:
    rows = "".join(
        f'<tr><th scope="row">{point.size}</th><td>{escape(wait(point.wait_seconds))}</td></tr>\n' for point in points
    )
    if not rows:
        return ""
    head = '<thead><tr><th scope="col">Connections</th><th scope="col">p99 wait</th></tr></thead>'
    table = f'<table aria-labelledby="{name}-sizes">\n{head}\n<tbody>\n{rows}</tbody>\n</table>'
    return f'<details id="{name}-waits"><summary id="{name}-sizes">The chart as a table</summary>\n{table}\n</details>'
