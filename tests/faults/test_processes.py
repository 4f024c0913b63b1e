"""What becomes of processes: killed, frozen, forked, in namespaces of their own, and thousands of them."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from operator import gt
from pathlib import Path

import pytest

from pool_exporter.workers import compaction, directory_snapshot
from pool_exporter.workers.compaction import Compactor
from pool_exporter.workers.dead_worker_totals import load
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_reader import scan
from tests.faults.application import application, in_namespace, only_pool
from tests.fixtures.deadlines import PAUSE_SECONDS, until
from tests.fixtures.health import health
from tests.fixtures.sidecar import samples, sidecar
from tests.fixtures.users import other_user
from tests.patience import PATIENT

KILLS = int(os.environ.get("STORM_KILLS", "9"))
"""`make slow` has a longer storm."""

CLIENT = f"""{PATIENT}
import os, sys
from sqlalchemy import QueuePool, create_engine
from pool_exporter import instrument
engine = create_engine("sqlite://", poolclass=QueuePool)
instrument(engine, name="orders")
truth = open(sys.argv[1], "ab", buffering=0)
while True:
    engine.connect().close()
    truth.write(b".")
"""
"""It notes each checkout after it, so that a kill leaves at most one that is counted and not noted."""

COMPACTOR = """
import sys, time
from pathlib import Path
from pool_exporter.workers.compaction import Compactor
from pool_exporter.workers.file_reader import scan
directory = Path(sys.argv[1])
while True:
    Compactor(directory).compact(scan(directory))
"""

KILLED_WHILE_COMPACTING = """
import os, signal, sys
from pathlib import Path
from pool_exporter.workers.compaction import Compactor
from pool_exporter.workers.file_reader import scan
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(Path, sys.argv[2], die)
Compactor(Path(sys.argv[1])).compact(scan(Path(sys.argv[1])))
"""
"""`rename` is called when the totals are written, `unlink` when they have been renamed."""

READER = """
import sys
from pathlib import Path
from pool_exporter.workers.directory_snapshot import DirectoryReader
reader = DirectoryReader(Path(sys.argv[1]))
print(*[pool.checkouts for pool in reader().pools], reader.compaction_errors)
"""

SHORT_LIVED = """
import os, sys, time
from pathlib import Path
from pool_exporter.state import layout
from pool_exporter.workers.file_writer import WorkerFiles
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
directory, count = Path(sys.argv[1]), int(sys.argv[2])
for _ in range(count):
    pid = os.fork()
    if not pid:
        worker = WorkerFiles(directory, "1")
        words = worker.allocate(PoolIdentity("orders"), PoolConfig())
        words[layout.CONNECTS] += 1
        worker.mark_ended()
        os._exit(0)
    os.waitpid(pid, 0)
