"""A server is past its knee when uses take longer in the windows with more used connections."""

import pytest

from pool_exporter.advice.knee import WINDOWS_MIN, Window, use_rises


def windows(*use_seconds: float, used: tuple[float, ...] = (1, 2, 3, 4, 5, 6, 7, 8)) -> list[Window]:
    """Return eight windows of a hundred uses each, which take as long as given."""
    return [Window(number, 100, 100 * each) for number, each in zip(used, use_seconds, strict=True)]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (windows(*(0.01,) * 6, 0.02, 0.02), True),
        (windows(*(0.01,) * 8), False),
        (windows(*(0.02,) * 2, *(0.01,) * 6), False),
        (windows(*(0.01,) * 6, 0.02, 0.02, used=(5.0, 5.1, 5.2, 5.3, 5.4, 5.5, 5.6, 5.7)), False),
        (windows(*(0.01,) * 6, 0.02, 0.02)[1:], False),
        ([*windows(*(0.01,) * 8), Window(9, 0, 0)], False),
        ([], False),
    ],
    ids=[
        "slower when busy",
        "the same",
        "slower when quiet",
        "no spread of use",
        "too few",
        "one without a use",
        "none",
    ],
)
def test_use_rises(found: list[Window], expected: bool) -> None:
    """Only a clear rise over a clear spread of used connections counts, in at least eight windows."""
    assert expected == use_rises(found)
    assert len(windows(*(0.01,) * 8)) == WINDOWS_MIN
