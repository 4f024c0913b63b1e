"""What `make check` says of the instructions of a checkout, for counts that were made up."""

import pytest

from tests.bench import callgrind, instruction_budget
from tests.bench.driver import Measured, Skipped
from tests.bench.instruction_budget import TITLE, budget, judged
from tests.bench.instructions import JOB

V = "2.1"


def counts(bare: float | str, always: float | str) -> Measured:
    """Return what `count` does for two layouts, or for a reason."""
    return {
        (V, "sync", mode): found if isinstance(found, str) else {JOB: [found, 2 * found]}
        for mode, found in {"bare": bare, "always": always}.items()
    }


@pytest.mark.parametrize(
    ("always", "code", "ratio"), [(1499.0, 0, "1.499x"), (1500.0, 0, "1.500x"), (1501.0, 1, "1.501x")]
)
def test_more_than_the_budget_is_an_error(always: float, code: int, ratio: str) -> None:
    """The pair with the package may take as many times its instructions as the benchmarks allow, and no more."""
    text = f"{TITLE}: {ratio}, at most {budget().limit:.3f}x on CPython 3.11"

    assert (code, text) == judged(V, counts(1000.0, always))


def test_package_that_cannot_be_counted_is_an_error() -> None:
    """A pair that fails only with the package is a fault of the package."""
    text = f"{TITLE}: ImportError: no module, at most 1.500x on CPython 3.11"

    assert (1, text) == judged(V, counts(1000.0, "ImportError: no module"))
    assert (1, text) == judged(V, counts(1000.0, "ImportError: no module"), (3, 13))


def test_budget_is_that_of_one_python() -> None:
    """On another version of Python the count is printed, and is no error."""
    assert (0, f"{TITLE}: 1.900x, at most 1.500x on CPython 3.11") == judged(V, counts(1000.0, 1900.0), (3, 10))


@pytest.mark.parametrize("reason", ["valgrind: Fatal error at startup", Skipped("valgrind is not found")])
def test_python_that_callgrind_cannot_run_is_none(reason: str) -> None:
    """Where the pair fails without the package, nothing is said of the package, and the reason is printed."""
    assert (0, f"not counted: without pool_exporter, {reason}") == judged(V, counts(reason, reason))


def test_without_valgrind_nothing_is_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where valgrind is not installed, the command says so, and what installs it; that is no fault of the package."""
    monkeypatch.setattr(callgrind, "is_found", lambda: False)

    assert 0 == instruction_budget.main()
    assert "not counted: valgrind is not installed; deploy/ci/install-valgrind" in capsys.readouterr().out


def test_only_the_pair_is_counted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command counts two modes of one kind: all others would take minutes."""
    asked: list[object] = []

    def count(pythons: dict[str, str], kinds: list[str], modes: list[str]) -> Measured:
        asked.extend([kinds, modes])
        (version,) = pythons
        return {(version, "sync", mode): {JOB: [1.0]} for mode in modes}

    monkeypatch.setattr(instruction_budget, "count", count)
    monkeypatch.setattr(callgrind, "is_found", lambda: True)

    assert 0 == instruction_budget.main()
    assert [["sync"], ["bare", "always"]] == asked
    assert f"{TITLE}: 1.000x, at most 1.500x" in capsys.readouterr().out