"""


def test_two_workers_with_pid_1_share_a_directory(directory: Path) -> None:
    """Two workers that are both process 1 of their PID namespace are two, alive, and add up; so when one is killed."""
    apart = in_namespace("--pid")
    with application(directory, *apart) as one, application(directory, *apart) as other:
        pids = [one.ask("os.getpid()"), other.ask("os.getpid()")]
        one.ask("use(3)")
        other.ask("use(4)")
        both = DirectoryReader(directory)()
        one.kill()
        until(1, lambda: sum(health(DirectoryReader(directory)()).workers_ended.values()))
        left = DirectoryReader(directory)()

    assert ([1, 1], {"living": 2, "frozen": 0}, 7) == (pids, health(both).workers, both.pools[0].checkouts)
    assert ({"living": 1, "frozen": 0}, 7) == (health(left).workers, left.pools[0].checkouts)


def test_storm_of_kills(directory: Path, tmp_path: Path) -> None:
    """However workers and sidecars are killed, no counter falls, and the total is the truth, but one for each kill.

    A worker is killed only after its first checkout, however long that takes on a busy machine.
    """
    chance = random.Random(3)  # the same storm every time
    truths = [tmp_path / f"truth{number}" for number in range(3)]
    environ = {**os.environ, "POOL_EXPORTER_DIR": str(directory)}
    commands = [[sys.executable, "-c", CLIENT, str(truth)] for truth in truths]
    commands += [[sys.executable, "-c", COMPACTOR, str(directory)]] * 2
    running = [subprocess.Popen(command, env=environ) for command in commands]
    reader, shown, kills, before = DirectoryReader(directory), [0], 0, [0] * len(truths)
    try:
        for _ in range(KILLS):
            victim = chance.randrange(len(commands))
            next_kill = time.monotonic() + chance.uniform(0.3, 0.6)
            while time.monotonic() < next_kill or not all(map(gt, map(noted, truths), before)):
                shown += [pool.checkouts for pool in reader().pools]
            running[victim].kill()
            running[victim].wait()
            if victim < len(truths):
                kills, before[victim] = kills + 1, noted(truths[victim])
            running[victim] = subprocess.Popen(commands[victim], env=environ)
    finally:
        for process in running:
            process.kill()
            process.wait()
    truth = sum(map(noted, truths))
    [pool] = reader().pools

    assert [] == [(before, after) for before, after in pairwise(shown) if after < before]
    assert 1000 < truth <= pool.checkouts <= truth + kills + len(truths)


def noted(truth: Path) -> int:
    """Return how many checkouts a client has noted."""
    return truth.stat().st_size if truth.exists() else 0


@pytest.mark.parametrize("where", ["rename", "unlink"])
def test_sidecar_killed_while_it_replaces_the_totals(directory: Path, where: str) -> None:
    """Killed between writing and renaming, or between renaming and unlinking, it leaves every event counted once."""
    with application(directory) as ended:
        ended.ask("use(5)")
        ended.kill()
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_COMPACTING, str(directory), where], check=False)
    found = [only_pool(directory).checkouts for _ in range(3)]

    assert (-signal.SIGKILL, [5, 5, 5]) == (killed.returncode, found)
    assert [] == list(directory.glob("w-*"))


def test_temporary_file_of_a_killed_sidecar_is_removed(directory: Path) -> None:
    """A temporary file that a kill has left is removed after a minute of the compactor's clock, not before."""
    with application(directory) as ended:
        ended.ask("use()")
        ended.kill()
    subprocess.run([sys.executable, "-c", KILLED_WHILE_COMPACTING, str(directory), "rename"], check=False)
    now = [100.0]
    compactor = Compactor(directory, lambda: now[0])
    left = []
    for now[0] in (100.0, 159.0, 161.0):
        compactor.compact(scan(directory))
        left.append(len(list(directory.glob(".tmp-*"))))

    assert [1, 1, 0] == left


@pytest.mark.parametrize("is_right", [True, False], ids=["files-first", "totals-first"])
def test_second_reader_during_a_compaction(directory: Path, monkeypatch: pytest.MonkeyPatch, *, is_right: bool) -> None:
    """A reader shows no decrease if another sidecar compacts while it reads; one that reads in the wrong order does."""
    with application(directory) as ended:
        ended.ask("use(5)")
        ended.kill()
    steps: list[str] = []
    busy: list[bool] = []  # The other sidecar's own steps are not noted.

    def step_of(step: Callable[..., object]) -> Callable[..., object]:
        def taken(*arguments: object) -> object:
            if busy:
                return step(*arguments)
            if steps:
                busy.append(True)
                compact(Compactor(directory), scan(directory))
                busy.clear()
            steps.append(step.__name__)
            return step(*arguments)

        return taken

    compact = Compactor.compact
    monkeypatch.setattr(Compactor, "compact", lambda *_: 0)  # Only the other sidecar compacts.
    monkeypatch.setattr(directory_snapshot, "scan", step_of(scan))
    monkeypatch.setattr(compaction, "load", step_of(load))
    reader = DirectoryReader(directory)
    if not is_right:
        reader._compactor.refresh()
        monkeypatch.setattr(reader._compactor, "refresh", lambda: None)
    total = sum(pool.checkouts for pool in reader().pools)

    assert (5 if is_right else 0) == total
    assert (["scan", "load"] if is_right else ["load", "scan"]) == steps[:2]


