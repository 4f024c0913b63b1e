"""Slots in a worker file are where readers in other processes look for them: those of `layout`, one after the other."""

from pathlib import Path

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.state.layout import Slots
from pool_exporter.state.pool_slots import UNLIMITED, new_slots
from pool_exporter.workers.file_format import ENTRIES_MAX, ENTRY_BYTES, FILE_BYTES, IDENTITY_BYTES, entries_at
from pool_exporter.workers.file_writer import WorkerFiles

LARGEST, SMALLEST = 2**63 - 1, -(2**63)


def mapped(directory: Path, pools: int) -> list[Slots]:
    """Return the slots of so many pools in a worker file of *directory*."""
    worker = WorkerFiles(directory, "1")
    found = [worker.allocate(PoolIdentity(f"p{number}"), PoolConfig()) for number in range(pools)]
    return [slots for slots in found if slots is not None]


def test_new_slots_are_zero(tmp_path: Path) -> None:
    """A new pool has as many slots as the layout, all zero, in memory and in a file; there it has no limit at first."""
    (slots,) = mapped(tmp_path, 1)
    limit, slots[layout.LIMIT] = slots[layout.LIMIT], 0

    assert UNLIMITED == limit
    assert [0] * layout.SLOT_COUNT == list(new_slots()) == list(slots)


def test_slots_are_at_their_offsets_in_the_file(tmp_path: Path) -> None:
    """The slot with the index n of the pool k is 8 little-endian bytes at the offset that the format gives."""
    pools = mapped(tmp_path, ENTRIES_MAX)
    for number, slots in enumerate(pools):
        slots[0], slots[1], slots[layout.SLOT_COUNT - 1] = number + 1, SMALLEST, LARGEST
    (path,) = tmp_path.glob("w-*.pool")
    data = path.read_bytes()
    starts = [entries_at(data) + number * ENTRY_BYTES + IDENTITY_BYTES for number in range(ENTRIES_MAX)]

    def stored(offset: int) -> list[int]:
        return [int.from_bytes(data[at + offset :][:8], "little", signed=True) for at in starts]

    assert list(range(1, ENTRIES_MAX + 1)) == stored(0)
    assert [SMALLEST] * ENTRIES_MAX == stored(8)
    assert [LARGEST] * ENTRIES_MAX == stored(8 * layout.SLOT_COUNT - 8)
    assert starts[-1] + 8 * layout.SLOT_COUNT <= FILE_BYTES


def test_slots_of_two_pools_do_not_overlap(tmp_path: Path) -> None:
    """What is stored in all slots of one pool changes no slot of its neighbours."""
    before, pool, after = mapped(tmp_path, 3)

    for slot in range(layout.SLOT_COUNT):
        pool[slot] = LARGEST
    before[layout.LIMIT] = after[layout.LIMIT] = 0

    assert [0] * layout.SLOT_COUNT == list(before) == list(after)
