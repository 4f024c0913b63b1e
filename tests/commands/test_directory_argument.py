"""The argument `--dir`: one directory, of the command line or of the environment."""

import argparse
from pathlib import Path

import pytest

from pool_exporter.arguments import problems_of
from pool_exporter.commands.directory_argument import add_directory, directory_of, other_directory
from pool_exporter.errors import SettingsError


@pytest.fixture(name="parser")
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_directory(parser, is_for_long=True)
    return parser


def test_directory_of(parser: argparse.ArgumentParser) -> None:
    """The argument wins over the variable; without both it is an error that names both."""
    environ = {"POOL_EXPORTER_DIR": "/run/b"}

    assert Path("/run/a") == directory_of(parser.parse_args(["--dir=/run/a"]), environ)
    assert Path("/run/b") == directory_of(parser.parse_args([]), environ)
    with pytest.raises(SettingsError, match="--dir: is needed, or POOL_EXPORTER_DIR"):
        directory_of(parser.parse_args([]), {})


def test_directory_given_twice(parser: argparse.ArgumentParser) -> None:
    """Two values are an error that names both, where argparse would take the last one; the same one twice is none."""
    twice = parser.parse_args(["--dir=/a", "--dir=/b"])

    assert ["--dir='/b': is the second value; the first is /a"] == list(map(str, problems_of(twice)))
    assert () == problems_of(parser.parse_args(["--dir=/a", "--dir", "/a"]))


def test_empty_directory(parser: argparse.ArgumentParser) -> None:
    """An empty text, as of a variable that is not set, is not the current directory but no argument."""
    empty = parser.parse_args(["--dir="])

    assert Path("/run/b") == directory_of(empty, {"POOL_EXPORTER_DIR": "/run/b"})
    with pytest.raises(SettingsError, match="--dir: is needed"):
        directory_of(empty, {})


def test_last_directory_of_a_command_that_looks_once() -> None:
    """Elsewhere the last value counts, so that an alias of the shell can have a default."""
    parser = argparse.ArgumentParser()
    add_directory(parser)

    assert Path("/b") == parser.parse_args(["--dir=/a", "--dir=/b"]).dir


def test_other_directory(tmp_path: Path) -> None:
    """The variable names another directory, unless it is the same by another path, or unset."""
    (tmp_path / "link").symlink_to(tmp_path)

    assert Path("/run/b") == other_directory(tmp_path, {"POOL_EXPORTER_DIR": "/run/b"})
    assert other_directory(tmp_path, {"POOL_EXPORTER_DIR": str(tmp_path / "link")}) is None
    assert other_directory(tmp_path, {}) is None
