"""Faults of the shared directory: full, gone, forbidden, or with files in it that no worker wrote."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.workers.dead_worker_totals import TOTALS_FILE
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_format import FILE_BYTES, HEADER_BYTES, MAX_FILE_BYTES
from pool_exporter.workers.file_writer import WorkerFiles
from pool_exporter.workers.volume import RESERVE
from tests.faults.application import application, fill, only_pool, volume
from tests.fixtures.deadlines import until
from tests.fixtures.health import health
from tests.fixtures.sidecar import Sidecar, samples, sidecar
from tests.fixtures.users import other_user

FILE = f"w-{'0' * 32}.pool"
USES = 3
"""Of the worker beside the file that no worker wrote."""
COMPACTING = """
import sys
from pathlib import Path
from pool_exporter.workers.directory_snapshot import DirectoryReader
reader = DirectoryReader(Path(sys.argv[1]))
print(sum(pool.checkouts for pool in reader().pools), reader.compaction_errors)
"""
"""Takes a snapshot of a directory, which compacts the files of ended workers, and prints what was counted."""


def valid_file(directory: Path) -> tuple[str, bytearray]:
    """Return name and bytes of a worker's file with one pool of 7 connects, and leave none in the directory."""
    worker = WorkerFiles(directory, "1")
    slots = worker.allocate(PoolIdentity("orders"), PoolConfig(3, 2))
    assert slots is not None
    slots[layout.CONNECTS] = slots[layout.CLOSES] = 7
    [path] = directory.glob("w-*")
    data = bytearray(path.read_bytes())
    path.unlink()
    return path.name, data


def leave_dead_worker(directory: Path) -> None:
    """Leave the file of a worker that has ended, with one pool of 7 connects."""
    worker = WorkerFiles(directory, "1")
    slots = worker.allocate(PoolIdentity("orders"), PoolConfig(3, 2))
    assert slots is not None
    slots[layout.CONNECTS] = slots[layout.CLOSES] = 7
    worker.unmap()


@pytest.fixture(name="served", scope="module")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Sidecar]]:
    """One worker and one sidecar, and their directory, for all files that no worker wrote: each test takes its away."""
    directory = tmp_path_factory.mktemp("served") / "shared"
    directory.mkdir(mode=0o770)
    with application(directory) as good, sidecar(directory) as running:
        good.ask(f"use({USES})")
        until(USES, lambda: only_pool(directory).checkouts)
        yield directory, running


@contextmanager
def nothing_else_in(directory: Path) -> Iterator[None]:
    """Remove what the block has put into the directory."""
    before = {*directory.iterdir()}
    try:
        yield
    finally:
        for path in {*directory.iterdir()} - before:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def set_aside(directory: Path) -> dict[str, int]:
    """Return what a new reader sets aside, without the zeros."""
    reasons = health(DirectoryReader(directory)()).files_set_aside
    return {reason: count for reason, count in reasons.items() if count}


# Volumes in need.


def test_volume_full_at_the_start(tmp_path: Path) -> None:
    """The application runs on in memory, with one warning; when there is room again, its numbers are in the file."""
    with volume(tmp_path / "v", "size=512k") as directory:
        fill(directory)
        with application(directory) as running:
            running.ask("use(3)")
            before = (running.ask("shared()"), running.ask("checkouts()"))
            failures = running.ask("instrumentation.snapshot().transport_errors")
            (directory / "filling").unlink()
            until(True, lambda: running.ask("shared()"))
            until(3, lambda: only_pool(directory).checkouts)
            assert 0 == running.end()
            warnings = running.errors().splitlines()

    assert ((False, 3), True) == (before, failures > 0)
    assert 1 == len(warnings)
    assert "No space left on device" in warnings[0]


def test_volume_full_later(tmp_path: Path) -> None:
    """No store is a SIGBUS: the file has had its blocks from the start; a pool that finds no room is counted."""
    with volume(tmp_path / "v", "size=512k") as directory, application(directory) as running:
        running.ask("use()")
        fill(directory)
        running.ask("engines = [create_engine('sqlite://', poolclass=QueuePool) for _ in range(20)]")
        running.ask("[pool_exporter.instrument(each, name=f'e{n}') for n, each in enumerate(engines)] and None")
        running.ask("[each.connect().close() for each in engines] and None")
        running.ask("use(499)")
        running.ask("hold()")
        running.ask("beat()")
        snapshot = DirectoryReader(directory)()
        [pool] = [pool for pool in snapshot.pools if pool.name == "orders"]

        assert (501, 1) == (pool.checkouts, pool.used)
        assert 0 < health(snapshot).pools_dropped == 21 - len(snapshot.pools)
        assert (0, None) == (running.ask("errors.count"), running.process.poll())


