"""The numbers of measurements in sentences are those of docs/benchmarks.md; `python -m tests.docs` writes them anew."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.budgets import BUDGETS
from tests.docs.measured import SENTENCES, limit, reasons, sentence, span
from tests.docs.pages import DOCS
from tests.docs.why_missed import WHY_COMPILED_MISSED, WHY_MISSED


@pytest.mark.parametrize(("path", "pattern", "number"), SENTENCES, ids=[pattern for _, pattern, _ in SENTENCES])
def test_number_in_a_sentence_is_the_measured_one(path: Path, pattern: str, number: Callable[[], str]) -> None:
    """Each sentence quotes its number as it was measured or counted."""
    found = sentence(path, pattern)

    assert number() == found[1], f"in {path}: {found[0]!r}; `python -m tests.docs` writes the number"


@pytest.mark.parametrize(
    ("title", "pattern"),
    [
        ("checkout + checkin, over bare", "at most {} times what they take without"),
        ("the same in a worker's file", "{} times in a worker's file"),
        ("the same without places", "{} times without places"),
        ("checkout + checkin of an asynchronous pool, over bare", "they take at most {} times as long"),
    ],
)
def test_budget_on_the_page_is_the_one_that_is_measured(title: str, pattern: str) -> None:
    """docs/explanation/overhead.md has the limits of tests/bench/budgets.py."""
    page = (DOCS / "explanation" / "overhead.md").read_text()

    assert pattern.format(limit(title)) in " ".join(page.split())


def test_each_missed_budget_has_a_reason() -> None:
    """docs/explanation/overhead.md says why each budget was missed that docs/benchmarks.md has as missed."""
    assert [] == [title for title, why in reasons() if why is None]


def test_reasons_are_of_budgets() -> None:
    """No reason has a title that no budget has any more."""
    assert set() == {*WHY_MISSED, *WHY_COMPILED_MISSED} - {budget.title for budget in BUDGETS}


@pytest.mark.parametrize(
    ("values", "text"), [([1.433, 1.434], "1.43"), ([1.618, 1.579], "1.58 to 1.62")], ids=["one", "two"]
)
def test_span(values: list[float], text: str) -> None:
    """Numbers that are rounded to the same text are given once, others from the least to the largest."""
    assert text == span(values)
