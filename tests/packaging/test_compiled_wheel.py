"""hatch_build.py: what is compiled, and when a wheel is pure instead. deploy/ci/try-wheels tries the real wheels."""

import shutil
import sysconfig
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("hatchling")

import hatch_build
from pool_exporter import compiled
from tests.docs.pages import ROOT


@pytest.mark.pure("a wheel has no .pxd files")
def test_what_is_compiled_is_what_the_package_looks_for() -> None:
    """The modules with types are those that make an installation a compiled one."""
    names = [".".join(path.relative_to(ROOT / "pool_exporter").with_suffix("").parts) for path in hatch_build.modules()]

    assert sorted(compiled.MODULES) == names


@pytest.mark.parametrize(("value", "expected"), [("1", "POOL_EXPORTER_PURE=1"), ("0", ""), ("", "")])
def test_the_environment_chooses(value: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With POOL_EXPORTER_PURE=1 nothing is compiled; with another value it is left to the machine."""
    monkeypatch.setenv("POOL_EXPORTER_PURE", value)
    monkeypatch.setattr(sysconfig, "get_config_var", {}.get)

    assert expected == hatch_build.why_pure()


def test_no_gil_is_pure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build without the GIL gets a pure wheel."""
    monkeypatch.setattr(sysconfig, "get_config_var", {"Py_GIL_DISABLED": 1}.get)

    assert "this Python has no GIL" == hatch_build.why_pure()


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import sys; print('error: no cc', file=sys.stderr); sys.exit(1)", "error: no cc"),
        ("import sys; sys.exit(3)", "the compiler has failed"),
        ("raise ModuleNotFoundError('No module named Cython')", "ModuleNotFoundError: No module named Cython"),
        ("print('an error that is only a warning')", ""),
    ],
    ids=["compiler", "nothing said", "no Cython", "success"],
)
def test_a_failure_is_one_line(program: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What keeps the modules from being compiled is one line for the log, and no exception."""
    script = tmp_path / "compile.py"
    script.write_text(program)
    monkeypatch.setattr(hatch_build, "__file__", str(script))

    assert expected == hatch_build.compiled(tmp_path)


class _App:
    """Hatchling's application, as far as the hook calls it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def display_info(self, line: str) -> None:
        self.lines.append(line)

    display_warning = display_info


def hook(directory: Path) -> tuple[hatch_build.CompiledHotPath, _App]:
    """Return the build hook, and what it writes to the log."""
    app = _App()
    return hatch_build.CompiledHotPath(str(ROOT), {}, None, None, str(directory), "wheel", app), app  # type: ignore[arg-type]  # a fake


def test_an_editable_installation_is_pure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It compiles nothing, and is no different from a build without the hook."""
    monkeypatch.setattr(hatch_build, "compiled", lambda _: pytest.fail("it has been compiled"))
    made, app = hook(tmp_path)
    data: dict[str, object] = {}
    made.initialize("editable", data)

    assert ({}, []) == (data, app.lines)


def test_a_pure_wheel_says_why_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be compiled, the wheel is left as it is, and the log has the reason."""
    monkeypatch.setattr(hatch_build, "why_pure", lambda: "")
    monkeypatch.setattr(hatch_build, "compiled", lambda _: "error: no cc")
    made, app = hook(tmp_path)
    data: dict[str, object] = {}
    made.initialize("standard", data)
    made.finalize()

    assert {} == data
    assert ["pool_exporter: a pure wheel, the hot path is not compiled: error: no cc"] == app.lines


def compile_one(build: str, output: Path) -> str:
    """Write a module as if it were compiled."""
    folder = output / build / "pool_exporter" / "state"
    folder.mkdir(parents=True)
    (folder / "slots.so").write_text("")
    return ""


def test_sources_that_change_meanwhile_make_a_pure_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that were compiled from other sources than the wheel is to have are left out."""
    monkeypatch.setattr(hatch_build, "why_pure", lambda: "")
    monkeypatch.setattr(hatch_build, "compiled", partial(compile_one, "before"))
    made, app = hook(tmp_path)
    data: dict[str, object] = {}
    made.initialize("standard", data)
    made.finalize()

    assert {} == data
    assert ["the sources have changed while they were compiled; build again"] == [
        line.rpartition(": ")[2] for line in app.lines
    ]


@pytest.mark.pure("a wheel has no .pxd files")
def test_each_source_is_in_the_id_of_a_build(tmp_path: Path) -> None:
    """A build of other sources or of other C types has another id."""
    shutil.copytree(ROOT / "pool_exporter", tmp_path / "pool_exporter")
    ids = [hatch_build.build_id(tmp_path)]
    for path in [*hatch_build.modules(tmp_path), *(tmp_path / "pool_exporter").rglob("*.pxd")]:
        path.write_text(path.read_text() + "# changed\n")
        ids.append(hatch_build.build_id(tmp_path))

    assert hatch_build.build_id() == ids[0]
    assert sorted(ids) == sorted({*ids})


def test_compiled_modules_are_in_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was compiled goes to the folder in which the package looks, and the wheel is one of this platform."""
    build = hatch_build.build_id()
    monkeypatch.setattr(hatch_build, "why_pure", lambda: "")
    monkeypatch.setattr(hatch_build, "compiled", partial(compile_one, build))
    made, app = hook(tmp_path)
    data: dict[str, object] = {"force_include": {}}
    made.initialize("standard", data)
    (target,) = data["force_include"].values()  # type: ignore[attr-defined]  # a dictionary
    made.finalize()

    assert f"pool_exporter/compiled/{build}/state/slots.so" == target
    assert (False, True) == (data["pure_python"], data["infer_tag"])
    assert ["pool_exporter: the hot path is compiled"] == app.lines
