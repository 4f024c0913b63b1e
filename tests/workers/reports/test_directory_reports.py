"""What a directory says that its workers hold: living, frozen and ended ones, from slots and names together."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pool_exporter.metrics.holders import Holder, Waiter
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport, ProcessReport
from pool_exporter.state import layout
from pool_exporter.state.checkout_details import write_owner, write_server_pid
from pool_exporter.state.layout import SECOND, Slots
from pool_exporter.workers.compaction import Compactor
from pool_exporter.workers.file_format import ENTRIES_MAX
from pool_exporter.workers.file_reader import scan
from pool_exporter.workers.file_writer import WorkerFiles
from pool_exporter.workers.reports import crashed
from pool_exporter.workers.reports.crashed import BYTES_MAX, CRASHED_FILE, KEPT_MAX, KEPT_SECONDS, read_crashed
from pool_exporter.workers.reports.directory_reports import DirectoryReports

ORDERS = PoolIdentity("orders", "postgresql", "shop", "db", "5432", "checkout")
FIRST, SECOND_SLOT = layout.CHECKOUT_TIMES, layout.CHECKOUT_TIMES + 1
HOLDER = Holder(
    0.0, "orders/api.py:42 in create", "POST /orders", "orders/api.py:41 in create", "own_code", owner="Task-1"
)
WAITER = Waiter(0.0, "orders/api.py:9 in read", "GET /orders", "Task-2", 1)


class Worker:
    """A worker with one pool, which has been there for 10 seconds, and which has crashed if it is not unmapped."""

    def __init__(self, directory: Path) -> None:
        self.files = WorkerFiles(directory, "1")
        slots = self.files.allocate(ORDERS, PoolConfig(3, 2))
        assert slots is not None
        self.slots: Slots = slots
        slots[layout.ORIGIN] = time.monotonic_ns() - 10 * SECOND
        slots[layout.OPEN_COUNT] = 3

    def hold(self, slot: int = FIRST, since: int = SECOND) -> None:
        """Have a connection checked out *since* nanoseconds after the begin."""
        self.slots[slot] = since

    def write(
        self, *holders: Holder, waiters: tuple[Waiter, ...] = (), moment: int = 9 * SECOND, verdict: str = ""
    ) -> None:
        """Write what is held at *moment*, as a heartbeat does."""
        report = PoolReport(ORDERS, holders, waiters, verdict, verdict_at=5.0 if verdict else 0.0)
        self.files.write_holders([(self.slots, moment, report)], time.time())
        self.files.write_heartbeat(time.monotonic_ns(), 0)


@pytest.fixture(name="worker")
def _worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    yield worker
    worker.files.unmap()


def one(directory: Path) -> ProcessReport:
    """Return the only report."""
    [report] = DirectoryReports(directory)()
    return report


def held(directory: Path) -> tuple[Holder, ...]:
    """Return the holders of the only pool, without their ages."""
    [pool] = one(directory).pools
    return tuple(replace(each, seconds=0.0) for each in pool.holders)


def ages(report: ProcessReport) -> list[float]:
    """Return the ages of the holders of its only pool."""
    [pool] = report.pools
    return [holder.seconds for holder in pool.holders]


# Living workers.


def test_holder_has_its_names_and_its_age_of_now(worker: Worker, tmp_path: Path) -> None:
    """The names are those of the heartbeat, the age is that of the reading."""
    worker.hold()
    worker.write(replace(HOLDER, seconds=8.0), verdict="leak")
    report = one(tmp_path)

    assert ("living", "checkout") == (report.state, report.service)
    assert (HOLDER,) == held(tmp_path)
    assert ages(report) == [pytest.approx(9.0, abs=5)]
    assert time.time() - report.seen_at == pytest.approx(0, abs=60)
    assert ("leak", 5.0) == (report.pools[0].verdict, report.pools[0].verdict_at)
    assert ORDERS == report.pools[0].pool


def test_young_callers_of_an_exhausted_pool_wait(worker: Worker, tmp_path: Path) -> None:
    """A caller that is younger than the last heartbeat is counted where no place is free; else it gets one at once."""
    worker.hold()
    worker.slots[layout.PENDING_TIMES] = time.monotonic_ns() - worker.slots[layout.ORIGIN]
    worker.write(replace(HOLDER, seconds=8.0))
    counts = []
    for limit in (3, 1):
        worker.slots[layout.LIMIT] = limit
        counts.append(len(one(tmp_path).pools[0].waiters))

    assert [0, 1] == counts


def test_returned_connection_is_not_held(worker: Worker, tmp_path: Path) -> None:
    """What was returned after the heartbeat is gone, although its names are still there."""
    worker.write(replace(HOLDER, seconds=8.0))

    assert () == held(tmp_path)


def test_connection_taken_after_the_heartbeat(worker: Worker, tmp_path: Path) -> None:
    """It is shown with what the slots have: the first bytes of the owner's name and the server pid."""
    worker.hold()
    worker.hold(SECOND_SLOT, 9 * SECOND)
    write_owner(worker.slots, SECOND_SLOT, "Task-with-a-long-name")
    write_server_pid(worker.slots, SECOND_SLOT, 4711)
    worker.write(replace(HOLDER, seconds=8.0))

    assert (HOLDER, Holder(0.0, owner="Task-with-a-long", server_pid=4711)) == held(tmp_path)


