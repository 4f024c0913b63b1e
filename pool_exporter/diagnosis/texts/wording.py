"""Numbers, durations and lines as the reports write them.

Nothing here may know a verdict or a pool.
"""

import re
import textwrap
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Final

WIDTH: Final = 100
"""Columns of a report; only a name that is longer makes a line wider."""
LABEL: Final = 8
"""Columns before a report's text, in which the label of a paragraph is."""

_NO_BREAK: Final = "\N{NO-BREAK SPACE}"
_NUMBER: Final = r"(\d) (?=(?:ms|s|min|h|x)\b)"
"""A number before its unit, which are not to be in two lines."""
_MINUTE: Final = 60
_HOUR: Final = 3600
_KIB: Final = 1024
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")


def duration(seconds: float) -> str:
    """Return a duration in a readable unit: "26 ms", "2.1 s", "5 min", "3.0 h"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < _HOUR else f"{seconds / _HOUR:.1f} h"


def size(count: int) -> str:
    """Return a number of bytes in a readable unit: "512 B", "640 KiB", "6.4 MiB"."""
    if count < _KIB:
        return f"{count} B"
    unit = next((unit for unit in _UNITS if count < _KIB ** (_UNITS.index(unit) + 2)), _UNITS[-1])
    value = count / _KIB ** (_UNITS.index(unit) + 1)
    return f"{value:.0f} {unit}" if unit == _UNITS[0] else f"{value:.1f} {unit}"


def counted(count: int, noun: str, verb: str = "", verb_of_many: str = "") -> str:
    """Return a number and a noun with its verb: "1 caller waits", "2 callers wait"."""
    many = count != 1
    words = (str(count), noun + "s" * many, (verb_of_many or verb.removesuffix("s")) if many else verb)
    return " ".join(filter(None, words))


def moment(at: float) -> str:
    """Return Unix time as "2026-11-28 12:04:31 UTC"."""
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def kept(name: str) -> str:
    """Return a name with spaces at which `paragraph` breaks no line."""
    return name.replace(" ", _NO_BREAK)


def unkept(text: str) -> str:
    """Return *text* with ordinary spaces, for a place that `paragraph` does not write."""
    return text.replace(_NO_BREAK, " ")


def printable(text: str) -> str:
    """Return one line for a terminal or a log, with a space for each character that could change it or end the line.

    The names of pools, units, threads and files are the application's, or are in the file of any worker.
    """
    return text if text.isprintable() else "".join(each if each.isprintable() else " " for each in text)


def unit_text(unit: str, known: str) -> str:
    """Return a unit; without one, that there is none, or that it is unknown where nothing else is *known*.

    Of what is younger than the last heartbeat of another process, neither place nor unit is known yet.
    """
    return unit or ("(no unit)" if known else "(unit unknown)")


def kept_frames(frames: Iterable[str]) -> str:
    """Return frames, innermost first, as one text: unbroken if it fits into a line, else broken between frames."""
    text = " < ".join(map(kept, frames))
    return kept(text) if len(text) < WIDTH - 3 * LABEL else text


def paragraph(label: str, text: str, indent: int = 2) -> list[str]:
    """Return *text* in lines of at most `WIDTH` columns, *label* before the first one."""
    first = " " * indent + label.ljust(LABEL - 2)
    lines = textwrap.wrap(
        re.sub(_NUMBER, rf"\1{_NO_BREAK}", text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [printable(unkept(line)) for line in lines]


def title_line(left: str, right: str) -> str:
    """Return two texts in one line of `WIDTH` columns, with at least three spaces between them."""
    return f"{printable(left)}{right:>{max(len(right) + 3, WIDTH - len(left))}}"


def listed(label: str, texts: Iterable[str]) -> list[str]:
    """Return one paragraph for each text, *label* before the first one."""
    lines: list[str] = []
    for text in texts:
        lines += paragraph("" if lines else label, text)
    return lines
