"""Whether compiled modules are used: all of them or none, and never against POOL_EXPORTER_PURE."""

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from pool_exporter import environment
from pool_exporter.compiled import MODULES, are_there, fitting_build
from pool_exporter.compiled.source_id import source_id
from pool_exporter.environment import Environment, is_pure

NAMES = [f"{module.replace('.', '/')}.py" for module in MODULES]


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


def installed(root: Path) -> Path:
    """Make an installation with sources and no compiled module, and return the folder for builds."""
    for name in NAMES:
        root.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        root.joinpath(name).write_text(f"name = {name!r}")
    (root / "compiled").mkdir()
    return root / "compiled"


def built(folder: Path) -> Path:
    """Add a build of the sources that are there now, and return its folder."""
    build = folder / f"{source_id(folder.parent, NAMES)}_0123456789abcdef"
    compile_into(build)
    return build


def test_build_of_these_sources_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Modules that were built from the installed sources are used, without a word."""
    folder = installed(tmp_path)
    build = built(folder)

    assert (build, []) == (fitting_build(folder), caplog.messages)


@pytest.mark.parametrize("name", NAMES)
def test_build_of_other_sources_is_not_used(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where one source differs, nothing compiled is used, and one WARNING says why and what to do."""
    folder = installed(tmp_path)
    build = built(folder)
    with tmp_path.joinpath(name).open("a") as source:
        source.write("  # changed")

    assert fitting_build(folder) is None
    (message,) = caplog.messages
    assert str(build) in message
    assert "--force-reinstall" in message


def test_build_is_chosen_among_two(tmp_path: Path) -> None:
    """Of two installations, one over the other, the modules are used that fit the sources."""
    folder = installed(tmp_path)
    old = built(folder)
    (tmp_path / NAMES[0]).write_text("changed = 1")
    new = built(folder)

    assert old != new
    assert new == fitting_build(folder)


def test_sources_may_be_missing(tmp_path: Path) -> None:
    """An installation that has bytecode alone is compared with nothing."""
    folder = installed(tmp_path)
    build = built(folder)
    (tmp_path / NAMES[0]).unlink()

    assert build == fitting_build(folder)


def test_nothing_compiled_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A pure installation, one for another interpreter, and one in an archive say nothing."""
    folder = installed(tmp_path)
    built(folder).joinpath(*MODULES[0].split(".")).with_suffix(EXTENSION_SUFFIXES[0]).unlink()

    assert (None, None) == (fitting_build(folder), fitting_build(tmp_path / "package.zip" / "compiled"))
    assert [] == caplog.messages


@pytest.mark.parametrize(("value", "expected"), [("1", True), (" 1 ", True), ("0", False), ("", False), (None, False)])
def test_python_can_be_chosen(monkeypatch: pytest.MonkeyPatch, value: str | None, expected: bool) -> None:
    """POOL_EXPORTER_PURE=1 chooses Python where both are installed."""
    monkeypatch.setattr(environment, "process_environ", lambda: {} if value is None else {environment.PURE: value})

    assert expected == is_pure()


def test_a_wrong_choice_is_a_problem() -> None:
    """Anything but 0 and 1 is named in the line of level ERROR, like each wrong setting."""
    _, problems = Environment.read({environment.PURE: "yes"})

    assert [environment.PURE] == [problem.key for problem in problems]
