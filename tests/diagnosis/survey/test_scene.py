"""What the tasks of a unit do: those that it has in open task groups count, and the innermost one is shown."""

import asyncio

import anyio
import pytest

from pool_exporter.diagnosis.locate import Stacks
from pool_exporter.diagnosis.survey.scene import Scene
from pool_exporter.diagnosis.survey.tasks_of_loops import UnitTasks
from pool_exporter.units import Unit
from tests.diagnosis.loops import names


async def streams(is_there: asyncio.Event) -> None:
    """Send a stream to its client."""
    is_there.set()
    await asyncio.Event().wait()


async def responds(is_there: asyncio.Event) -> None:
    """Do what Starlette does: stream in a task of a group, and wait meanwhile until the client goes away."""
    async with anyio.create_task_group() as group:

        async def ends_the_group() -> None:
            group.cancel_scope.cancel()

        group.start_soon(streams, is_there)
        await asyncio.Event().wait()
        await ends_the_group()


async def calls_next(is_there: asyncio.Event) -> None:
    """Do what a middleware does that runs the application in a task of a group."""
    async with anyio.create_task_group() as group:
        group.start_soon(responds, is_there)
        await asyncio.Event().wait()


async def names_of_now(request: object, is_there: asyncio.Event) -> list[str]:
    """Run *request* as a unit, and return where it is while it streams."""
    units = []

    async def unit() -> None:
        units.append(Unit("GET /events"))
        await request(is_there)  # type: ignore[operator]  # a function of this file

    task = asyncio.create_task(unit())
    await is_there.wait()
    with Stacks() as stacks:
        doing = Scene(stacks, [], [], UnitTasks([])).doing_of_unit(units[0])
    task.cancel()
    await asyncio.wait([task])
    return [] if doing is None else names(doing.now)


@pytest.mark.parametrize("request_", [responds, calls_next])
def test_task_in_an_open_group(request_: object) -> None:
    """Python 3.11 does not show which tasks run for a unit: the one that streams is found by its task group."""

    async def main() -> list[str]:
        return await names_of_now(request_, asyncio.Event())

    assert ["streams"] == asyncio.run(main())


def test_without_a_group() -> None:
    """A unit without other tasks is where its own task is."""

    async def main() -> list[str]:
        return await names_of_now(streams, asyncio.Event())

    assert ["streams", "unit"] == [name.rpartition(".")[2] for name in asyncio.run(main())][:2]
