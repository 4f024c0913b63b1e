"""Tasks and threads that share a unit: those that run beside each other, and those that wait for each other.

A copied context carries the unit into other tasks and threads. Only where the holder of a connection cannot go on until
a waiter of its unit has got one do they deadlock.
"""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio.to_thread
import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

import pool_exporter
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.runtime.monitor import Monitor
from tests.fixtures.deadlines import eventually, until
from tests.integration.diagnosis.trial import (
    QUICK,
    SIZE,
    Trial,
    async_engine,
    first_report,
    first_report_in_loop,
    gathered,
    sync_engine,
)

TIMEOUT = 0.8
JOBS = 2 * SIZE
Job = Callable[[], object]


@contextmanager
def instrumented(trial: Trial, folder: Path) -> Iterator[tuple[Engine, Monitor]]:
    """Yield a synchronous engine whose callers wait for a short time, and its monitor."""
    engine = sync_engine(trial, folder, timeout_seconds=TIMEOUT)
    with pool_exporter.instrument(engine, name="trial") as monitor:
        try:
            yield engine, monitor
        finally:
            trial.over.set()
            engine.dispose()


@asynccontextmanager
async def instrumented_in_loop(trial: Trial, folder: Path) -> AsyncIterator[tuple[AsyncEngine, Monitor]]:
    """Yield one of asyncio."""
    engine = async_engine(trial, folder, timeout_seconds=TIMEOUT)
    with pool_exporter.instrument(engine, name="trial") as monitor:
        try:
            yield engine, monitor
        finally:
            trial.over.set()
            await engine.dispose()


def in_copy(job: Job) -> Job:
    """Return *job* in a copy of the present context, and so in its unit."""
    context = contextvars.copy_context()
    return lambda: context.run(job)


def in_executor(jobs: list[Job]) -> None:
    """Run jobs in a thread pool, and wait for their results."""
    with ThreadPoolExecutor(len(jobs)) as executor:
        for future in [executor.submit(in_copy(job)) for job in jobs]:
            future.result()


