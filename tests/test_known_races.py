"""The list of known races: what an entry is, and that each names a test."""

from datetime import date
from pathlib import Path

import pytest

from tests.known_races import ENTRIES_MAX, FILE, Race, known, parse

ROOT = Path(__file__).parents[1]
LINE = "2026-11-29 tests/integration/test_a.py::test_b[c] AssertionError: assert 1 == 2"


def test_entry() -> None:
    """An entry has the day, the test and what it said; its line is what was read. Comments are none."""
    found = parse(f"# a comment\n\n{LINE}\n")

    assert [
        Race(date(2026, 11, 29), "tests/integration/test_a.py::test_b[c]", "AssertionError: assert 1 == 2")
    ] == found
    assert LINE == str(found[0])


@pytest.mark.parametrize(
    "text",
    ["29.11.2026 tests/a.py::b said", "2026-11-29 tests/a.py said", "2026-11-29 tests/a.py::b", f"{LINE}\n" * 6],
    ids=["day", "test", "said", "too-many"],
)
def test_wrong_list_is_an_error(text: str) -> None:
    """A line that is no entry, and one entry too many, are errors that name the list."""
    assert 6 > ENTRIES_MAX

    with pytest.raises(ValueError, match=rf"{FILE}|Invalid isoformat"):
        parse(text)


def test_each_entry_names_a_test() -> None:
    """The list of this repository can be read, and each of its tests is in its file."""
    missing = [race for race in known(ROOT) if race.nodeid.split("::")[-1].partition("[")[0] not in source(race)]

    assert [] == missing


def source(race: Race) -> str:
    """Return the text of the file of an entry's test; "" where there is none."""
    path = ROOT / race.nodeid.partition("::")[0]
    return path.read_text() if path.exists() else ""