@pytest.mark.parametrize("later", [10_000, 8 * SECOND])
def test_slot_that_is_used_again_has_no_old_names(worker: Worker, tmp_path: Path, later: int) -> None:
    """A later checkout of the same slot is another one, also some microseconds later."""
    worker.hold(FIRST, SECOND + later)
    worker.write(replace(HOLDER, seconds=8.0))

    assert (Holder(0.0),) == held(tmp_path)


def test_two_that_began_at_once_have_their_own_names(worker: Worker, tmp_path: Path) -> None:
    """Begins that differ by a microsecond get their names by their order."""
    worker.hold(FIRST, SECOND)
    worker.hold(SECOND_SLOT, SECOND + 1000)
    other = replace(HOLDER, owner="Task-9")
    worker.write(replace(HOLDER, seconds=8.0), replace(other, seconds=7.999_999))

    assert (HOLDER, other) == held(tmp_path)


@pytest.mark.parametrize("untracked", [0, 1, 2])
def test_untracked_connections_are_held(worker: Worker, tmp_path: Path, untracked: int) -> None:
    """As many rows without a slot are shown as there are untracked connections, the oldest ones."""
    worker.slots[layout.UNTRACKED_CHECKOUTS] = untracked
    worker.write(*(replace(HOLDER, seconds=8.0 - number, owner=f"Task-{number}") for number in range(3)))

    assert [f"Task-{number}" for number in range(untracked)] == [holder.owner for holder in held(tmp_path)]


@pytest.mark.parametrize(("since", "count"), [(SECOND, 1), (60 * SECOND, 0)])
def test_caller_without_names_waits_if_it_is_old(worker: Worker, tmp_path: Path, since: int, count: int) -> None:
    """A caller of this moment most likely gets its connection at once."""
    worker.slots[layout.PENDING_TIMES] = since
    worker.write()

    assert count == len(one(tmp_path).pools[0].waiters)


def test_waiters_are_oldest_first(worker: Worker, tmp_path: Path) -> None:
    """They have their names, and what each holds already."""
    worker.slots[layout.PENDING_TIMES], worker.slots[layout.PENDING_TIMES + 1] = 3 * SECOND, 2 * SECOND
    worker.write(waiters=(replace(WAITER, seconds=6.0), replace(WAITER, seconds=7.0, owner="Task-3")))
    waiters = one(tmp_path).pools[0].waiters

    assert [("Task-3", 1), ("Task-2", 1)] == [(each.owner, each.holds) for each in waiters]


