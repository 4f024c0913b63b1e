"""CHANGELOG.md: an item is one sentence on one line, so that a reader can skim it and a link can point to it."""

import re
from typing import Final

import pytest

from tests.docs.pages import ROOT

LINES: Final = (ROOT / "CHANGELOG.md").read_text().partition("## [Unreleased]")[2].splitlines()
ITEMS: Final = [line for line in LINES if line.startswith("- ")]
SECOND_SENTENCE: Final = re.compile(r"[\w`)\"”]\. +[A-Z`]")


def test_an_item_is_one_line() -> None:
    """No line goes on with an item of the line before."""
    assert [] == [line for line in LINES if line.startswith(" ")]


@pytest.mark.parametrize("item", ITEMS)
def test_an_item_is_one_sentence(item: str) -> None:
    """An item ends at its first full stop."""
    assert (".", None) == (item[-1], SECOND_SENTENCE.search(item))


@pytest.mark.parametrize(
    ("item", "is_one"),
    [
        ("- `check` finds more. `--silence` names less.", False),
        ("- The rule P33 finds more. It has a page.", False),
        ("- SQLAlchemy 2.0 and 2.1 are supported.", True),
    ],
)
def test_a_second_sentence_is_found(item: str, is_one: bool) -> None:
    """A full stop within a version ends no sentence; one before a space and a capital letter or code does."""
    assert is_one == (SECOND_SENTENCE.search(item) is None)
