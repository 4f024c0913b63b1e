"""The lines of the whole screen for a size: the head, the pools or the open pool, and the keys.

A pure function of its arguments; the console only lays out text.
"""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.segment import Segment
from rich.text import Text

from pool_exporter.commands.terminal import screen
from pool_exporter.commands.terminal.samples import Sample
from pool_exporter.commands.terminal.view import Row, View, chosen_index, rows_of

Lines = list[list[Segment]]


def frame(
    console: Console, samples: Sequence[Sample], view: View, size: tuple[int, int], now: float
) -> tuple[Lines, int]:
    """Return the lines of the screen, and how far it is scrolled.

    Args:
        console: Lays out the texts.
        samples: What the sources said.
        view: What the operator has chosen.
        size: Columns and lines of the terminal.
        now: The time of the monotonic clock of the samples.
    """
    width, height = size
    rows = rows_of(samples, view)
    upper = _laid_out(console, [*map(_one_line, screen.head(samples, view, now)), Text()], width)
    foot = _laid_out(console, [_one_line(screen.foot(rows, view))], width)[:1]
    space = max(1, height - len(upper) - len(foot))
    body = _body(console, rows, view, (width, space))
    first = min(view.scroll, max(0, len(body) - space)) if view.is_open else 0
    shown = body[first : first + space]
    blank = [[Segment(" " * width)]] * (space - len(shown))
    return (upper + shown + blank)[: max(0, height - len(foot))] + foot, first


def _body(console: Console, rows: Sequence[Row], view: View, size: tuple[int, int]) -> Lines:
    width, space = size
    if view.has_help:
        return _laid_out(console, list(screen.help_lines()), width)
    if not rows:
        return []
    if view.is_open:
        row = next((row for row in rows if row.key == view.chosen), None)
        parts = [Text("This pool is gone. Esc goes back.")] if row is None else list(screen.detail(row))
        return _laid_out(console, parts, width)
    shown, place = screen.window(rows, chosen_index(rows, view), space - 1)  # The first line names the columns.
    return _laid_out(console, [screen.pool_table(shown, place, width)], width)


def _laid_out(console: Console, parts: Sequence[RenderableType], width: int) -> Lines:
    return console.render_lines(Group(*parts), console.options.update(width=width, height=None))


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
