"""A process needs a file while it is a worker; one that has forked, or has no pool, needs none after a while."""

import pytest

from pool_exporter.runtime.files.file_need import LEAVE_SECONDS, FileNeed, Need

LATER = 100 + LEAVE_SECONDS


def test_worker_needs_a_file() -> None:
    """However long no caller comes."""
    now = [100.0]
    need = FileNeed(lambda: now[0])
    found = [need.at_heartbeat(has_pools=True, is_busy=False) for now[0] in (100, LATER, 1000)]

    assert [Need.PRESENT] * 3 == found


@pytest.mark.parametrize("has_pools", [True, False], ids=["forked", "without a pool"])
def test_file_that_is_not_needed_ends(has_pools: bool) -> None:
    """It ends after some time without an event; a use that is under way, or an event, begins that time anew."""
    now = [100.0]
    need = FileNeed(lambda: now[0])
    need.note_fork()
    found = [need.at_heartbeat(has_pools=has_pools, is_busy=False) for now[0] in (100, LATER)]
    found.append(need.at_heartbeat(has_pools=has_pools, is_busy=True))
    found.append(need.at_heartbeat(has_pools=has_pools, is_busy=False))

    assert [Need.ENDING, Need.OVER, Need.PRESENT, Need.ENDING] == found


def test_event_makes_a_worker_of_the_parent() -> None:
    """A process that has forked is a worker again from its next event on."""
    need = FileNeed()
    need.note_fork()
    need.note_event()

    assert Need.PRESENT == need.at_heartbeat(has_pools=True, is_busy=False)