def test_stopped_workers_are_served_and_age(directory: Path) -> None:
    """Failures to test, SIGSTOP: the last state is served, the worker counts as frozen and its ages grow."""
    with application(directory) as frozen, sidecar(directory) as running:
        frozen.ask("use(3)")
        frozen.ask("hold()")
        frozen.signal(signal.SIGSTOP)
        ages = [ages_of(running.ask().body)]
        until(True, lambda: ages_of(running.ask().body) > ages[0] + 0.3)
        page = running.ask().body
        frozen.signal(signal.SIGCONT)

    assert {4.0} == {*samples(page, "db_client_connection_wait_time_seconds_count").values()}


def ages_of(page: str) -> float:
    """Return the age of the oldest use."""
    [age] = samples(page, "sqlalchemy_pool_oldest_use_seconds").values()
    return age


@pytest.mark.parametrize(
    ("freeze", "is_frozen"),
    [
        pytest.param("ctypes.PyDLL(None).sleep(600)", True, id="gil-held-by-native-code"),
        pytest.param("asyncio.run(block())", False, id="event-loop-blocked"),
    ],
)
def test_frozen_application_is_served(directory: Path, freeze: str, *, is_frozen: bool) -> None:
    """A GIL that native code holds stops the heartbeat, a blocked event loop does not; either is served, and ages."""
    with application(directory) as frozen:
        frozen.ask("hold()")
        frozen.tell(freeze)
        reader = DirectoryReader(directory)
        before = reader().pools[0].oldest_use_seconds
        until(True, lambda: reader().pools[0].oldest_use_seconds > before + 0.5)
        expected = {"living": 0, "frozen": 1} if is_frozen else {"living": 1, "frozen": 0}
        until(expected, lambda: health(reader()).workers)

        assert 1 == reader().pools[0].used


def test_killed_worker_that_was_not_waited_for_is_dead(directory: Path) -> None:
    """A zombie counts as dead: its gauges are gone, its counters are there."""
    with application(directory) as zombie:
        zombie.ask("use(2)")
        zombie.ask("hold()")
        os.kill(zombie.process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, zombie.process.pid, os.WEXITED | os.WNOWAIT)
        snapshot = DirectoryReader(directory)()

    assert ({"living": 0, "frozen": 0}, {"stopped": 0, "crashed": 1, "lost": 0}) == (
        health(snapshot).workers,
        health(snapshot).workers_ended,
    )
    assert (3, 0) == (snapshot.pools[0].checkouts, snapshot.pools[0].used)


def test_killed_in_its_first_second(directory: Path) -> None:
    """On a busy machine the first event does not get its file in time: the next one moves both into it."""
    with application(directory) as worker:
        worker.ask("setattr(file_maker, 'FILE_SECONDS', 0.0)")
        worker.ask("use()")
        until(True, lambda: worker.ask("registry._maker.has_files or shared()"))
        worker.ask("use()")
        worker.kill()
        found = only_pool(directory)

    assert 2 == found.checkouts


def test_parent_dead_while_its_child_lives(directory: Path) -> None:
    """A child that was forked keeps its parent neither alive nor frozen; both are counted once.

    The parent uses a connection: without one it would be no worker any more, a second after the fork.
    """
    with application(directory) as parent:
        parent.ask("use(2)")
        parent.ask("hold()")
        child = parent.ask("(lambda pid: pid or (use(2), stay()))(os.fork())")
        until(2, lambda: len(scan(directory).files))
        until(5, lambda: only_pool(directory).checkouts)
        parent.kill()
        snapshot = DirectoryReader(directory)()
        os.kill(child, signal.SIGKILL)

    assert ({"living": 1, "frozen": 0}, {"stopped": 0, "crashed": 1, "lost": 0}) == (
        health(snapshot).workers,
        health(snapshot).workers_ended,
    )
    assert 5 == snapshot.pools[0].checkouts


