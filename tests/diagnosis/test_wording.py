"""Durations, counts and paragraphs read as an operator expects."""

import pytest

from pool_exporter.diagnosis.texts.wording import (
    counted,
    duration,
    kept,
    kept_frames,
    listed,
    paragraph,
    size,
    title_line,
)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, "0 ms"), (0.0264, "26 ms"), (1.0, "1.0 s"), (59.9, "59.9 s"), (300.0, "5 min"), (7200.0, "2.0 h")],
)
def test_durations(seconds: float, expected: str) -> None:
    """A duration is in a unit in which it is a small number."""
    assert expected == duration(seconds)


@pytest.mark.parametrize(("count", "expected"), [(0, "0 callers wait"), (1, "1 caller waits"), (2, "2 callers wait")])
def test_counts(count: int, expected: str) -> None:
    """Noun and verb agree with the number."""
    assert expected == counted(count, "caller", "waits", "wait")


def test_paragraph() -> None:
    """The first line has the label, all lines begin in the same column, and none is too wide."""
    first, *more = paragraph("WHY", "word " * 40)

    assert first.startswith("  WHY   word")
    assert {"        word"} == {line[:12] for line in more}
    assert max(map(len, (first, *more))) <= 100


def test_title_line() -> None:
    """The second text ends at the margin, or is three spaces behind a first one that leaves no room."""
    assert ("left" + "right".rjust(96), "x" * 99 + "   right") == (
        title_line("left", "right"),
        title_line("x" * 99, "right"),
    )


def test_numbers_keep_their_units() -> None:
    """No line ends between a number and its unit."""
    lines = paragraph("", "x" * 84 + " after 2.0 s it ended")

    assert ["        " + "x" * 84 + " after", "        2.0 s it ended"] == lines


def test_names_are_not_broken() -> None:
    """A kept name is in one line, with plain spaces."""
    lines = paragraph("", "x" * 80 + " " + kept("POST /orders of the day"))

    assert lines[1].strip() == "POST /orders of the day"


def test_frames_are_broken_between_frames() -> None:
    """Frames that do not fit into one line are broken between two of them."""
    frames = [f"orders/module_{i}.py:1{i} in a_function_with_a_name" for i in range(3)]
    lines = paragraph("", kept_frames(frames))

    assert [f"        {frames[0]} <", f"        {frames[1]} <", f"        {frames[2]}"] == lines


def test_list() -> None:
    """Only the first paragraph of a list has the label."""
    assert ["  NOTE  one", "        two"] == listed("NOTE", ["one", "two"])


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (65_536, "64 KiB"),
        (6_710_886, "6.4 MiB"),
        (2**30, "1.0 GiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    """A number of bytes is in the largest unit of which there is one."""
    assert text == size(count)
