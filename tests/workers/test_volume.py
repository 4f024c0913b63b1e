"""The reserve is made once, with room for the totals to grow, and again when they have outgrown it."""

import stat
from pathlib import Path

import pytest

from pool_exporter.workers.volume import RESERVE, RESERVE_BYTES, keep_reserve


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, RESERVE_BYTES), (RESERVE_BYTES // 2, RESERVE_BYTES), (RESERVE_BYTES // 2 + 1, RESERVE_BYTES + 2)],
)
def test_size_of_the_reserve(tmp_path: Path, size: int, expected: int) -> None:
    """The reserve has its least size, or twice the size of what was written last if that is more."""
    keep_reserve(tmp_path, 0o640, size)
    found = (tmp_path / RESERVE).stat()

    assert (expected, 0o640) == (found.st_size, stat.S_IMODE(found.st_mode))


@pytest.mark.parametrize(("size", "is_kept"), [(RESERVE_BYTES, True), (RESERVE_BYTES + 1, False)])
def test_reserve_is_made_again_when_it_is_too_small(tmp_path: Path, size: int, *, is_kept: bool) -> None:
    """A reserve that is large enough stays; another one is replaced, and nothing else is left behind."""
    keep_reserve(tmp_path, 0o640, RESERVE_BYTES)
    before = (tmp_path / RESERVE).stat().st_ino
    keep_reserve(tmp_path, 0o640, size)

    assert is_kept == (before == (tmp_path / RESERVE).stat().st_ino)
    assert [RESERVE] == [path.name for path in tmp_path.iterdir()]
