"""What is said of worker files that could not be used."""

import pytest

from pool_exporter.diagnosis.outside.set_aside import ADVICE, FILES_MAX, set_aside_lines
from pool_exporter.diagnosis.texts.wording import WIDTH
from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.exporter_metrics import SET_ASIDE


def faults(count: int, reason: str = "corrupt") -> list[CorruptFile]:
    """Return that many files with one fault."""
    return [
        CorruptFile(f"/run/pools/w-{number:032x}.pool", "its content is damaged", reason) for number in range(count)
    ]


def test_each_reason_has_an_advice() -> None:
    """Every reason that the metric has says what to do."""
    assert set(SET_ASIDE.values) == set(ADVICE)


def test_no_file() -> None:
    """Nothing is said where all files could be used."""
    assert [] == set_aside_lines([])


def test_many_files() -> None:
    """The first ones of each reason are named, and the others counted."""
    lines = set_aside_lines([*faults(FILES_MAX + 2), *faults(1, "version")])
    text = " ".join(" ".join(lines).split())

    assert text.startswith(f"{FILES_MAX + 3} worker files could not be used: what their processes may hold")
    assert (FILES_MAX, True, 1) == (text.count("(corrupt)"), "and 2 more DO" in text, text.count("(version)"))


@pytest.mark.parametrize("reason", ADVICE)
def test_lines_fit(reason: str) -> None:
    """No line is wider than the screens are."""
    assert WIDTH >= max(map(len, set_aside_lines(faults(2, reason))))
