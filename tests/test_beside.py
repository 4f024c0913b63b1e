"""What stands beside a row is read as it was written, cut where it must be, and nothing else is touched."""

import pytest

from pool_exporter import layout
from pool_exporter.beside import read_owner, write_owner, write_server
from pool_exporter.slots import allocate

LAST = layout.USE_ROW + layout.ROWS - 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Task-17", "Task-17"), ("", ""), ("x" * 40, "x" * 16), ("é" * 9, "é" * 8), ("a" + "é" * 9, "a" + "é" * 7)],
)
@pytest.mark.parametrize("row", [layout.USE_ROW, LAST])
def test_owner_is_read_as_written(name: str, expected: str, row: int) -> None:
    """The first bytes of a name are kept, and no half of a character; a shorter name leaves nothing of a longer one."""
    words = allocate()
    write_owner(words, row, "y" * 16)
    write_owner(words, row, name)

    assert expected == read_owner(words, row)


def test_last_row_is_the_last_words() -> None:
    """What belongs to the last row ends where the words end."""
    words = allocate()
    write_owner(words, LAST, "x" * 16)
    write_server(words, LAST, 7)

    assert [0] * layout.SERVER_ROW == words[: layout.SERVER_ROW]
    assert (7, layout.WORDS) == (words[layout.OWNER_ROW - 1], len(words))
    assert all(words[-layout.OWNER_WORDS :])


def test_connection_without_a_row_has_nothing_beside_it() -> None:
    """A connection for which no row was left writes nowhere."""
    words = allocate()
    write_owner(words, 0, "name")
    write_server(words, 0, 7)

    assert allocate() == words
