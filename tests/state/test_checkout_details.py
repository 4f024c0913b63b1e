"""The details of a checkout are read as they were written, cut to their slots, and no other slot is changed."""

import pytest

from pool_exporter.state import layout
from pool_exporter.state.checkout_details import read_owner, write_owner, write_server_pid
from pool_exporter.state.layout import new_slots

LAST = layout.CHECKOUT_TIMES + layout.TRACKED_MAX - 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Task-17", "Task-17"), ("", ""), ("x" * 40, "x" * 16), ("é" * 9, "é" * 8), ("a" + "é" * 9, "a" + "é" * 7)],
)
@pytest.mark.parametrize("slot", [layout.CHECKOUT_TIMES, LAST])
def test_owner_is_read_as_written(name: str, expected: str, slot: int) -> None:
    """The first bytes of a name are kept, and no half of a character; a shorter name leaves nothing of a longer one."""
    slots = new_slots()
    write_owner(slots, slot, "y" * 16)
    write_owner(slots, slot, name)

    assert expected == read_owner(slots, slot)


def test_last_row_is_the_last_words() -> None:
    """The details of the last slot end where the slots end."""
    slots = new_slots()
    write_owner(slots, LAST, "x" * 16)
    write_server_pid(slots, LAST, 7, 9)

    assert [0] * layout.SERVER_PIDS == slots[: layout.SERVER_PIDS]
    assert (7, 9) == (slots[layout.OWNER_NAMES - 1], slots[-1])
    assert all(slots[layout.OPENED_TIMES - layout.OWNER_NAME_SLOTS : layout.OPENED_TIMES])


def test_connection_without_a_row_has_nothing_beside_it() -> None:
    """An untracked connection has no details."""
    slots = new_slots()
    write_owner(slots, 0, "name")
    write_server_pid(slots, 0, 7)

    assert new_slots() == slots