def in_threads(jobs: list[Job]) -> None:
    """Run them in threads, and join these."""
    threads = [threading.Thread(target=in_copy(job)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def to_thread(jobs: list[Job]) -> None:
    """Run them by `asyncio.to_thread()`."""
    await asyncio.gather(*(asyncio.to_thread(job) for job in jobs))


async def in_loop_executor(jobs: list[Job]) -> None:
    """Run them by a loop's executor."""
    loop = asyncio.get_running_loop()
    for future in [loop.run_in_executor(None, in_copy(job)) for job in jobs]:
        await future


async def in_anyio(jobs: list[Job]) -> None:
    """Run them in anyio's worker threads."""
    async with anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(anyio.to_thread.run_sync, job)


def blocking(run: Callable[[list[Job]], Coroutine[object, object, None]]) -> Callable[[list[Job]], None]:
    """Return *run* as a function."""
    return lambda jobs: asyncio.run(run(jobs))


@pytest.mark.parametrize(
    "run",
    [in_executor, in_threads, blocking(to_thread), blocking(in_loop_executor), blocking(in_anyio)],
    ids=["executor", "threads", "to_thread", "loop_executor", "anyio"],
)
def test_jobs_beside_each_other(trial: Trial, tmp_path: Path, run: Callable[[list[Job]], None]) -> None:
    """Threads in copies of one context that hold a connection over other work are no deadlock."""

    def job() -> None:
        with engine.connect() as connection:
            connection.execute(QUICK)
            trial.hang()

    def batch() -> None:
        with pool_exporter.unit("batch"):
            run([lambda: trial.run(job)] * JOBS)

    with instrumented(trial, tmp_path) as (engine, monitor), trial.callers(batch):
        found = first_report(monitor)

    assert ("held_in_own_code", {"own_code"}) == (found.verdict, {holder.activity for holder in found.holders})
    assert {0} == {waiter.holds for waiter in found.waiters}
    assert all(any(each.endswith("job") for each in holder.now) for holder in found.holders)


@pytest.mark.parametrize("is_waiting_for_it", [True, False])
@pytest.mark.parametrize("run", [in_executor, in_threads], ids=["executor", "threads"])
def test_thread_that_waits_for_its_jobs(
    trial: Trial, tmp_path: Path, run: Callable[[list[Job]], None], is_waiting_for_it: bool
) -> None:
    """The thread that holds a connection while its jobs want one waits for them, or is in its own code still."""

    def job() -> None:
        trial.run(lambda: engine.connect().close())

    def batch() -> None:
        with pool_exporter.unit("batch"), engine.connect():
            trial.both.wait()
            if is_waiting_for_it:
                run([job])
            else:
                with ThreadPoolExecutor(1) as executor:
                    executor.submit(in_copy(job))
                    own_code(trial)

    with instrumented(trial, tmp_path) as (engine, monitor), trial.callers(batch, SIZE):
        found = first_report(monitor)

    assert ("self_deadlock" if is_waiting_for_it else "held_in_own_code") == found.verdict
    assert {int(is_waiting_for_it)} == {waiter.holds for waiter in found.waiters}


def own_code(trial: Trial) -> None:
    """Work until the trial is over, without a wait for another thread."""
    until(True, trial.over.is_set)


def test_job_that_waits_for_something_else(trial: Trial, tmp_path: Path) -> None:
    """A job that waits for the result of another thread, which is not its unit's, holds in its own code."""

    def job() -> None:
        with engine.connect():
            outside.submit(trial.hang).result()

    with ThreadPoolExecutor(SIZE) as outside, instrumented(trial, tmp_path) as (engine, monitor):

        def batch() -> None:
            with pool_exporter.unit("batch"):
                in_executor([lambda: trial.run(job)] * JOBS)

        with trial.callers(batch):
            found = first_report(monitor)

    assert "held_in_own_code" == found.verdict


def test_request_in_two_worker_threads(trial: Trial, tmp_path: Path) -> None:
    """FastAPI runs a dependency in one of anyio's threads and its endpoint in another: they are one request.

    The first thread has gone on to another request meanwhile.
    """

    def connect() -> Connection:
        return engine.connect()

    def endpoint() -> None:
        trial.run(lambda: engine.connect().close())

    async def request(threads_are_taken: asyncio.Event, opened: list[Connection]) -> None:
        with pool_exporter.unit("POST /orders"):
            opened.append(await anyio.to_thread.run_sync(connect))
            await threads_are_taken.wait()
            await anyio.to_thread.run_sync(endpoint)

    async def main() -> Diagnosis:
        opened: list[Connection] = []
        threads_are_taken = asyncio.Event()
        tasks = [asyncio.create_task(request(threads_are_taken, opened)) for _ in range(SIZE)]
        await eventually(SIZE, lambda: len(opened))
        tasks += [asyncio.create_task(in_anyio([trial.hang] * SIZE))]
        await asyncio.sleep(0)
        threads_are_taken.set()
        found = await first_report_in_loop(monitor)
        trial.over.set()
        await asyncio.gather(*tasks)
        for connection in opened:
            connection.close()
        return found

    with instrumented(trial, tmp_path) as (engine, monitor):
        found = asyncio.run(main())

    assert "self_deadlock" == found.verdict
    assert {1} == {waiter.holds for waiter in found.waiters}


def as_tasks(*calls: Coroutine[object, object, None]) -> Awaitable[object]:
    """Run the calls as tasks, and wait for them one after the other."""

    async def each() -> None:
        for task in [asyncio.create_task(call) for call in calls]:
            await task

    return each()


async def as_completed(*calls: Coroutine[object, object, None]) -> None:
    """Wait for them in the order in which they end."""
    for each in asyncio.as_completed(calls):
        await each


async def in_task_group(*calls: Coroutine[object, object, None]) -> None:
    """Run them in a task group."""

    async def run(call: Coroutine[object, object, None]) -> None:
        await call

    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(run, call)


async def through_a_queue(*calls: Coroutine[object, object, None]) -> None:
    """Give them to a task that takes them from a queue, and wait until it has done them all."""
    queue: asyncio.Queue[Coroutine[object, object, None]] = asyncio.Queue()

    async def worker() -> None:
        while True:
            await (await queue.get())
            queue.task_done()

    tasks = [asyncio.create_task(worker()) for _ in calls]
    for call in calls:
        queue.put_nowait(call)
    await queue.join()
    for task in tasks:
        task.cancel()


WAYS = pytest.mark.parametrize("run", [as_tasks, gathered, as_completed, in_task_group, through_a_queue])


@WAYS
def test_tasks_beside_each_other(trial: Trial, tmp_path: Path, run: Callable[..., Awaitable[object]]) -> None:
    """Tasks of one unit, each with a connection over other work, are no deadlock: their parent holds none."""

    async def job(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            await connection.execute(QUICK)
            await trial.over_in_loop()

    async def report(monitor: Monitor) -> Diagnosis:
        found = await first_report_in_loop(monitor)
        trial.over.set()
        return found

    async def main() -> Diagnosis:
        async with instrumented_in_loop(trial, tmp_path) as (engine, monitor):
            with pool_exporter.unit("batch"):
                calls = [trial.caller(job(engine)) for _ in range(JOBS)]
                _, found = await asyncio.gather(run(*calls), report(monitor))
            return found

    found = asyncio.run(main())

    assert ("held_in_own_code", {0}) == (found.verdict, {waiter.holds for waiter in found.waiters})


@WAYS
def test_task_that_waits_for_its_tasks(trial: Trial, tmp_path: Path, run: Callable[..., Awaitable[object]]) -> None:
    """The parent holds a connection, and waits for tasks that want one."""

    async def job(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            await connection.execute(QUICK)

    async def request(engine: AsyncEngine, both: list[int]) -> None:
        with pool_exporter.unit("POST /orders"):
            async with engine.connect() as connection:
                await connection.execute(QUICK)
                both.append(1)
                await eventually(SIZE, lambda: len(both))
                await run(trial.caller(job(engine)))

    async def main() -> Diagnosis:
        async with instrumented_in_loop(trial, tmp_path) as (engine, monitor):
            both: list[int] = []
            tasks = [asyncio.create_task(request(engine, both)) for _ in range(SIZE)]
            found = await first_report_in_loop(monitor)
            await asyncio.gather(*tasks)
            return found

    found = asyncio.run(main())

    assert ("self_deadlock", {1}) == (found.verdict, {waiter.holds for waiter in found.waiters})


@pytest.mark.parametrize("run", [to_thread, in_loop_executor, in_anyio])
def test_task_that_waits_for_a_thread(
    trial: Trial, tmp_path: Path, run: Callable[[list[Job]], Awaitable[None]]
) -> None:
    """The task holds a connection of a synchronous pool, and waits for a thread that wants one."""

    def job() -> None:
        trial.run(lambda: engine.connect().close())

    async def request(both: list[int]) -> None:
        with pool_exporter.unit("POST /orders"), engine.connect():
            both.append(1)
            await eventually(SIZE, lambda: len(both))
            await run([job])

    async def main() -> Diagnosis:
        both: list[int] = []
        tasks = [asyncio.create_task(request(both)) for _ in range(SIZE)]
        found = await first_report_in_loop(monitor)
        await asyncio.gather(*tasks)
        return found

    with instrumented(trial, tmp_path) as (engine, monitor):
        found = asyncio.run(main())

    assert ("self_deadlock", {1}) == (found.verdict, {waiter.holds for waiter in found.waiters})
