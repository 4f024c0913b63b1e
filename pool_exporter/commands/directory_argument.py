"""The `--dir` argument of the commands that read the shared directory. POOL_EXPORTER_DIR is its default.

Nothing here may open the directory.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from pool_exporter.arguments import CheckedValue, OnlyValue
from pool_exporter.environment import DIRECTORY, Environment
from pool_exporter.errors import Problem, SettingsError


def add_directory(parser: argparse.ArgumentParser, *, is_for_long: bool = False) -> None:
    """Add the argument for the shared directory.

    Args:
        parser: The parser of a command.
        is_for_long: Whether the command runs for long: then a second value is an error, and else it replaces the first.
    """
    parser.add_argument(
        "--dir",
        metavar="DIRECTORY",
        action=OnlyValue if is_for_long else CheckedValue,
        convert=Path,
        help=f"directory that the workers share (default: ${DIRECTORY})",
    )


def directory_of(arguments: argparse.Namespace, environ: Mapping[str, str], instead: str = "") -> Path:
    """Return the directory of the argument, or else of the environment.

    Args:
        arguments: The parsed arguments.
        environ: The environment.
        instead: The arguments that a command takes in its place, such as "--url".

    Raises:
        SettingsError: Neither names a directory.
    """
    directory: Path | None = arguments.dir or Environment.read(environ)[0].directory
    if directory is None:
        others = f"{DIRECTORY}, {instead}" if instead else f"{DIRECTORY}: the directory that the workers share"
        raise SettingsError(Problem("--dir", None, f"is needed, or {others}"))
    return directory


def other_directory(directory: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the directory of the environment if it is another one than that of the argument; else None."""
    other = Environment.read(environ)[0].directory
    return None if other is None or other.resolve() == directory.resolve() else other
