"""What is made of callgrind's output, with a shell script in the place of valgrind."""

import sys
from pathlib import Path

import pytest

from tests.bench import callgrind
from tests.bench.instructions import HASH_SEEDS, KINDS, count

PART = "version: 1\npositions: line\nevents: Ir\nfn=(1) main\n12 345\nsummary: {}\n\ntotals: 777\n"

VALGRIND = """#!/bin/sh
for option; do case "$option" in --callgrind-out-file=*.%p) counts="${option#*=}";; esac; done
for child in CHILDREN; do
    pid="${child#*=}"
    echo "${child%=*} $pid"
    printf 'summary: 1\\n' >"${counts%.%p}.$pid.1-01"
    printf 'summary: %s\\n' "$((pid + 10 * PYTHONHASHSEED))" >"${counts%.%p}.$pid.2-01"
    printf 'summary: 2\\n' >"${counts%.%p}.$pid.2-02"
done
FURTHER
echo 'it is broken' >&2
exit CODE
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is searched for programs first."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


def install(path: Path, children: str, code: int = 0, further: str = "") -> None:
    """Install a valgrind that prints these modes and children, each of which counts as many as its process id."""
    script = VALGRIND.replace("CHILDREN", children).replace("CODE", str(code)).replace("FURTHER", further)
    (path / "valgrind").write_text(script)
    (path / "valgrind").chmod(0o755)


def test_sum_is_read() -> None:
    """The instructions of a part are its line `summary`."""
    assert 12_345 == callgrind.parse(PART.format(12345))


def test_part_without_sum_is_an_error() -> None:
    """What has no sum, as a file that was cut off, gives no number."""
    with pytest.raises(RuntimeError, match="no sum"):
        callgrind.parse("version: 1\n")


def test_counts_are_those_between_the_marks_of_children(path: Path) -> None:
    """What is before the first mark and in other threads does not count; a child that failed has its reason."""
    install(path, "bare=70 always=80 bare=90", further="echo 'off ImportError: no module'; echo 'file 60'")

    counts: list[tuple[str, int | str]] = [
        ("bare", 70),
        ("always", 80),
        ("bare", 90),
        ("off", "ImportError: no module"),
    ]
    counts.append(("file", "it has not set two marks"))

    assert counts == callgrind.instructions([sys.executable], {})


@pytest.mark.parametrize(("children", "code"), [("bare=70", 3), ("", 0)], ids=["fails", "no-child"])
def test_program_that_does_not_count_is_an_error(path: Path, children: str, code: int) -> None:
    """A program that fails, or that has no child, is an error with its output."""
    install(path, children, code)

    with pytest.raises(RuntimeError, match=f"code {code}: it is broken"):
        callgrind.instructions([sys.executable], {})


def test_count_is_of_one_pair(path: Path) -> None:
    """Each count is divided by its number of pairs. Those of several processes are in turns, as far as all have one.

    So the counts of two modes in the same place are of the same process and layout.
    """
    install(path, "bare=100 always=200 bare=300 again=100")
    times = KINDS["sync"].times

    counts = count({"2.1": sys.executable}, ["sync"])

    assert HASH_SEEDS == 2
    assert {("2.1", "sync", mode) for mode in ("bare", "always", "off", "file", "again")} == set(counts)
    assert {"instructions": [100 / times, 110 / times, 300 / times, 310 / times]} == counts["2.1", "sync", "bare"]
    assert {"instructions": [100 / times, 110 / times]} == counts["2.1", "sync", "again"]


def test_only_modes_that_are_asked_for_are_counted(path: Path) -> None:
    """The modes and the number of their layouts are an argument of the program."""
    install(path, "bare=100 always=200", further='[ "$#" -gt 0 ] || exit 1; echo "$*" >"$(dirname "$0")/arguments"')

    assert {"bare", "always"} == {
        mode for _, _, mode in count({"2.1": sys.executable}, ["sync"], modes=["bare", "always"])
    }
    assert (path / "arguments").read_text().endswith('tests.bench.counted sync {"bare": 6, "always": 6}\n')


def test_without_valgrind_nothing_is_counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where valgrind is not installed, the reason is in the place of each count."""
    monkeypatch.setenv("PATH", str(path))

    assert {"valgrind is not found"} == set(map(str, count({"2.1": sys.executable}).values()))


def test_failure_is_in_the_place_of_the_count(path: Path) -> None:
    """A program that fails leaves its last line of output; it is no reason to skip a budget."""
    install(path, "bare=1", code=1)

    found = count({"2.1": sys.executable}, ["sync"])["2.1", "sync", "bare"]

    assert str(found).endswith("it is broken")
    assert str is type(found)


def test_failure_of_a_mode_is_only_in_its_place(path: Path) -> None:
    """Where the work fails with the package alone, the bare counts stay."""
    install(path, "bare=100", further="echo 'always ImportError: no module'")

    counts = count({"2.1": sys.executable}, ["sync"])

    assert counts["2.1", "sync", "always"] == "ImportError: no module"
    assert {"instructions"} == set(counts["2.1", "sync", "bare"])
