"""Worker threads that wait for work, of real libraries where they are installed, and the threads of anyio."""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import CodeType

import anyio.to_thread
import pytest

from pool_exporter.diagnosis.frames import Frame, Frames
from pool_exporter.diagnosis.idle_workers import (
    anyio_workers,
    is_idle_worker,
    loop_of_worker,
    waits_for_work,
    waits_in_anyio_limiter,
)
from tests.diagnosis.loops import look_at, names
from tests.fixtures.deadlines import eventually, until

LIBRARIES = "/venv/lib/python3.12/site-packages"
STANDARD = str(Path(queue.__file__).parent)

WAIT = (f"{STANDARD}/threading.py", "wait")
GET = (f"{STANDARD}/queue.py", "get")
THREAD = [(f"{STANDARD}/threading.py", "run"), (f"{STANDARD}/threading.py", "_bootstrap")]
EXECUTOR = (f"{STANDARD}/concurrent/futures/thread.py", "_worker")
RECEIVE = [
    (f"{STANDARD}/selectors.py", "select"),
    (f"{LIBRARIES}/billiard/connection.py", "wait"),
    (f"{LIBRARIES}/billiard/pool.py", "_recv"),
    (f"{LIBRARIES}/billiard/pool.py", "receive"),
    (f"{LIBRARIES}/billiard/pool.py", "workloop"),
]


def stack(*functions: tuple[str, str]) -> Frames:
    """Return frames of these functions, each a file and a name, innermost first."""
    return tuple(_frame(*each) for each in functions)


def _frame(file: str, name: str) -> Frame:
    code: CodeType = (lambda: None).__code__
    return code.replace(co_filename=file, co_name=name), 0


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (stack(EXECUTOR, *THREAD), True),
        (stack(WAIT, GET, (f"{LIBRARIES}/cheroot/workers/threadpool.py", "run"), *THREAD), True),
        (stack(WAIT, (f"{LIBRARIES}/waitress/task.py", "handler_thread"), *THREAD), True),
        (stack(*RECEIVE, (f"{LIBRARIES}/celery/bin/worker.py", "worker")), True),
        (stack(*RECEIVE, ("/srv/main.py", "<module>")), True),
        (stack((f"{STANDARD}/ssl.py", "read"), (f"{LIBRARIES}/boto3/x.py", "send"), EXECUTOR, *THREAD), False),
        (stack(WAIT, GET, (f"{LIBRARIES}/boto3/x.py", "send"), EXECUTOR, *THREAD), False),
        (stack(WAIT, GET, ("/srv/orders/worker.py", "run"), *THREAD), False),
        (stack(WAIT, (f"{LIBRARIES}/waitress/task.py", "execute"), *THREAD), False),
        (stack(("/srv/orders/tasks.py", "export"), *RECEIVE[4:]), False),
        (stack((f"{LIBRARIES}/requests/api.py", "get"), *RECEIVE[2:]), False),
        (stack(("/srv/concurrent/futures/thread.py", "_worker")), False),
        ((), False),
    ],
)
def test_stack_of_a_worker(frames: Frames, expected: bool) -> None:
    """A worker waits for work where its innermost frames are its pool's, and runs a job where others are further in."""
    assert expected is waits_for_work(frames)
    assert expected is is_idle_worker(threading.current_thread(), frames)


@pytest.fixture(name="jobs")
def _jobs() -> Iterator["queue.Queue[Callable[[], object] | None]"]:
    jobs: queue.Queue[Callable[[], object] | None] = queue.Queue()
    yield jobs
    jobs.put(None)


def test_worker_of_an_executor() -> None:
    """A real worker is idle between two jobs, and not in one."""
    is_there, go_on = threading.Event(), threading.Event()

    def job() -> threading.Thread:
        is_there.set()
        go_on.wait()
        return threading.current_thread()

    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(job)
        is_there.wait()
        thread = next(iter(executor._threads))
        working = is_idle_worker(thread, look_at(thread).frames)
        go_on.set()
        future.result()
        until(True, lambda: is_idle_worker(thread, look_at(thread).frames))

    assert working is False


def test_worker_of_the_application(jobs: "queue.Queue[Callable[[], object] | None]") -> None:
    """A thread of the application that waits for its own queue is in the application's code."""

    def work() -> None:
        while (job := jobs.get()) is not None:
            job()

    thread = threading.Thread(target=work)
    thread.start()
    until("wait", lambda: names(look_at(thread).frames)[0])
    found = look_at(thread)
    jobs.put(None)
    thread.join()

    assert "own_code" == found.activity
    assert not is_idle_worker(thread, found.frames)


def test_worker_of_anyio() -> None:
    """An idle thread of anyio is unknown and never idle in that sense: its request may go on in the event loop."""

    async def main() -> None:
        thread = await anyio.to_thread.run_sync(threading.current_thread)
        await eventually(True, lambda: waits_for_work(look_at(thread).frames))
        found = look_at(thread)

        assert ("unknown", ()) == (found.activity, found.now)
        assert not is_idle_worker(thread, found.frames)
        assert [thread] == [each for each in anyio_workers() if each is thread]
        assert asyncio.get_running_loop() is loop_of_worker(thread)

    asyncio.run(main())


def test_other_threads() -> None:
    """A thread of another library is no worker of anyio, and has no loop."""
    assert threading.current_thread() not in anyio_workers()
    assert None is loop_of_worker(threading.current_thread())


def test_tasks_that_wait_for_a_worker() -> None:
    """A task that waits for a thread of anyio stands in its limiter; the one that has the thread does not."""

    async def main() -> None:
        is_there, go_on = threading.Event(), threading.Event()
        limiter = anyio.CapacityLimiter(1)

        def job() -> None:
            is_there.set()
            go_on.wait()

        first = asyncio.create_task(anyio.to_thread.run_sync(job, limiter=limiter))
        await asyncio.to_thread(is_there.wait)
        second = asyncio.create_task(anyio.to_thread.run_sync(job, limiter=limiter))
        await eventually(True, lambda: limiter.statistics().tasks_waiting == 1)
        found = [waits_in_anyio_limiter(look_at(task).frames) for task in (first, second)]
        go_on.set()
        await asyncio.gather(first, second)

        assert [False, True] == found

    asyncio.run(main())
