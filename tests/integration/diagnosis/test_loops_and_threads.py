"""A synchronous pool that an event loop waits for, and one that the worker threads of anyio wait for."""

import asyncio
import time

import anyio.to_thread
from sqlalchemy import Connection, Engine

from pool_exporter.diagnosis.survey.examine import FRESH_SECONDS
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.runtime.monitor import Monitor
from tests.fixtures.deadlines import eventually
from tests.integration.diagnosis.cells import cell, each_way
from tests.integration.diagnosis.sync_incidents import returns
from tests.integration.diagnosis.trial import QUICK, SIZE, Trial


async def uses_on_loop(engine: Engine) -> None:
    """Use a synchronous connection in a task, and let other tasks run meanwhile."""
    with engine.connect() as connection:
        connection.execute(QUICK)
        await asyncio.sleep(0.1)


async def uses_in_thread(trial: Trial, engine: Engine) -> None:
    """Use it in a thread."""
    await asyncio.to_thread(returns, trial, engine)


@each_way("loop_waits", "sync")
def test_loop_waits(trial: Trial, engine: Engine, monitor: Monitor, how: str) -> None:
    """While the loop itself waits for a connection, no task can return one; the line that waits is named."""

    async def main() -> None:
        await asyncio.gather(*(trial.caller(uses_on_loop(engine)) for _ in range(SIZE + 1)))

    asyncio.run(main())
    found = monitor.diagnoses[0]

    assert ("loop_waits", how == "timeout") == (found.verdict, found.evidence.at_timeout)
    assert " in uses_on_loop" in str(found)


@cell("loop_waits", "sync cure", follows="call the synchronous code in a thread: asyncio.to_thread")
def test_loop_waits_for_long(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """Where callers block the loop one after the other, no holder is young any more: the loop has not run them."""

    async def holds_for_long() -> None:
        with engine.connect():
            deadline = time.monotonic() + 2 * FRESH_SECONDS
            while time.monotonic() < deadline:  # noqa: ASYNC110  # the task is always one that the loop runs next
                await asyncio.sleep(0)

    async def asks_late() -> None:
        await asyncio.sleep(1.5 * FRESH_SECONDS)
        await uses_on_loop(engine)

    async def main() -> None:
        await asyncio.gather(trial.caller(asks_late()), *(holds_for_long() for _ in range(SIZE)))

    asyncio.run(main())

    assert "loop_waits" == monitor.diagnoses[0].verdict


def test_loop_waits_cured(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """In threads the same work gives no report."""

    async def main() -> None:
        await asyncio.gather(*(uses_in_thread(trial, engine) for _ in range(4 * SIZE)))

    asyncio.run(main())

    assert () == monitor.diagnoses


async def request_with_yielded_session(engine: Engine, opened: list[Connection]) -> None:
    """Do what Starlette does for a synchronous endpoint with a session that a dependency yields.

    The session is opened in one of anyio's threads, and is closed in one after the response was made.
    """
    connection = await anyio.to_thread.run_sync(engine.connect)
    opened.append(connection)
    try:
        await anyio.to_thread.run_sync(lambda: connection.execute(QUICK))
    finally:
        await anyio.to_thread.run_sync(connection.close)


async def request_with_own_session(trial: Trial, engine: Engine) -> None:
    """Open and close the session inside of the endpoint."""
    await anyio.to_thread.run_sync(returns, trial, engine)


@each_way("threads_deadlock", "sync")
def test_threads_deadlock(trial: Trial, engine: Engine, monitor: Monitor, how: str) -> None:
    """Requests that hold the connections wait for a thread, and all threads wait for a connection."""
    opened: list[Connection] = []

    async def main() -> Diagnosis:
        requests = [asyncio.create_task(trial.caller(request_with_yielded_session(engine, opened))) for _ in range(44)]
        await eventually(True, lambda: bool(monitor.diagnoses))
        await asyncio.gather(*requests)
        return monitor.diagnoses[0]

    found = asyncio.run(main())

    assert ("threads_deadlock", how == "timeout") == (found.verdict, found.evidence.at_timeout)


@cell("threads_deadlock", "sync cure", follows="Close the session before the endpoint returns")
def test_threads_deadlock_cured(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """With the session inside of the endpoint the same requests get their connections, from the same pool."""

    async def main() -> None:
        await asyncio.gather(*(trial.caller(request_with_own_session(trial, engine)) for _ in range(44)))

    asyncio.run(main())

    assert () == monitor.diagnoses
    assert [] == trial.errors
