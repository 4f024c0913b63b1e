"""A worker is living, frozen, stopped, crashed or lost by what all its files say."""

import pytest

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.workers.file_format import CLOSED, OPEN, PoolEntry, WorkerFile, Writer
from pool_exporter.workers.file_reader import ReadFile
from pool_exporter.workers.worker_state import FROZEN_NS, heartbeat_age_seconds, state_of

NOW = 100 * FROZEN_NS


def file(name: str, *, is_alive: bool = False, age: int = 0, state: int = OPEN, at: int = 0) -> ReadFile:
    """Return a file of one process, with a first file named "first"; the slot *at* of its pool is taken."""
    slots = [0] * layout.SLOT_COUNT
    slots[at] = 1
    entry = PoolEntry(PoolIdentity("orders"), PoolConfig(), OPEN, slots)
    writer = Writer(name.encode(), b"first", b"", b"", 0, 0, 0, 0, 0, 0)
    return ReadFile(name, is_alive, False, WorkerFile(writer, state, NOW - age, 0, 0, 0, (entry,)))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([file("first", is_alive=True, age=FROZEN_NS)], "living"),
        ([file("first", is_alive=True, age=FROZEN_NS + 1)], "frozen"),
        ([file("first", is_alive=True, age=FROZEN_NS + 1), file("second", is_alive=True)], "living"),
        ([file("first", is_alive=True, state=CLOSED)], "living"),
        ([file("first", state=CLOSED, age=FROZEN_NS + 1)], "stopped"),
        ([file("first")], "lost"),
        ([file("first", at=layout.CHECKOUT_TIMES + 3)], "crashed"),
        ([file("first", at=layout.PENDING_TIMES)], "crashed"),
        ([file("first"), file("second", at=layout.UNTRACKED_CHECKOUTS)], "crashed"),
        ([file("first", state=CLOSED, at=layout.CHECKOUT_TIMES)], "stopped"),
        ([file("second", state=OPEN), file("first", state=CLOSED)], "stopped"),
        ([file("second", state=CLOSED)], "stopped"),
    ],
    ids=[
        "living",
        "frozen",
        "newest heartbeat",
        "ending",
        "stopped",
        "lost",
        "killed while it used a connection",
        "killed while a caller waited",
        "killed while its second file had a use",
        "stopped while it used a connection",
        "first file decides",
        "without its first",
    ],
)
def test_state(files: list[ReadFile], expected: str) -> None:
    """A process with a locked file lives, by its newest heartbeat; its first file says how one has ended."""
    assert expected == state_of(files, NOW)


def test_age_is_that_of_the_newest_heartbeat() -> None:
    """Each file has the heartbeat of its last write; the age is in seconds."""
    files = [file("first", age=9 * layout.SECOND), file("second", age=2 * layout.SECOND)]

    assert 2.0 == heartbeat_age_seconds(files, NOW)