def test_volume_without_inodes(tmp_path: Path) -> None:
    """As a full one."""
    with volume(tmp_path / "v", "size=512k,nr_inodes=1") as directory, application(directory) as running:
        running.ask("use(3)")

        assert (False, 3) == (running.ask("shared()"), running.ask("checkouts()"))


def test_read_only_volume(tmp_path: Path) -> None:
    """An application in it runs in memory; a reader shows the files, and that it cannot compact them."""
    with volume(tmp_path / "v", "size=512k") as directory:
        with application(directory) as ended:
            ended.ask("use(5)")
        subprocess.run(["mount", "-o", "remount,ro", directory], check=True)
        with application(directory) as running:
            running.ask("use(3)")
            found = (running.ask("shared()"), running.ask("checkouts()"))
        reader = DirectoryReader(directory)
        snapshots = [reader(), reader()]

    assert (False, 3) == found
    assert [(5, 1), (5, 2)] == [(each.pools[0].checkouts, health(each).compaction_errors) for each in snapshots]


def test_missing_directory(directory: Path) -> None:
    """An application runs in memory until it is there."""
    directory.rmdir()
    with application(directory) as running:
        running.ask("use(3)")
        before = running.ask("shared()")
        directory.mkdir()
        until(True, lambda: running.ask("shared()"))
        until([3], lambda: [each.checkouts for each in DirectoryReader(directory)().pools])

    assert not before


def test_forbidden_directory(open_directory: Path) -> None:
    """An application that may not write there runs in memory, with one warning."""
    user = other_user(4321, 4321, open_directory.parent / "packages")
    open_directory.chmod(0o700)
    with application(open_directory, *user.command, python=user.python, environ=user.environ) as running:
        running.ask("use(3)")
        found = (running.ask("shared()"), running.ask("checkouts()"))
        running.end()
        warnings = running.errors().splitlines()

    assert ((False, 3), 1) == (found, len(warnings))
    assert "Permission denied" in warnings[0]


def test_directory_loses_its_permission(open_directory: Path) -> None:
    """The application's own page goes on from memory, without a hook error; with the permission it shows all again."""
    user = other_user(4321, 4321, open_directory.parent / "packages")
    os.chown(open_directory, 4321, 4321)
    with application(open_directory, *user.command, python=user.python, environ=user.environ) as running:
        running.ask("use(3)")
        until(True, lambda: running.ask("beat() or shared()"))
        os.chown(open_directory, 0, 0)
        open_directory.chmod(0o700)
        running.ask("use(2)")
        running.ask("[beat() for _ in range(3)] and None")
        shown = running.ask("[pool.checkouts for pool in instrumentation.snapshot().pools]")
        failed = running.ask("errors.count")
        open_directory.chmod(0o777)
        running.ask("beat()")
        again = running.ask("[pool.checkouts for pool in instrumentation.snapshot().pools]")

        assert ([5], 0, [5]) == (shown, failed, again)
        assert 5 == only_pool(open_directory).checkouts


