"""The `--dir` argument of the commands that read the shared directory. POOL_EXPORTER_DIR is its default.

Nothing here may open a file of the directory.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pool_exporter.arguments import CheckedValue, OnlyValue
from pool_exporter.diagnosis.outside.set_aside import set_aside_sentence
from pool_exporter.environment import DIRECTORY, Environment
from pool_exporter.errors import CorruptFile, Problem, SettingsError
from pool_exporter.workers.contents.readable import fault_of_files, fault_of_listing


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
        convert=_path,
        help=f"directory that the workers share (default: ${DIRECTORY})",
    )


def _path(text: str) -> Path | None:
    """Return the path; None if it is empty, as of a variable that is not set: not the current directory."""
    return Path(text) if text else None


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


@contextmanager
def read_by_user(directory: Path) -> Iterator[None]:
    """Run what reads the directory; OSError in it is the error of a command.

    Raises:
        SettingsError: The directory cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise SettingsError(Problem("--dir", str(directory), fault_of_listing(error))) from None


def check_files(directory: Path) -> None:
    """Check that this user may read all worker files of a directory: else what is shown is not all that there is.

    Raises:
        SettingsError: Some worker files cannot be read, or the directory.
    """
    with read_by_user(directory):
        fault = fault_of_files(directory)
    if fault:
        raise SettingsError(Problem("--dir", str(directory), fault))


def note_set_aside(files: Sequence[CorruptFile]) -> None:
    """Say on stderr that worker files could not be used, if so: what their processes have is in no number then."""
    if files:
        sys.stderr.write(f"pool-exporter: {set_aside_sentence(files)}\n")


def other_directory(directory: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the directory of the environment if it is another one than that of the argument; else None."""
    other = Environment.read(environ)[0].directory
    return None if other is None or other.resolve() == directory.resolve() else other
