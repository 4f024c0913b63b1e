"""The `--dir` argument of the commands that read the shared directory, and the variable that stands in for it."""

import argparse
import os
from pathlib import Path
from typing import Final

from pool_exporter.errors import Problem, SettingsError

DIRECTORY_VARIABLE: Final = "POOL_EXPORTER_DIR"


def add_directory(parser: argparse.ArgumentParser) -> None:
    """Add the argument for the shared directory."""
    parser.add_argument(
        "--dir", metavar="DIRECTORY", type=Path, help=f"directory of the workers' files (default: {DIRECTORY_VARIABLE})"
    )


def directory_of(asked: argparse.Namespace) -> Path:
    """Return the directory that is asked for, here or by the environment. Raises SettingsError when none is.

    settings.py would read the variable, too, and more that is the application's; it takes a quarter of a second.
    """
    given: Path | None = asked.dir
    if given is None:
        text = os.environ.get(DIRECTORY_VARIABLE, "").strip()
        if not text:
            raise SettingsError(Problem("--dir", None, f"is needed, or {DIRECTORY_VARIABLE}: the workers' directory"))
        given = Path(text)
    return given