def test_sidecar_of_another_user_without_a_common_group(open_directory: Path) -> None:
    """With POOL_EXPORTER_FILE_MODE=0644, as the Kubernetes components set it, it reads the files and compacts them."""
    user = other_user(4321, 4321, open_directory.parent / "packages")
    other = replace(user, command=[each.replace("4321", "65532") for each in user.command])
    open_directory.chmod(0o777)
    environ = {**user.environ, "POOL_EXPORTER_FILE_MODE": "0644"}
    with application(open_directory, *user.command, python=user.python, environ=environ) as running:
        running.ask("use(3)")
        until(True, lambda: running.ask("beat() or shared()"))
        running.process.kill()
        running.process.wait(60)
    done = subprocess.run(
        [*other.command, other.python, "-c", COMPACTING, open_directory],
        cwd="/",
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ("3 0\n", "") == (done.stdout, done.stderr)
    assert [] == list(open_directory.glob("w-*"))


def test_full_directory_takes_a_living_pool_later(tmp_path: Path) -> None:
    """A pool that found no space in a full directory gets its place when there is space, with all that it counted."""
    with volume(tmp_path / "v", "size=512k") as directory, application(directory) as running:
        running.ask("engines = [create_engine('sqlite://', poolclass=QueuePool) for _ in range(20)]")
        running.ask("use()")
        fill(directory)
        running.ask(
            "instrumented = [pool_exporter.instrument(each, name=f'e{n}') for n, each in enumerate(engines)] and None"
        )
        running.ask("[each.connect().close() for each in engines] and None")
        running.ask("beat()")
        dropped = health(DirectoryReader(directory)()).pools_dropped
        (directory / "filling").unlink()
        until(0, lambda: health(DirectoryReader(directory)()).pools_dropped)
        pools = DirectoryReader(directory)().pools

        assert (True, 21, 21) == (dropped > 0, len(pools), sum(pool.checkouts for pool in pools))


def test_no_descriptor_left(directory: Path) -> None:
    """An application without a free descriptor runs in memory until it has one."""
    directory.rmdir()
    with application(directory) as running:
        running.ask("import resource")
        running.ask("resource.setrlimit(resource.RLIMIT_NOFILE, (3, 4096))")
        directory.mkdir()
        running.ask("beat()")
        running.ask("use(3)")
        before = (running.ask("shared()"), running.ask("checkouts()"))
        running.ask("resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))")
        until(True, lambda: running.ask("shared()"))

        assert (False, 3) == before
        assert 3 == only_pool(directory).checkouts


def test_volume_full_while_compacting(tmp_path: Path) -> None:
    """On a full volume the reserve is used; without one, the files of dead workers stay until there is space."""
    with volume(tmp_path / "v", "size=512k") as directory:
        reader, found = DirectoryReader(directory), []
        for has_reserve in (True, False):
            with application(directory) as ended:
                ended.ask("use(5)")
            if not has_reserve:
                (directory / RESERVE).unlink()
            fill(directory)
            snapshot = reader()
            found.append(
                (snapshot.pools[0].checkouts, health(snapshot).compaction_errors, len(list(directory.glob("w-*"))))
            )
            (directory / "filling").unlink()
        after = reader()

    assert [(5, 0, 0), (10, 1, 1)] == found
    assert (10, 1) == (after.pools[0].checkouts, health(after).compaction_errors)


ENDED_ONE_AFTER_THE_OTHER = """
import os, sys
from pathlib import Path
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.workers import file_writer
from pool_exporter.workers.file_writer import WorkerFiles
file_writer.MAKE_SPACE_SECONDS = 60.0  # On a busy machine, its 20 ms end before the first file was compacted.
for _ in range(40):
    pid = os.fork()
    if not pid:
        WorkerFiles(Path(sys.argv[1]), "1").allocate(PoolIdentity("orders"), PoolConfig())[layout.CONNECTS] = 1
        os._exit(0)
    assert not os.waitpid(pid, 0)[1]
"""


def test_volume_full_of_dead_workers(tmp_path: Path) -> None:
    """Workers that end while nothing reads never fill the volume: the next one compacts. Issue 10, item 14."""
    with volume(tmp_path / "v", "size=512k") as directory:
        subprocess.run([sys.executable, "-c", ENDED_ONE_AFTER_THE_OTHER, directory], check=True)
        files = len(list(directory.glob("w-*")))
        connects = only_pool(directory).connects

    assert files < 10
    assert 40 == connects


# What may be put into it.


def at(offset: int, *bytes_: int) -> Callable[[bytearray], bytes]:
    """Return what overwrites a file from *offset* on."""

    def damage(data: bytearray) -> bytes:
        data[offset : offset + len(bytes_)] = bytes(bytes_)
        return bytes(data)

    return damage


def nan(data: bytearray) -> bytes:
    """Fill the last slots of the first entry with the bits of a NaN."""
    start = int.from_bytes(data[48:52], "little") + 1024
    data[start : start + 8 * layout.SLOT_COUNT] = (0x7FF8_0000_0000_0000).to_bytes(8, "little") * layout.SLOT_COUNT
    return bytes(data)


DAMAGES: dict[str, Callable[[bytearray], bytes]] = {
    "empty": lambda _: b"",
    "three-bytes": lambda _: b"POO",
    "garbage": lambda _: bytes(range(256)) * 256,
    "header-only": lambda data: bytes(data[:HEADER_BYTES]),
    "half": lambda data: bytes(data[: FILE_BYTES // 2]),
    "schema-offset": at(24, 255, 255, 255, 255),
    "records-offset": at(48, 255, 255, 255, 127),
    "record-bytes": at(52, 8, 0, 0, 0),
    "record-count": at(64, 255, 255, 255, 255, 255, 255, 255, 127),
    "nan": nan,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file(served: tuple[Path, Sidecar], directory: Path, damage: str) -> None:
    """Whatever is wrong with a file, the scrape is 200, that file is set aside, and the others are served."""
    shared, running = served
    name, data = valid_file(directory)
    with nothing_else_in(shared):
        (shared / name).write_bytes(DAMAGES[damage](data))
        answers = [running.ask() for _ in range(2)]
        page = answers[-1].body

    assert [200, 200] == [answer.status for answer in answers]
    assert 1 == sum(samples(page, "pool_exporter_files_set_aside").values())
    assert {USES} == {*samples(page, "db_client_connection_wait_time_seconds_count").values()}


def test_sparse_file_of_a_terabyte(directory: Path) -> None:
    """A file larger than a worker file can be is not read."""
    with (directory / FILE).open("wb") as file:
        file.truncate(1 << 40)

    assert {"irregular": 1} == set_aside(directory)


def test_file_truncated_while_it_is_read(directory: Path) -> None:
    """A file that shrinks and grows all the while is read or set aside, and nothing else."""
    data, path, is_over = bytes(valid_file(directory)[1]), directory / FILE, threading.Event()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    # Locked, so that it is read again and again and not compacted.
    lock = "import fcntl; fcntl.flock(0, fcntl.LOCK_EX); print(flush=True); input()"
    holder = subprocess.Popen(
        [shutil.which("python3") or "python3", "-c", lock.replace("input()", "__import__('time').sleep(600)")],
        stdin=descriptor,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()

    def shrink() -> None:
        while not is_over.is_set():
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, data, 0)

    shrinking = threading.Thread(target=shrink)
    shrinking.start()
    try:
        found = [set_aside(directory) for _ in range(300)]
    finally:
        is_over.set()
        shrinking.join()
        holder.kill()
        holder.communicate()
        os.close(descriptor)

    assert [] == [each for each in found if each not in ({}, {"corrupt": 1}, {"irregular": 1})]
    assert any(found)


def test_counter_that_shrinks(directory: Path) -> None:
    """A file with a counter that has fallen is set aside, and its last good content counts."""
    worker = WorkerFiles(directory, "1")
    slots = worker.allocate(PoolIdentity("orders"), PoolConfig(3, 2))
    assert slots is not None
    reader, found = DirectoryReader(directory), []
    for connects in (7, 3, 8):
        slots[layout.CONNECTS] = slots[layout.CLOSES] = connects
        snapshot = reader()
        found.append((snapshot.pools[0].connects, health(snapshot).files_set_aside["shrunk"]))
    worker.unmap()

    assert [(7, 0), (7, 1), (8, 0)] == found


def plant_link(path: Path) -> None:
    """Plant a symbolic link to a file outside the directory."""
    path.symlink_to("/etc/passwd")


def plant_socket(path: Path) -> None:
    """Plant a socket."""
    directory = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{directory}/{path.name}")  # The whole path is too long for it.
    os.close(directory)


def plant_hard_link(path: Path) -> None:
    """Plant a second name of a file."""
    (path.parent / "other").write_bytes(bytes(FILE_BYTES))
    path.hardlink_to(path.parent / "other")


def plant_too_much(path: Path) -> None:
    """Plant a file that is larger than a worker file can be."""
    path.write_bytes(bytes(MAX_FILE_BYTES + 1))


PLANTED: dict[str, Callable[[Path], None]] = {
    "symlink": plant_link,
    "fifo": os.mkfifo,
    "directory": Path.mkdir,
    "hard-link": plant_hard_link,
    "socket": plant_socket,
    "too-large": plant_too_much,
}


@pytest.mark.parametrize("plant", PLANTED)
def test_planted_worker_file(served: tuple[Path, Sidecar], plant: str) -> None:
    """What is no regular file with one name is neither followed, waited for nor read; it is set aside."""
    shared, running = served
    with nothing_else_in(shared):
        PLANTED[plant](shared / FILE)
        answer = running.ask()

    assert (200, 1) == (answer.status, sum(samples(answer.body, "pool_exporter_files_set_aside").values()))
    assert {USES} == {*samples(answer.body, "db_client_connection_wait_time_seconds_count").values()}


def test_nothing_is_set_aside(served: tuple[Path, Sidecar]) -> None:
    """Where each file is a worker's, none is set aside."""
    _, running = served

    assert {0.0} == {*samples(running.ask().body, "pool_exporter_files_set_aside").values()}


@pytest.mark.parametrize("plant", [plant for plant in PLANTED if plant != "too-large"])
def test_planted_totals(directory: Path, plant: str) -> None:
    """Totals are not followed, waited for or read either; the dead workers' files count, and an error is counted."""
    PLANTED[plant](directory / TOTALS_FILE)
    leave_dead_worker(directory)
    snapshot = DirectoryReader(directory)()

    assert (7, True) == (snapshot.pools[0].connects, health(snapshot).compaction_errors > 0)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"schema":{}}', "9" * 5000, "[" * 100_000])
def test_damaged_totals(directory: Path, text: str) -> None:
    """Damaged totals are left as they are, and counted as an error; the files still count."""
    (directory / TOTALS_FILE).write_text(text)
    leave_dead_worker(directory)
    snapshot = DirectoryReader(directory)()

    assert (7, 2) == (snapshot.pools[0].connects, health(snapshot).compaction_errors)
    assert text == (directory / TOTALS_FILE).read_text()


# What becomes of it under a living worker.


def test_file_deleted_under_a_living_worker(directory: Path) -> None:
    """It finds that out, and goes on in a new file with all that it has counted."""
    with application(directory) as running:
        running.ask("use(3)")
        running.ask("hold()")
        until(True, lambda: running.ask("shared()"))  # A use waits for a busy lock for a moment only, not for the file.
        [path] = directory.glob("w-*")
        path.unlink()
        running.ask("use(2)")
        until(1, lambda: len(DirectoryReader(directory)().pools))  # The pools follow the new file a moment later.
        running.ask("use(4)")
        running.ask("held.pop().close()")
        pool = only_pool(directory)

    assert (10, 0, 0, 10) == (pool.checkouts, pool.used, pool.pending, pool.use_time.count)


def test_directory_deleted_under_a_living_worker(directory: Path) -> None:
    """It goes on in memory, and in a new file when the directory is there again."""
    with application(directory) as running:
        running.ask("use(3)")
        shutil.rmtree(directory)
        running.ask("beat()")
        without = (running.ask("shared()"), running.ask("checkouts()"))
        running.ask("use(2)")
        directory.mkdir()
        until(True, lambda: running.ask("shared()"))
        pool = only_pool(directory)

    assert ((False, 3), 5) == (without, pool.checkouts)


def test_a_thousand_pools(directory: Path) -> None:
    """A process with a thousand pools has them all in the directory, and is one worker."""
    with application(directory) as running:
        running.ask("engines = [create_engine('sqlite://', poolclass=QueuePool) for _ in range(1000)]")
        running.ask("[pool_exporter.instrument(each, name=f'e{n:03}') for n, each in enumerate(engines)] and None")
        running.ask("[each.connect().close() for each in engines] and None")
        running.ask("beat()")
        # The process's own heartbeat may be moving the pools to its files.
        until(1001, lambda: len(DirectoryReader(directory)().pools))
        alive = DirectoryReader(directory)()
        running.kill()
        dead = DirectoryReader(directory)()

    for snapshot in (alive, dead):
        assert (1001, 1000) == (len(snapshot.pools), sum(pool.checkouts for pool in snapshot.pools))
    assert ({"living": 1, "frozen": 0}, 0) == (health(alive).workers, health(alive).pools_dropped)
    assert {"stopped": 0, "crashed": 0, "lost": 1} == health(dead).workers_ended


def test_more_names_than_the_totals_keep(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pools of dead workers beyond the limit are added to one named other, and counted; no event is lost."""
    monkeypatch.setattr("pool_exporter.workers.dead_worker_totals.POOLS_MAX", 3)
    for number in range(5):
        worker = WorkerFiles(directory, "1")
        slots = worker.allocate(replace(PoolIdentity("orders"), namespace=str(number)), PoolConfig())
        assert slots is not None
        slots[layout.CONNECTS] = slots[layout.CLOSES] = 7
        worker.unmap()
    snapshot = DirectoryReader(directory)()

    assert {("orders", "0"), ("orders", "1"), ("orders", "2"), ("orders", "3"), ("orders", "4")} >= {
        (pool.name, pool.identity.namespace) for pool in snapshot.pools if pool.name != "other"
    }
    assert [("orders", 7)] * 3 + [("other", 14)] == sorted((pool.name, pool.connects) for pool in snapshot.pools)
    assert 2 == health(snapshot).pools_merged
