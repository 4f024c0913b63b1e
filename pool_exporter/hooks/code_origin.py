"""Classifies a code object by its file: as the application's, a library's, an event loop's and so on.

The result is kept by file name, because a string keeps its hash and a code object computes it each time. Nothing here
may keep a frame, know a pool, or raise. A checkout reads an origin for each frame above it: of a known file, that is
one lookup in the dictionary `ORIGINS.known`.
"""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from types import CodeType
from typing import Final

import sqlalchemy


class Origin(Enum):
    """What a code object belongs to."""

    APPLICATION = "application"
    LIBRARY = "library"
    """An installed package, or a module that the user wants to be treated as one."""
    STANDARD_LIBRARY = "standard library"
    """Also code that has no file, as generated code."""
    LOOP = "event loop"
    """What runs the handles of an event loop: the frames further out have not called what runs in them."""
    SQLALCHEMY = "sqlalchemy"
    OWN = "pool_exporter"


def _folder(path: Path) -> str:
    return f"{path.as_posix()}/"


_FOLDERS: Final = (
    (_folder(Path(sqlalchemy.__file__).parent), Origin.SQLALCHEMY),
    (_folder(Path(__file__).parent.parent), Origin.OWN),
)
_DEMO: Final = _folder(Path(__file__).parent.parent / "demo")
"""An application that comes with the package."""
_SCRIPTS: Final = frozenset({Path(sys.executable).parent, Path(sys.prefix, "bin"), Path(sys.prefix, "Scripts")})
"""Folders of the scripts that start gunicorn, celery and the like."""
_STANDARD: Final = _folder(Path(os.__file__).parent)
_INSTALLED: Final = ("/site-packages/", "/dist-packages/")
_LOOPS: Final = tuple(f"{_STANDARD}asyncio/{name}.py" for name in ("events", "base_events", "unix_events", "runners"))
_UVLOOP: Final = "/uvloop/__init__.py"
"""The only module of uvloop that has frames; its loop is compiled."""
_COMPILED: Final = (".pyx", ".pxd", ".pxi")
"""Code that Cython has compiled has the path it had when it was built."""
_TYPED: Final = ("<stdin>", "<console>", "<ipython-input", "<python-input")
"""File names of what is typed at a prompt."""
_COMMAND: Final = "<string>"
"""The file name of a program that `python -c` runs, and of code that the standard library generates."""

_FILES_MAX: Final = 10_000
"""Generated code may have a new file name each time."""


class Origins:
    """The origin of each file by the `co_filename` of its code, found when it is first read.

    Args:
        skipped_modules: Modules and packages of the application to treat as a library, as "orders.db".
    """

    def __init__(self, skipped_modules: Iterable[str] = ()) -> None:
        #: Those known so far. A dictionary of an exact type: to read one of a subclass takes four times as long.
        self.known: dict[str, Origin] = {}
        self.skipped_modules = tuple(skipped_modules)

    def __getitem__(self, file: str) -> Origin:
        """Return the origin of *file*."""
        return self.known.get(file) or self.look_at(file)

    def look_at(self, file: str) -> Origin:
        """Work out the origin of *file* and keep it."""
        if len(self.known) >= _FILES_MAX:
            self.known.clear()
        found = _origin(file)
        if found is Origin.APPLICATION and self.skipped_modules and _is_in(module_name(file), self.skipped_modules):
            found = Origin.LIBRARY
        self.known[file] = found
        return found

    def skip(self, modules: Iterable[str]) -> None:
        """Treat these *modules* and packages of the application, and no others, as a library."""
        self.skipped_modules = tuple(modules)
        self.known.clear()


ORIGINS: Final = Origins()
"""The origins of this process."""


def origin_of(code: CodeType) -> Origin:
    """Return what *code* belongs to."""
    return ORIGINS[code.co_filename]


def is_loop_boundary(code: CodeType) -> bool:
    """Return whether *code* runs the handles of an event loop."""
    return ORIGINS[code.co_filename] is Origin.LOOP


def module_name(file: str) -> str:
    """Return the dotted name under which *file* can be imported, by the longest entry of `sys.path`; "" if by none."""
    with suppress(OSError, TypeError, ValueError):  # No current directory; what an application puts into the path.
        path = Path(file).absolute().with_suffix("")
        folders = (Path(each).absolute() for each in list(sys.path))
        names = [".".join(path.relative_to(folder).parts) for folder in folders if path.is_relative_to(folder)]
        return min(names, key=len, default="").removesuffix(".__init__")
    return ""


def _is_program_in_command() -> bool:
    return not hasattr(sys.modules.get("__main__"), "__file__")


def _origin(file: str) -> Origin:
    if file.startswith("<"):
        is_program = file.startswith(_TYPED) or (file == _COMMAND and _is_program_in_command())
        return Origin.APPLICATION if is_program else Origin.STANDARD_LIBRARY
    path = Path(file).as_posix()
    for folder, origin in _FOLDERS:
        if path.startswith(folder):
            return Origin.APPLICATION if path.startswith(_DEMO) else origin
    if path in _LOOPS or path.endswith(_UVLOOP):
        return Origin.LOOP
    if _is_installed(path):  # It may be inside the standard library's folder.
        return Origin.LIBRARY
    return Origin.STANDARD_LIBRARY if path.startswith(_STANDARD) else Origin.APPLICATION


def _is_installed(path: str) -> bool:
    if path.endswith(_COMPILED) or any(folder in path for folder in _INSTALLED):
        return True
    return not path.endswith(".py") and Path(path).parent in _SCRIPTS


def _is_in(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in packages)