@pytest.mark.parametrize("fork", ["os.fork()", "ctypes.PyDLL(None).fork()"], ids=["os.fork", "fork-in-C"])
def test_child_leaves_its_parents_file_alone(directory: Path, fork: str) -> None:
    """A child of os.fork() or of a fork in C, which Python knows nothing of, counts in its own file alone."""
    with application(directory) as parent:
        parent.ask("use(3)")
        parent.ask("hold()")
        parent.ask("beat()")
        [before] = [found.file.entries[0].slots for found in scan(directory).files]
        # A fork in C is safe only while no other thread of the parent may wait for the interpreter's lock.
        parent.ask("registry._heartbeat.stop()")
        until(1, lambda: len(list(Path(f"/proc/{parent.process.pid}/task").iterdir())))
        child = parent.ask(f"(lambda pid: pid or (use(2), held.clear(), gc.collect(), stay()))({fork})")
        until(2, lambda: len(scan(directory).files))
        until(6, lambda: only_pool(directory).checkouts)
        counts = {found.file.writer.pid: found.file.entries[0].slots for found in scan(directory).files}
        os.kill(child, signal.SIGKILL)

    assert {parent.process.pid, child} == set(counts)
    assert before == counts[parent.process.pid]


def test_fork_while_another_thread_is_in_a_handler(directory: Path) -> None:
    """A child is whole, whatever other threads of its parent were at when it was forked, a hundred times.

    It leaves the parent's pool, as SQLAlchemy asks: a thread that is not there may hold the lock of that. The driver is
    one without locks, because those of SQLite's library would be held in the child for the same reason.
    """
    with application(directory) as parent:
        parent.ask("sys.setswitchinterval(1e-5)")
        parent.ask("class Driver: rollback = close = lambda self: None")
        parent.ask("pool = QueuePool(Driver, pool_size=2, max_overflow=1, timeout=0.2)")
        parent.ask("plain = pool_exporter.instrument(pool, name='plain')")
        parent.ask("lend = lambda pool, count: [pool.connect().close() for _ in range(count)]")
        parent.ask("in_threads(2, lambda: lend(pool, 1))")
        child = "in_child(lambda: (lend(pool.recreate(), 3), plain.snapshot().checkouts != 3)[1])"
        codes = parent.ask(f"[{child} for _ in range(100)]")

        assert [0] * 100 == codes
        assert 0 == parent.ask("errors.count")


@pytest.mark.timeout(900)
def test_thousands_of_short_lived_workers(directory: Path) -> None:
    """Each of many workers that come and go is counted once; files, names and the time of a scrape stay as they are."""
    count = int(os.environ.get("SHORT_LIVED_WORKERS", "500"))  # `make slow` runs it with 10,000.
    maker = subprocess.Popen([sys.executable, "-c", SHORT_LIVED, str(directory), str(count)])
    reader, shown, files = DirectoryReader(directory), [0], [0]
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # a count
    while maker.poll() is None:
        shown += [pool.connects for pool in reader().pools]
        files.append(len(list(directory.iterdir())))
        time.sleep(PAUSE_SECONDS)  # Without a pause this would take a core from the workers.
    snapshot = reader()

    assert (0, sorted(shown)) == (maker.returncode, shown)
    assert (count, {"stopped": count, "crashed": 0, "lost": 0}) == (
        snapshot.pools[0].connects,
        health(snapshot).workers_ended,
    )
    assert {"acc.json", ".leader", ".reserve"} == {path.name for path in directory.iterdir()}
    assert descriptors == len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # a count


def test_sidecar_with_nothing_but_the_group(open_directory: Path) -> None:
    """A sidecar under another uid with the same gid reads and compacts; another user can do neither."""
    user = other_user(1234, 5678, open_directory.parent / "packages")
    open_directory.chmod(0o2770)
    os.chown(open_directory, 1234, 5678)
    with application(open_directory, *user.command, python=user.python, environ=user.environ) as ended:
        ended.ask("use(5)")
        ended.kill()
    stranger, group = (
        subprocess.run(
            ["setpriv", "--reuid=4321", f"--regid={gid}", "--clear-groups", user.python, "-c", READER, open_directory],
            env={**os.environ, **user.environ},
            capture_output=True,
            text=True,
            check=False,
        )
        for gid in (8765, 5678)
    )

    assert ("PermissionError" in stranger.stderr, "") == (True, stranger.stdout)
    assert "5 0" == group.stdout.strip(), group.stderr
    assert [] == list(open_directory.glob("w-*"))
