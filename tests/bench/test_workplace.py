"""Where a Python runs benchmarks: where its own package is found first."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.bench.workplace import program, workplace
from tests.docs.pages import ROOT


@pytest.fixture(name="_anew", autouse=True)
def _anew() -> None:
    """Ask each Python again."""
    workplace.cache_clear()


def python(tmp_path: Path, platlib: Path) -> str:
    """Return a program that answers as a Python with its packages there."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\necho {platlib}\n")
    path.chmod(0o755)
    return str(path)


def test_without_a_wheel_it_is_the_repository(tmp_path: Path) -> None:
    """An environment with an editable installation has no copy of the package, only the data of its wheel."""
    (tmp_path / "pool_exporter" / "monitoring").mkdir(parents=True)

    assert ROOT == workplace(python(tmp_path, tmp_path))


def test_a_wheel_is_found_first(tmp_path: Path) -> None:
    """The directory has these tests and the package of the wheel; each time it is the same one."""
    (tmp_path / "pool_exporter").mkdir()
    (tmp_path / "pool_exporter" / "__init__.py").touch()
    where = workplace(python(tmp_path, tmp_path))

    assert {"pool_exporter": tmp_path / "pool_exporter", "tests": ROOT / "tests"} == {
        path.name: path.readlink() for path in where.iterdir()
    }
    assert where == workplace(python(tmp_path, tmp_path))


def test_program_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path and a name of the PATH are found from every directory, and a link stays one."""
    monkeypatch.setattr(shutil, "which", {"python9": "/bin/python9"}.get)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(sys.executable)

    assert ["/bin/python9", str(tmp_path / "link")] == [program("python9"), program("link")]
