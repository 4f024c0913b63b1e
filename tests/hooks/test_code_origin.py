"""The origin of code by its file: application, library, event loop, and what else runs in a process."""

import asyncio
import collections
import json
import os
import sys
import sysconfig
from pathlib import Path
from types import CodeType, ModuleType

import pytest
import sqlalchemy.pool.base

import pool_exporter.hooks.checkout_patches
from pool_exporter.hooks import code_origin
from pool_exporter.hooks.code_origin import ORIGINS, Origin, Origins, is_loop_boundary, module_name, origin_of

STANDARD = sysconfig.get_path("stdlib")


def code_in(file: str) -> CodeType:
    """Return the code of a function in *file*."""
    return (lambda: None).__code__.replace(co_filename=file)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (__file__, Origin.APPLICATION),
        ("/srv/orders/api.py", Origin.APPLICATION),
        ("orders/api.py", Origin.APPLICATION),
        ("<stdin>", Origin.APPLICATION),
        ("<ipython-input-3-5fb0>", Origin.APPLICATION),
        (pytest.__file__, Origin.LIBRARY),
        (f"{STANDARD}/site-packages/fastapi/routing.py", Origin.LIBRARY),
        ("/usr/lib/python3/dist-packages/flask/app.py", Origin.LIBRARY),
        ("asyncmy/connection.pyx", Origin.LIBRARY),
        (f"{sys.prefix}/bin/gunicorn", Origin.LIBRARY),
        (f"{Path(sys.executable).parent}/celery", Origin.LIBRARY),
        (f"{sys.prefix}/bin/main.py", Origin.APPLICATION),
        (json.__file__, Origin.STANDARD_LIBRARY),
        ("<string>", Origin.STANDARD_LIBRARY),
        ("<frozen importlib._bootstrap>", Origin.STANDARD_LIBRARY),
        (asyncio.tasks.__file__, Origin.STANDARD_LIBRARY),
        (asyncio.events.__file__, Origin.LOOP),
        (asyncio.base_events.__file__, Origin.LOOP),
        (asyncio.runners.__file__, Origin.LOOP),
        ("/venv/lib/python3.12/site-packages/uvloop/__init__.py", Origin.LOOP),
        ("/srv/asyncio/events.py", Origin.APPLICATION),
        (sqlalchemy.pool.base.__file__, Origin.SQLALCHEMY),
        (pool_exporter.hooks.checkout_patches.__file__, Origin.OWN),
        (str(Path(pool_exporter.__file__).parent / "demo" / "service.py"), Origin.APPLICATION),
    ],
)
def test_origin(file: str, expected: Origin) -> None:
    """The file decides, whichever folder the others are in."""
    assert expected is origin_of(code_in(file))
    assert (expected is Origin.LOOP) == is_loop_boundary(code_in(file))


def test_program_in_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `python -c` the program has the file name of generated code: then that is the application's."""
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))

    assert Origin.APPLICATION is Origins()["<string>"]
    assert Origin.STANDARD_LIBRARY is Origins()["<frozen importlib._bootstrap>"]


def test_file_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The origin of a file is kept: a checkout pays for one look into a dictionary."""
    seen: collections.Counter[str] = collections.Counter()
    original = code_origin._origin

    def count(file: str) -> Origin:
        seen[file] += 1
        return original(file)

    monkeypatch.setattr(code_origin, "_origin", count)
    origins = Origins()
    found = {origins["/srv/once.py"] for _ in range(3)}

    assert {Origin.APPLICATION} == found
    assert {"/srv/once.py": 1} == seen


def test_kept_files_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generated code with a new file name each time does not fill the memory."""
    monkeypatch.setattr(code_origin, "_FILES_MAX", 3)
    origins = Origins()
    for number in range(10):
        assert Origin.APPLICATION is origins[f"/srv/{number}.py"]

    assert len(origins.known) <= 3


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("orders/db.py", Origin.LIBRARY),
        ("orders/db/__init__.py", Origin.LIBRARY),
        ("orders/db/session.py", Origin.LIBRARY),
        ("orders/dbs.py", Origin.APPLICATION),
        ("orders/__init__.py", Origin.APPLICATION),
        ("db.py", Origin.APPLICATION),
        ("shop/orders/db.py", Origin.APPLICATION),
    ],
)
def test_skipped_modules(file: str, expected: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that the user names, and all below it, counts as a library; its namesakes elsewhere do not."""
    monkeypatch.syspath_prepend(str(tmp_path))

    assert expected is Origins(["orders.db"])[str(tmp_path / file)]


def test_skipping_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is skipped may change when some files are known already, as by a later `instrument()`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    origins, file = Origins(), str(tmp_path / "orders" / "db.py")

    assert Origin.APPLICATION is origins[file]

    origins.skip(["orders"])

    assert Origin.LIBRARY is origins[file]

    origins.skip([])

    assert Origin.APPLICATION is origins[file]


def test_folder_named_like_a_skipped_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In /app, where containers often keep the application, the package `app` is not everything."""
    folder = tmp_path / "app"
    monkeypatch.syspath_prepend(str(folder))

    assert Origin.APPLICATION is Origins(["app"])[str(folder / "main.py")]
    assert Origin.LIBRARY is Origins(["app"])[str(folder / "app" / "main.py")]


def test_module_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest entry of the path that holds the file decides; a file that cannot be imported has no name."""
    monkeypatch.setattr("sys.path", [str(tmp_path), str(tmp_path / "src"), ""])
    monkeypatch.chdir(tmp_path / os.pardir)

    assert "shop.api" == module_name(str(tmp_path / "src" / "shop" / "api.py"))
    assert "tool" == module_name(str(tmp_path / "tool.py"))
    assert "shop" == module_name(str(tmp_path / "src" / "shop" / "__init__.py"))
    assert "" == module_name("/nowhere/x.py")


def test_without_a_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the current directory was deleted, a file is the application's, and nothing raises."""
    folder = tmp_path / "deleted"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()

    assert Origin.APPLICATION is Origins(["orders"])["orders/api.py"]


@pytest.mark.parametrize("entry", [None, 7, b"/srv"])
def test_entry_of_the_path_that_is_no_text(entry: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python ignores in its path does not raise here."""
    monkeypatch.setattr("sys.path", [entry])

    assert Origin.APPLICATION is Origins(["orders"])["/srv/orders/api.py"]


@pytest.mark.parametrize("file", ["", "/", "."])
def test_file_without_a_name(file: str) -> None:
    """Code may have any text as its file."""
    assert Origins(["orders"])[file] is not Origin.LIBRARY


def test_of_this_process() -> None:
    """Nothing is skipped until a setting says so."""
    assert () == ORIGINS.skipped_modules
