"""Whether compiled modules are used: all of them or none, and never against POOL_EXPORTER_PURE."""

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from pool_exporter import environment
from pool_exporter.compiled import MODULES, are_there
from pool_exporter.environment import Environment, is_pure


def compile_into(folder: Path) -> list[Path]:
    """Make an empty file for each extension module, and return them."""
    paths = [folder.joinpath(*module.split(".")) for module in MODULES]
    files = [path.with_name(f"{path.name}{EXTENSION_SUFFIXES[0]}") for path in paths]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return files


def test_all_modules_are_found(tmp_path: Path) -> None:
    """A wheel that has each module compiled runs them."""
    compile_into(tmp_path)

    assert are_there(tmp_path)


@pytest.mark.parametrize("missing", range(len(MODULES)))
def test_one_missing_module_means_none(tmp_path: Path, missing: int) -> None:
    """Compiled modules call each other through C: a module of Python between them is never used."""
    compile_into(tmp_path)[missing].unlink()

    assert not are_there(tmp_path)


def test_modules_of_another_interpreter_are_not_used(tmp_path: Path) -> None:
    """A file of another Python's suffix cannot be imported here."""
    for file in compile_into(tmp_path):
        file.rename(file.with_name(f"{file.name.partition('.')[0]}.cpython-36m-x86_64-linux-gnu.so"))

    assert not are_there(tmp_path)


@pytest.mark.parametrize(("value", "expected"), [("1", True), (" 1 ", True), ("0", False), ("", False), (None, False)])
def test_python_can_be_chosen(monkeypatch: pytest.MonkeyPatch, value: str | None, expected: bool) -> None:
    """POOL_EXPORTER_PURE=1 chooses Python where both are installed."""
    monkeypatch.setattr(environment, "process_environ", lambda: {} if value is None else {environment.PURE: value})

    assert expected == is_pure()


def test_a_wrong_choice_is_a_problem() -> None:
    """Anything but 0 and 1 is named in the line of level ERROR, like each wrong setting."""
    _, problems = Environment.read({environment.PURE: "yes"})

    assert [environment.PURE] == [problem.key for problem in problems]
