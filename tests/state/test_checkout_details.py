"""The details of a checkout are read as they were written, cut to their slots, and no other slot is changed."""

import pytest

from pool_exporter.state import layout
from pool_exporter.state.checkout_details import read_owner, read_server_pid, write_owner, write_server_pid
from pool_exporter.state.layout import SECOND
from pool_exporter.state.pool_slots import new_slots

LAST = layout.CHECKOUT_TIMES + layout.TRACKED_MAX - 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Task-17", "Task-17"),
        ("", ""),
        ("x" * 40, "x" * 16),
        ("é" * 9, "é" * 8),
        ("file-\udc80", "file-?"),
        ("a" + "é" * 9, "a" + "é" * 7),
    ],
)
@pytest.mark.parametrize("slot", [layout.CHECKOUT_TIMES, LAST])
def test_owner_is_read_as_written(name: str, expected: str, slot: int) -> None:
    """The first bytes of a name are kept, and no half of a character; a shorter name leaves nothing of a longer one."""
    slots = new_slots()
    write_owner(slots, slot, "y" * 16)
    write_owner(slots, slot, name)

    assert expected == read_owner(slots, slot)


def test_last_slot_ends_where_the_slots_end() -> None:
    """The details of the last slot end where the slots end."""
    slots = new_slots()
    write_owner(slots, LAST, "x" * 16)
    write_server_pid(slots, LAST, 7)

    assert [0] * layout.SERVER_PIDS == list(slots[: layout.SERVER_PIDS])
    assert (7, layout.SLOT_COUNT) == (slots[layout.OWNER_NAMES - 1], len(slots))
    assert all(slots[-layout.OWNER_NAME_SLOTS :])


def test_untracked_connection_has_no_details() -> None:
    """An untracked connection has no details."""
    slots = new_slots()
    write_owner(slots, 0, "name")
    write_server_pid(slots, 0, 7)

    assert new_slots() == slots


@pytest.mark.parametrize(
    ("server_pid", "opened", "expected"),
    [
        (4711, 0, (4711, 0)),
        (4711, 7 * SECOND + 5, (4711, 7 * SECOND)),
        (4711, 5, (4711, SECOND)),
        (0, 7 * SECOND, (0, 0)),
        (2**32 - 1, 2**30 * SECOND, (2**32 - 1, 2**30 * SECOND)),
        (2**32, 0, (0, 0)),
        (-1, 0, (0, 0)),
    ],
)
def test_number_and_time_are_read_as_written(server_pid: int, opened: int, expected: tuple[int, int]) -> None:
    """The time is cut to the second, and never to 0; a number that no server gives is unknown."""
    slots = new_slots()
    write_server_pid(slots, LAST, server_pid, opened)

    assert expected == read_server_pid(slots, LAST)
    assert slots[layout.OWNER_NAMES - 1] < 2**63


def test_name_of_a_thread_with_a_surrogate() -> None:
    """A thread may be named after a file, and that name may have half a character."""
    slots = new_slots()
    write_owner(slots, layout.CHECKOUT_TIMES, "file-\udc80")

    assert "file-?" == read_owner(slots, layout.CHECKOUT_TIMES)
