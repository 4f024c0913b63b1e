"""What exhausts a pool of asyncio, and the same work after the advice of its verdict was followed."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from tests.integration.diagnosis.cells import cell
from tests.integration.diagnosis.trial import INDEX, ORDERS, QUICK, Trial

Work = Callable[[Trial, AsyncEngine], Awaitable[object]]


@dataclass(frozen=True)
class Incident:
    """One incident.

    Attributes:
        name: Its name.
        verdict: What is to be found.
        fault: What each of two tasks does, so that a third one waits.
        cured: The same work without the fault.
        follows: What of the report's advice that is.
        ends_first: Whether the two tasks have ended before the third one comes.
    """

    name: str
    verdict: str
    fault: Work
    cured: Work
    follows: str
    ends_first: bool = False


async def leaks(trial: Trial, engine: AsyncEngine) -> None:
    """Keep a connection that nothing returns."""
    connection = await engine.connect()
    await connection.execute(QUICK)
    trial.kept.append(connection)


async def returns(_: Trial, engine: AsyncEngine) -> None:
    """Return the connection."""
    async with engine.connect() as connection:
        await connection.execute(QUICK)


async def nests(trial: Trial, engine: AsyncEngine) -> None:
    """Ask for a second connection, while the other task holds one as well."""
    async with AsyncSession(engine) as session:
        await session.execute(QUICK)
        await come_together(trial)
        await returns(trial, engine)


async def nests_in_children(trial: Trial, engine: AsyncEngine) -> None:
    """Wait for tasks that ask for connections of their own."""
    async with AsyncSession(engine) as session:
        await session.execute(QUICK)
        await come_together(trial)
        await asyncio.gather(returns(trial, engine), returns(trial, engine))


async def nests_in_group(trial: Trial, engine: AsyncEngine) -> None:
    """Wait for a task group; before Python 3.11 for the tasks themselves."""
    async with AsyncSession(engine) as session:
        await session.execute(QUICK)
        await come_together(trial)
        if sys.version_info >= (3, 11):
            async with asyncio.TaskGroup() as group:
                group.create_task(trial.caller(returns(trial, engine)))
        else:
            await asyncio.wait([asyncio.ensure_future(trial.caller(returns(trial, engine)))])


async def passes_on(trial: Trial, engine: AsyncEngine) -> None:
    """Use the session that it has."""
    async with AsyncSession(engine) as session:
        await session.execute(QUICK)
        await come_together(trial)
        await session.execute(QUICK)


async def children_afterwards(trial: Trial, engine: AsyncEngine) -> None:
    """Start the tasks when the connection is returned."""
    async with AsyncSession(engine) as session:
        await session.execute(QUICK)
    await asyncio.gather(returns(trial, engine), returns(trial, engine))


async def reads_all(_: Trial, engine: AsyncEngine) -> None:
    """Execute a statement that reads more than it needs."""
    async with engine.connect() as connection:
        await connection.execute(ORDERS)


async def reads_by_index(trial: Trial, engine: AsyncEngine) -> None:
    """Execute it with the index that EXPLAIN shows to be missing."""
    async with engine.begin() as connection:
        await connection.execute(INDEX)
    await reads_all(trial, engine)


async def calls_while_holding(trial: Trial, engine: AsyncEngine) -> None:
    """Call another service with a session at hand."""
    async with AsyncSession(engine) as session:
        await session.execute(QUICK)
        await trial.over_in_loop()


async def calls_afterwards(trial: Trial, engine: AsyncEngine) -> None:
    """Return the connection, then call the service."""
    async with AsyncSession(engine) as session:
        await session.execute(QUICK)
    await trial.over_in_loop()


async def come_together(trial: Trial) -> None:
    """Return when both tasks have come here."""
    trial.kept.append("one more")
    while len(trial.kept) < 2:  # noqa: ASYNC110  # both of them
        await asyncio.sleep(0)


AFTERWARDS: Final = "do the inner work after the first connection is returned"
OUTSIDE: Final = "Commit and close the session before that work"
INCIDENTS: Final = (
    Incident("leak", "leak", leaks, returns, '(in asyncio "async with")', ends_first=True),
    Incident("nested", "self_deadlock", nests, passes_on, "Pass the session or connection on to the inner code"),
    Incident("gather", "self_deadlock", nests_in_children, children_afterwards, AFTERWARDS),
    Incident("task group", "self_deadlock", nests_in_group, children_afterwards, AFTERWARDS),
    Incident("slow queries", "slow_queries", reads_all, reads_by_index, "EXPLAIN the statements at the places shown"),
    Incident("own code", "held_in_own_code", calls_while_holding, calls_afterwards, OUTSIDE),
)


def with_each(how: str) -> pytest.MarkDecorator:
    """Run a test with each incident, found in that way; with "cure", without the fault."""
    marks = [cell(one.verdict, f"async {how}", follows=one.follows if how == "cure" else "") for one in INCIDENTS]
    cases = [pytest.param(one, id=one.name, marks=mark) for one, mark in zip(INCIDENTS, marks, strict=True)]
    return pytest.mark.parametrize("incident", cases)
