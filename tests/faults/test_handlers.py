"""What may happen in the middle of a handler: the garbage collector, an exception from outside, one of the hook's."""

from pathlib import Path

import pytest

from pool_exporter.workers.directory_snapshot import DirectoryReader
from tests.faults.application import PROGRAM, application, only_pool
from tests.fixtures.deadlines import until
from tests.fixtures.health import health
from tests.fixtures.sidecar import samples, sidecar

WITHOUT_GIL = "import sys\nsys._is_gil_enabled = lambda: False\n" + PROGRAM
"""What runs where there is no GIL: every transition under an RLock."""

LEAK = """
def leak(count):
    gc.set_threshold(1)
    for _ in range(count):
        lost = [engine.raw_connection()]
        lost.append(lost)
        del lost
        use(5)
    gc.set_threshold(700, 10, 10)
    gc.collect()
"""

INTERRUPT = """
class Interrupt(BaseException):
    pass

state = monitor._state
connection = state.opened()

def transitions(count):
    for _ in range(count):
        state.acquired(state.acquire_started(), connection, None)
        state.released(connection)

def work(idents, ended):
    idents.append(threading.get_ident())
    try:
        while True:
            transitions(1)
    except Interrupt:
        ended.append(True)

def interrupted(count):
    # Bare threads, each interrupted once, as a rule: what Python's own are made of does not bear it either.
    import _thread
    sys.unraisablehook = lambda _: None  # One that had not begun, or had ended.
    caught, end = 0, time.monotonic() + 150
    while caught < count and time.monotonic() < end:
        idents, ended = [], []
        _thread.start_new_thread(work, (idents, ended))
        while not idents:
            time.sleep(0)
        time.sleep(0.0005)
        sent = 0
        # Not until there are as many threads as before: the package may begin one meanwhile.
        while idents[0] in sys._current_frames() and time.monotonic() < end:
            if time.monotonic() > sent + 1:  # Again: Python drops one that comes in the callback of a weak reference.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(idents[0]), ctypes.py_object(Interrupt))
                sent = time.monotonic()
            time.sleep(0)
        caught += len(ended)
    return caught
"""


@pytest.mark.parametrize("program", [PROGRAM, WITHOUT_GIL], ids=["gil", "no-gil"])
def test_leaked_connection_collected_inside_a_handler(directory: Path, program: str) -> None:
    """The collector may return a connection at any allocation: nothing blocks, and each is counted as leaked."""
    with application(directory, program=program.replace("print(json.dumps", LEAK + "\nprint(json.dumps", 1)) as running:
        running.ask("leak(200)")
        pool = only_pool(directory)

        assert (1200, 200, 0, 1200) == (pool.checkouts, pool.leaked, pool.used, pool.use_time.count)
        assert 0 == running.ask("errors.count")


@pytest.mark.parametrize("program", [PROGRAM, WITHOUT_GIL], ids=["gil", "no-gil"])
def test_asynchronous_exception_at_any_point(directory: Path, program: str) -> None:
    """After hundreds of exceptions from outside nothing is locked, and what comes then is counted exactly.

    One event may be half counted at each: Python has no way to put two stores beyond an exception. The transitions are
    called as the hooks call them, because SQLAlchemy's own pool loses places when it is interrupted like this.
    """
    program = program.replace("print(json.dumps", INTERRUPT + "\nprint(json.dumps", 1)
    with application(directory, program=program) as running:
        running.ask("sys.setswitchinterval(1e-5)")
        # An interrupt may come between the wait for the file and its end: as short as in the package, not as in tests.
        running.ask("setattr(sys.modules['pool_exporter.runtime.files.file_maker'], 'FILE_SECONDS', 0.005)")
        caught = running.ask("interrupted(200)")
        running.ask("state.released(connection)")
        until(1, lambda: len(DirectoryReader(directory)().pools))  # Else the heartbeat makes the file.
        before = DirectoryReader(directory)()
        running.ask("other = threading.Thread(target=transitions, args=[10])")
        running.ask("other.start() or other.join(10)")
        after = DirectoryReader(directory)()

    assert 200 == caught
    assert {0} == {*(health(before).files_set_aside).values()} | {*(health(after).files_set_aside).values()}
    assert (10, 10) == (
        after.pools[0].checkouts - before.pools[0].checkouts,
        after.pools[0].use_time.count - before.pools[0].use_time.count,
    )


def test_handler_that_raises_internally(directory: Path) -> None:
    """The application is not affected; the error is counted in the file, and the sidecar shows it."""
    with application(directory) as running, sidecar(directory) as serving:
        running.ask("monitor._state.sentinel = ()")
        running.ask("use(3)")
        count = running.ask("errors.count")
        until(True, lambda: samples(serving.ask().body, "pool_exporter_hook_errors_total")[""] >= count)

        assert count >= 3
        assert running.process.poll() is None


def test_errors_of_dead_workers_are_not_forgotten(directory: Path) -> None:
    """The number of errors does not fall when a worker dies and its file is compacted."""
    reader, shown = DirectoryReader(directory), []
    for _ in range(2):
        with application(directory) as running:
            running.ask("errors.report(ValueError()) or beat()")
            shown.append(reader().hook_errors)
        shown.append(reader().hook_errors)

    assert [1, 1, 2, 2] == shown
