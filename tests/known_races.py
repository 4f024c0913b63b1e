"""The list of known races, tests/known_races.txt: tests that may not pass at a second run again.

So a race passes CI once, with a line that has to be added here, and fails the run from then on until it is mended.
Nothing here may run a test.
"""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

FILE: Final = "tests/known_races.txt"
ENTRIES_MAX: Final = 5
REPORT: Final = "build/second-run.txt"
"""Written by a run in which a test needed its second run: the lines to add."""


class Race(NamedTuple):
    """A test that has failed and then passed."""

    day: date
    nodeid: str
    said: str

    def __str__(self) -> str:
        return f"{self.day.isoformat()} {self.nodeid} {self.said}"


def parse(text: str) -> list[Race]:
    """Return the entries of a list.

    Raises:
        ValueError: A line is none, or there are more than `ENTRIES_MAX`.
    """
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    races = [_race(line) for line in lines]
    if len(races) > ENTRIES_MAX:
        raise ValueError(f"{FILE} has {len(races)} entries, at most {ENTRIES_MAX}: mend one first")
    return races


def _race(line: str) -> Race:
    day, nodeid, said = (*line.split(maxsplit=2), "", "")[:3]
    if "::" not in nodeid or not said:
        raise ValueError(f"{FILE}: an entry is a day, a test and what it said, not {line!r}")
    return Race(date.fromisoformat(day), nodeid, said)


def known(root: Path) -> list[Race]:
    """Return the entries of the list of a repository; none where it has no list."""
    path = root / FILE
    return parse(path.read_text()) if path.exists() else []


def write_report(root: Path, races: Iterable[Race]) -> None:
    """Write the lines to add to the list."""
    report = root / REPORT
    report.parent.mkdir(exist_ok=True)
    report.write_text("".join(f"{race}\n" for race in races))
