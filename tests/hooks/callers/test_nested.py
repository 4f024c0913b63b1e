"""An acquire is nested if the holder of another connection of the unit may wait for it, not if it runs beside it."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import anyio.from_thread
import anyio.to_thread
import pytest
from sqlalchemy import Engine
from sqlalchemy.pool import QueuePool

import pool_exporter
from pool_exporter.runtime.monitor import Monitor
from tests.pools import Database, measured

SECONDS = 30


@pytest.fixture(name="engine")
def _engine() -> Iterator[Engine]:
    engine = Database().engine(QueuePool)
    yield engine
    engine.dispose()


@pytest.fixture(name="monitor")
def _monitor(engine: Engine) -> Iterator[Monitor]:
    with pool_exporter.instrument(engine) as monitor:
        yield monitor


def nested(monitor: Monitor) -> object:
    """Return how many acquires were nested."""
    return measured(monitor).snapshot().counters["nested_acquires"]


def in_threads(engine: Engine) -> None:
    """Hold a connection in each of two threads at a time, in copies of the unit's context."""
    both = threading.Barrier(2, timeout=SECONDS)

    def job() -> None:
        with engine.connect():
            both.wait()

    contexts = [contextvars.copy_context() for _ in range(2)]
    with ThreadPoolExecutor(2) as executor:
        for future in [executor.submit(context.run, job) for context in contexts]:
            future.result()


def in_tasks(engine: Engine) -> None:
    """Hold a connection in each of two tasks at a time."""

    async def job() -> None:
        with engine.connect():
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(job(), job())

    asyncio.run(main())


def in_one_thread(engine: Engine) -> None:
    """Ask for a second connection."""
    with engine.connect(), engine.connect():
        pass


def in_the_parent(engine: Engine) -> None:
    """Hold one in the thread in which the unit began, while its job asks for one."""
    context = contextvars.copy_context()
    with engine.connect(), ThreadPoolExecutor(1) as executor:
        executor.submit(context.run, lambda: engine.connect().close()).result()


def in_the_parent_task(engine: Engine) -> None:
    """Hold one in the task in which the unit began, while its task asks for one."""

    async def ask() -> None:
        engine.connect().close()

    async def main() -> None:
        with pool_exporter.unit("request"), engine.connect():
            await asyncio.create_task(ask())

    asyncio.run(main())


def in_threads_of_anyio(engine: Engine) -> None:
    """Hold one that an earlier thread of the same request has taken, which now runs for another one."""

    async def main() -> None:
        with pool_exporter.unit("request"):
            connection = await anyio.to_thread.run_sync(engine.connect)
            has_begun, goes_on = asyncio.Event(), threading.Event()

            def run_for_another() -> None:
                anyio.from_thread.run_sync(has_begun.set)
                goes_on.wait()

            other = asyncio.create_task(anyio.to_thread.run_sync(run_for_another))
            await has_begun.wait()
            await anyio.to_thread.run_sync(lambda: engine.connect().close())
            goes_on.set()
            await other
            connection.close()

    asyncio.run(main())


def after_a_thread(engine: Engine) -> None:
    """Hold one of a thread that has ended."""
    with ThreadPoolExecutor(1) as executor:
        connection = executor.submit(contextvars.copy_context().run, engine.connect).result()
    engine.connect().close()
    connection.close()


def in_a_unit_that_has_ended(engine: Engine) -> None:
    """Ask after the end of the unit, which has not returned one."""
    with pool_exporter.unit("ended"):
        context = contextvars.copy_context()
        connection = engine.connect()
    context.run(lambda: engine.connect().close())
    connection.close()


def in_an_inner_unit(engine: Engine) -> None:
    """Hold one, and ask for a second one in a unit inside of this one."""
    with engine.connect(), pool_exporter.unit("audit"), pool_exporter.unit("entry"), engine.connect():
        pass


def in_an_inner_function(engine: Engine) -> None:
    """Hold one, and call a function that is a unit and asks for a second one."""

    @pool_exporter.unit("audit")
    def audit() -> None:
        engine.connect().close()

    with engine.connect():
        audit()


def in_an_inner_unit_of_a_task(engine: Engine) -> None:
    """Hold one in the task in which the outer unit began, while its task asks for one in a unit of its own."""

    async def ask() -> None:
        with pool_exporter.unit("part"), engine.connect():
            pass

    async def main() -> None:
        with pool_exporter.unit("request"), engine.connect():
            await asyncio.create_task(ask())

    asyncio.run(main())


def after_the_outer_unit_has_returned_it(engine: Engine) -> None:
    """Ask in a unit that began when the outer one held a connection, and holds none any more."""
    connection = engine.connect()
    with pool_exporter.unit("audit"):
        connection.close()
        engine.connect().close()


def in_units_beside_each_other(engine: Engine) -> None:
    """Hold one connection in each of two tasks with a unit of their own, inside of one that holds none."""

    async def job(name: str) -> None:
        with pool_exporter.unit(name), engine.connect():
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(job("one"), job("two"))

    asyncio.run(main())


def beside_a_task_of_the_outer_unit(engine: Engine) -> None:
    """Hold one in a task of the outer unit, beside which another one asks in a unit of its own."""

    async def hold(ready: asyncio.Event, done: asyncio.Event) -> None:
        with engine.connect():
            ready.set()
            await done.wait()

    async def ask(ready: asyncio.Event, done: asyncio.Event) -> None:
        await ready.wait()
        with pool_exporter.unit("part"), engine.connect():
            done.set()

    async def main() -> None:
        events = asyncio.Event(), asyncio.Event()
        await asyncio.gather(hold(*events), ask(*events))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (in_an_inner_unit, 1),
        (in_an_inner_function, 1),
        (in_an_inner_unit_of_a_task, 1),
        (after_the_outer_unit_has_returned_it, 0),
        (in_units_beside_each_other, 0),
        (beside_a_task_of_the_outer_unit, 0),
        (in_threads, 0),
        (in_tasks, 0),
        (in_one_thread, 1),
        (in_the_parent, 1),
        (in_the_parent_task, 1),
        (in_threads_of_anyio, 1),
        (after_a_thread, 1),
        (in_a_unit_that_has_ended, 0),
    ],
)
def test_nested(engine: Engine, monitor: Monitor, run: Callable[[Engine], None], expected: int) -> None:
    """Only what holds a connection and may wait for the caller makes it nested."""
    with pool_exporter.unit("batch"):
        run(engine)

    assert expected == nested(monitor)
