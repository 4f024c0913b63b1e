"""A worker is live, frozen, stopped or crashed by what all its files say."""

import pytest

from pool_exporter.workers.file_format import CLOSED, OPEN, WorkerFile, Writer
from pool_exporter.workers.file_reader import ReadFile
from pool_exporter.workers.worker_state import FROZEN_NS, state_of

NOW = 100 * FROZEN_NS


def file(name: str, *, is_alive: bool = False, age: int = 0, state: int = OPEN) -> ReadFile:
    """Return a file of one process, whose first file is named "first"."""
    writer = Writer(name.encode(), b"first", b"", b"", 0, 0, 0, 0, 0, 0)
    return ReadFile(name, is_alive, False, WorkerFile(writer, state, NOW - age, 0, 0, 0, ()))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([file("first", is_alive=True, age=FROZEN_NS)], "live"),
        ([file("first", is_alive=True, age=FROZEN_NS + 1)], "frozen"),
        ([file("first", is_alive=True, age=FROZEN_NS + 1), file("second", is_alive=True)], "live"),
        ([file("first", is_alive=True, state=CLOSED)], "live"),
        ([file("first", state=CLOSED, age=FROZEN_NS + 1)], "stopped"),
        ([file("first")], "crashed"),
        ([file("second", state=OPEN), file("first", state=CLOSED)], "stopped"),
        ([file("second", state=CLOSED)], "stopped"),
    ],
    ids=[
        "live",
        "frozen",
        "newest heartbeat",
        "ending",
        "stopped",
        "crashed",
        "first file decides",
        "without its first",
    ],
)
def test_state(files: list[ReadFile], expected: str) -> None:
    """A process with a locked file lives, by its newest heartbeat; its first file says how one has ended."""
    assert expected == state_of(files, NOW)