def test_pool_of_a_further_file(worker: Worker, tmp_path: Path) -> None:
    """The first file has the names of all pools of the process."""
    made = [worker.files.allocate(PoolIdentity(f"pool-{number}"), PoolConfig()) for number in range(ENTRIES_MAX)]
    slots = made[-1]
    assert slots is not None
    slots[layout.ORIGIN], slots[FIRST] = worker.slots[layout.ORIGIN], SECOND
    report = PoolReport(PoolIdentity("x"), (replace(HOLDER, seconds=8.0),))
    worker.files.write_holders([(slots, 9 * SECOND, report)], time.time())
    pools = {pool.pool.name: pool for pool in one(tmp_path).pools}

    assert ENTRIES_MAX + 1 == len(pools)
    assert HOLDER.place == pools[f"pool-{ENTRIES_MAX - 1}"].holders[0].place


def test_scrape_does_not_read_names(worker: Worker, tmp_path: Path) -> None:
    """They are behind what a scrape reads."""
    worker.hold()
    worker.write(replace(HOLDER, seconds=8.0))

    assert [b""] == [found.file.holders for found in scan(tmp_path).files]


def test_nothing_is_written_while_nothing_is_held(worker: Worker, tmp_path: Path) -> None:
    """Once what was held is returned, the names go, once."""
    worker.write(replace(HOLDER, seconds=8.0))
    worker.files.write_holders([], time.time())
    [path] = tmp_path.glob("w-*")
    before = path.read_bytes()
    worker.files.write_holders([], time.time())

    assert before == path.read_bytes()
    assert b"" != scan(tmp_path, with_holders=True).files[0].file.holders


# Frozen and ended ones.


def test_frozen_worker(worker: Worker, tmp_path: Path) -> None:
    """A worker without a heartbeat is frozen, and what it holds grows older."""
    worker.hold()
    worker.write(replace(HOLDER, seconds=8.0))
    worker.files.write_heartbeat(time.monotonic_ns() - 100 * SECOND, 0)
    report = one(tmp_path)

    assert ("frozen", (HOLDER,)) == (report.state, held(tmp_path))
    assert report.heartbeat_age_seconds == pytest.approx(100, abs=50)


def killed(directory: Path, owner: str = "Task-1") -> None:
    """Run a worker that is killed while it holds a connection."""
    worker = Worker(directory)
    worker.hold()
    worker.write(replace(HOLDER, seconds=8.0, owner=owner), verdict="leak")
    worker.files.unmap()


def test_killed_worker_is_as_of_its_last_heartbeat(tmp_path: Path) -> None:
    """Until its file is compacted, it is read from there."""
    killed(tmp_path)
    first, then = one(tmp_path), one(tmp_path)

    assert ("ended", (HOLDER,)) == (first.state, held(tmp_path))
    assert ages(first) == ages(then)
    assert first.seen_at == pytest.approx(then.seen_at, abs=1)


def test_killed_worker_is_kept_when_it_is_compacted(tmp_path: Path) -> None:
    """What it held stays beside the totals, with its last report."""
    killed(tmp_path)
    before = one(tmp_path)
    Compactor(tmp_path).compact(scan(tmp_path))
    after = one(tmp_path)

    assert [] == list(tmp_path.glob("w-*"))
    assert replace(before, seen_at=0.0, heartbeat_age_seconds=0.0) == replace(
        after, seen_at=0.0, heartbeat_age_seconds=0.0
    )
    assert "leak" == after.pools[0].verdict


def test_only_crashed_workers_are_kept(tmp_path: Path) -> None:
    """One that ended in order, and one that held nothing, leave nothing."""
    stopped, idle = Worker(tmp_path), Worker(tmp_path)
    stopped.hold()
    stopped.files.mark_ended()
    for worker in (stopped, idle):
        worker.files.unmap()
    Compactor(tmp_path).compact(scan(tmp_path))

    assert () == DirectoryReports(tmp_path)()
    assert not (tmp_path / CRASHED_FILE).exists()


