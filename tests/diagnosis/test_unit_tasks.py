"""The tasks of a unit of work, by the context that each one has."""

import asyncio
import sys
from contextvars import ContextVar

import pytest

from pool_exporter.diagnosis import unit_tasks
from pool_exporter.diagnosis.unit_tasks import tasks_by_unit
from tests.diagnosis.loops import LOOPS, run

current_unit: ContextVar[str | None] = ContextVar("current_unit", default=None)

SINCE_312 = pytest.mark.skipif(sys.version_info < (3, 12), reason="Python does not show the context of a task yet")


async def in_unit(name: str, is_there: asyncio.Event, go_on: asyncio.Event) -> None:
    """Be a unit of work, until it may end."""
    current_unit.set(name)
    child = asyncio.create_task(go_on.wait(), name=f"child of {name}")
    is_there.set()
    await child


@SINCE_312
@LOOPS
@pytest.mark.parametrize("is_inside", [True, False], ids=["inside", "thread"])
def test_tasks_of_units(loop: str, is_inside: bool) -> None:
    """A unit has the task that began it and all that it started; a task without a unit is in no list."""

    async def main() -> dict[str, set[str]]:
        go_on, tasks = asyncio.Event(), []
        for name in ("GET /a", "GET /b"):
            is_there = asyncio.Event()
            tasks.append(asyncio.create_task(in_unit(name, is_there, go_on), name=name))
            await is_there.wait()
        loops = [asyncio.get_running_loop()]
        if is_inside:
            found = tasks_by_unit(loops, current_unit)
        else:
            found = await asyncio.to_thread(tasks_by_unit, loops, current_unit)
        named = {unit: {task.get_name() for task in each} for unit, each in found.items()}
        go_on.set()
        await asyncio.gather(*tasks)
        return named

    assert {name: {name, f"child of {name}"} for name in ("GET /a", "GET /b")} == run(loop, main())


@SINCE_312
def test_without_the_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a build without the GIL the tasks of another thread's event loop are not read."""
    monkeypatch.setattr(unit_tasks, "has_gil", lambda: False)

    async def main() -> list[bool]:
        is_there, go_on = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(in_unit("GET /a", is_there, go_on))
        await is_there.wait()
        loops = [asyncio.get_running_loop()]
        inside = tasks_by_unit(loops, current_unit)
        outside = await asyncio.to_thread(tasks_by_unit, loops, current_unit)
        go_on.set()
        await task
        return [bool(inside), bool(outside)]

    assert [True, False] == asyncio.run(main())


def test_before_python_312(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a task does not show its context, no unit has tasks."""
    monkeypatch.setattr(unit_tasks, "IS_SUPPORTED", False)

    async def main() -> bool:
        current_unit.set("GET /a")
        return tasks_by_unit([asyncio.get_running_loop()], current_unit) == {}

    assert asyncio.run(main())
