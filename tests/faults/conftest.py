"""The shared directory that each of these tests has."""

from pathlib import Path

import pytest


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Path:
    directory = tmp_path / "shared"
    directory.mkdir(mode=0o770)
    return directory
