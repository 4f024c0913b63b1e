"""The shared directory that each of these tests has."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.users import open_folder


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Path:
    directory = tmp_path / "shared"
    directory.mkdir(mode=0o770)
    return directory


@pytest.fixture(name="open_directory")
def _open_directory() -> Iterator[Path]:
    """A shared directory in a folder that every user may enter."""
    with open_folder() as folder:
        directory = folder / "shared"
        directory.mkdir(mode=0o770)
        yield directory