def test_age_of_the_heartbeat_of_a_crashed_worker_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is of the moment at which it is read, not of that at which the file was compacted."""
    killed(tmp_path, "Task-1")
    Compactor(tmp_path).compact(scan(tmp_path))
    [before], now = read_crashed(tmp_path), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 240)
    [after] = read_crashed(tmp_path)

    assert 240 == pytest.approx(after.heartbeat_age_seconds - before.heartbeat_age_seconds, abs=5)
    assert before.pools == after.pools


def test_file_that_is_replaced_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reports of the new file are read: none is missing while another process compacts."""
    killed(tmp_path)
    Compactor(tmp_path).compact(scan(tmp_path))
    path, real, before = tmp_path / CRASHED_FILE, os.open, read_crashed(tmp_path)
    new = path.with_name("new")
    new.write_bytes(path.read_bytes())

    def opening(*arguments: Any, **options: Any) -> int:
        descriptor = real(*arguments, **options)
        if arguments[0] == path and new.exists():
            new.rename(path)
        return descriptor

    monkeypatch.setattr(os, "open", opening)

    assert [each.instance for each in before] == [each.instance for each in read_crashed(tmp_path)]
    assert not new.exists()


def test_kept_reports_are_bounded_in_number(tmp_path: Path) -> None:
    """The last KEPT_MAX are kept."""
    for number in range(KEPT_MAX + 3):
        killed(tmp_path, f"Task-{number}")
        Compactor(tmp_path).compact(scan(tmp_path))

    assert [f"Task-{number}" for number in range(3, KEPT_MAX + 3)] == [
        report.pools[0].holders[0].owner for report in read_crashed(tmp_path)
    ]


def test_kept_reports_are_bounded_in_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two and a half have space, the last two stay."""
    for number in range(6):
        killed(tmp_path, f"Task-{number}")
        Compactor(tmp_path).compact(scan(tmp_path))
        if not number:
            monkeypatch.setattr(crashed, "BYTES_MAX", (tmp_path / CRASHED_FILE).stat().st_size * 5 // 2)

    assert ["Task-4", "Task-5"] == [report.pools[0].holders[0].owner for report in read_crashed(tmp_path)]


@pytest.mark.parametrize(("seconds", "count"), [(0, 1), (KEPT_SECONDS + 60, 0)])
def test_kept_reports_are_bounded_in_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, count: int
) -> None:
    """What a worker held two days ago is of no use."""
    killed(tmp_path)
    Compactor(tmp_path).compact(scan(tmp_path))
    now = time.time() + seconds
    monkeypatch.setattr(time, "time", lambda: now)

    assert count == len(read_crashed(tmp_path))


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"{}", b"[1]", b'[{"pools": 1}]', b"[" * 9000, b"x" * (BYTES_MAX + 1), None]
)
def test_kept_reports_may_be_anything(tmp_path: Path, content: bytes | None) -> None:
    """Whatever the file is, there is no report, and a worker that crashes next is kept."""
    path = tmp_path / CRASHED_FILE
    path.symlink_to("/etc/passwd") if content is None else path.write_bytes(content)
    before = read_crashed(tmp_path)
    killed(tmp_path)
    Compactor(tmp_path).compact(scan(tmp_path))

    assert ((), 1) == (before, len(read_crashed(tmp_path)))


def test_counters_are_compacted_where_reports_cannot_be_kept(tmp_path: Path) -> None:
    """A file that cannot be replaced costs the report, and no counter."""
    (tmp_path / CRASHED_FILE).mkdir()
    killed(tmp_path)

    assert 1 == Compactor(tmp_path).compact(scan(tmp_path))


def test_left_file_says_nothing(worker: Worker, tmp_path: Path) -> None:
    """A process that goes on without its file is not described by it."""
    worker.hold()
    worker.write(replace(HOLDER, seconds=8.0))
    worker.files.leave()

    assert () == DirectoryReports(tmp_path)()


def test_missing_directory(tmp_path: Path) -> None:
    """A directory that cannot be read is an error of the caller."""
    with pytest.raises(FileNotFoundError):
        DirectoryReports(tmp_path / "missing")()
