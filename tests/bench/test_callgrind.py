"""What is made of callgrind's output, with a shell script in the place of valgrind."""

import sys
from pathlib import Path

import pytest

from tests.bench import callgrind
from tests.bench.instructions import KINDS, count

PART = "version: 1\npositions: line\nevents: Ir\nfn=(1) main\n12 345\nsummary: {}\n\ntotals: 777\n"

VALGRIND = """#!/bin/sh
for option; do case "$option" in --callgrind-out-file=*) counts="${option#*=}";; esac; done
number=1
for sum in SUMS; do printf 'summary: %s\\n' "$sum" >"$counts.$number"; number=$((number + 1)); done
printf 'summary: 1\\n' >"$counts"
echo 'it is broken' >&2
exit CODE
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is searched for programs first."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


def install(path: Path, sums: str, code: int = 0) -> None:
    """Install a valgrind that writes these sums at the marks of the program."""
    (path / "valgrind").write_text(VALGRIND.replace("SUMS", sums).replace("CODE", str(code)))
    (path / "valgrind").chmod(0o755)


def test_sum_is_read() -> None:
    """The instructions of a part are its line `summary`."""
    assert 12_345 == callgrind.parse(PART.format(12345))


def test_part_without_sum_is_an_error() -> None:
    """What has no sum, as a file that was cut off, gives no number."""
    with pytest.raises(RuntimeError, match="no sum"):
        callgrind.parse("version: 1\n")


def test_samples_are_between_marks(path: Path) -> None:
    """What is before the first mark and after the last one does not count; the samples are in order."""
    install(path, "999 1 2 3 4 5 6 7 8 9 10")

    assert list(range(1, 11)) == callgrind.instructions([sys.executable], {})


@pytest.mark.parametrize(("sums", "code"), [("999 1", 3), ("999", 0), ("", 0)], ids=["fails", "one-mark", "no-mark"])
def test_program_that_does_not_count_is_an_error(path: Path, sums: str, code: int) -> None:
    """A program that fails, or that sets less than two marks, is an error with its output."""
    install(path, sums, code)

    with pytest.raises(RuntimeError, match=f"code {code}: it is broken"):
        callgrind.instructions([sys.executable], {})


def test_count_is_of_one_pair(path: Path) -> None:
    """Each sample is divided by the number of pairs that it has."""
    times = KINDS["sync"].times
    install(path, f"999 {5 * times} {7 * times}")

    counts = count({"2.1": sys.executable}, ["sync"])

    assert {("2.1", "sync", mode) for mode in ("bare", "always", "off", "file")} == set(counts)
    assert {"instructions": [5, 7]} == counts["2.1", "sync", "bare"]


def test_without_valgrind_nothing_is_counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where valgrind is not installed, the reason is in the place of each count."""
    monkeypatch.setenv("PATH", str(path))

    assert {"valgrind is not found"} == set(map(str, count({"2.1": sys.executable}).values()))


def test_failure_is_in_the_place_of_the_count(path: Path) -> None:
    """A program that fails leaves its last line of output; it is no reason to skip a budget."""
    install(path, "1 2", code=1)

    found = count({"2.1": sys.executable}, ["sync"])["2.1", "sync", "bare"]

    assert str(found).endswith("it is broken")
    assert str is type(found)
