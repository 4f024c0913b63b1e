"""The tasks that a task waits for, by each way to wait, and none that it only started."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
import pytest

from pool_exporter.diagnosis import locate
from pool_exporter.diagnosis.locate import Stacks
from tests.diagnosis.loops import FROM, LOOPS, Look, look_inside, run

Child = Callable[[], Coroutine[object, object, None]]
Parent = Callable[[Child], Awaitable[object]]


async def by_await(child: Child) -> None:
    """Await a task."""
    await asyncio.create_task(child())


async def by_gather(child: Child) -> None:
    """Await `gather()`."""
    await asyncio.gather(child(), child())


async def by_wait(child: Child) -> None:
    """Await `wait()`."""
    await asyncio.wait([asyncio.create_task(child()), asyncio.create_task(child())])


async def by_wait_for(child: Child) -> None:
    """Await `wait_for()`."""
    await asyncio.wait_for(asyncio.create_task(child()), timeout=60)


async def by_wait_for_gather(child: Child) -> None:
    """Await `gather()` in `wait_for()`."""
    await asyncio.wait_for(asyncio.gather(child(), child()), timeout=60)


async def by_shield(child: Child) -> None:
    """Await `shield()`."""
    await asyncio.shield(asyncio.create_task(child()))


async def by_wait_for_shield(child: Child) -> None:
    """Await `shield()` in `wait_for()`."""
    await asyncio.wait_for(asyncio.shield(asyncio.create_task(child())), timeout=60)


async def by_task_group(child: Child) -> None:
    """Leave a task group of asyncio."""
    group: Any
    async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined]  # Python 3.11
        group.create_task(child())
        group.create_task(child())


async def by_anyio(child: Child) -> None:
    """Leave a task group of anyio."""
    async with anyio.create_task_group() as group:
        group.start_soon(child)
        group.start_soon(child)


PARENTS = [
    (by_await, 1),
    (by_gather, 2),
    (by_wait, 2),
    (by_wait_for, 1),
    (by_wait_for_gather, 2),
    (by_shield, 1),
    (by_wait_for_shield, 1),
    (by_anyio, 2),
    pytest.param(
        by_task_group, 2, marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio has no task groups yet")
    ),
]


class Children:
    """What the children run: each waits until it may end."""

    def __init__(self, expected: int) -> None:
        self.tasks: set[asyncio.Task[object] | None] = set()
        self.are_there = asyncio.Event()
        self.may_end = asyncio.Event()
        self._expected = expected

    async def child(self) -> None:
        """Wait until it may end."""
        self.tasks.add(asyncio.current_task())
        if len(self.tasks) == self._expected:
            self.are_there.set()
        await self.may_end.wait()


@LOOPS
@FROM
@pytest.mark.parametrize(("parent", "expected"), PARENTS)
def test_tasks_that_it_waits_for(loop: str, look: Look, parent: Parent, expected: int) -> None:
    """Each way to wait leads to the tasks waited for, and to no others; they are gone when they have ended."""

    async def main() -> None:
        children = Children(expected)
        task = asyncio.ensure_future(parent(children.child))
        await children.are_there.wait()
        found = await look(task)
        children.may_end.set()
        await task

        assert children.tasks == set(found.waits_for)
        assert expected == len(found.waits_for)
        assert () == (await look(task)).waits_for

    run(loop, main())


@LOOPS
@FROM
def test_tasks_that_it_only_started(loop: str, look: Look) -> None:
    """A task in a local variable is not waited for, whatever the variable is called and however many there are."""

    async def main() -> None:
        children = Children(2)

        async def wait_for() -> None:
            tasks = {asyncio.create_task(children.child()) for _ in range(2)}
            await children.may_end.wait()
            await asyncio.gather(*tasks)

        task = asyncio.create_task(wait_for())
        await children.are_there.wait()
        found = await look(task)
        children.may_end.set()
        await task

        assert () == found.waits_for

    run(loop, main())


@LOOPS
def test_some_of_the_children_have_ended(loop: str) -> None:
    """Only those that go on are waited for."""

    async def main() -> None:
        children, ended = Children(1), asyncio.Event()

        async def short() -> None:
            ended.set()

        gathered = asyncio.ensure_future(by_gather_of(short, children.child))
        await children.are_there.wait()
        await ended.wait()
        found = await look_inside(gathered)
        children.may_end.set()
        await gathered

        assert children.tasks == set(found.waits_for)

    async def by_gather_of(*kinds: Child) -> None:
        await asyncio.gather(*(each() for each in kinds))

    run(loop, main())


@LOOPS
def test_number_of_awaited_tasks_is_bounded(loop: str) -> None:
    """Of a thousand children a report reads a hundred."""

    async def main() -> None:
        children = Children(1000)
        task = asyncio.create_task(by_gather_of_many(children.child))
        await children.are_there.wait()
        found = await look_inside(task)
        children.may_end.set()
        await task

        assert 100 == len(found.waits_for)

    async def by_gather_of_many(child: Child) -> None:
        await asyncio.gather(*(child() for _ in range(1000)))

    run(loop, main())


@LOOPS
def test_number_in_one_report_is_bounded(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tasks wait for others, a report follows so many, and the next one as many again."""
    monkeypatch.setattr(locate, "AWAITED_TASKS_MAX", 5)

    async def main() -> None:
        children = Children(6)
        tasks = [asyncio.ensure_future(by_gather(children.child)) for _ in range(3)]
        await children.are_there.wait()
        found = []
        for _ in range(2):
            with Stacks() as stacks:
                found.append([len(stacks.of(task).waits_for) for task in tasks])
        children.may_end.set()
        await asyncio.gather(*tasks)

        assert [[2, 2, 1], [2, 2, 1]] == found

    run(loop, main())


def test_search_can_be_left_out() -> None:
    """A report leaves the search out for all but its oldest holders."""

    async def main() -> None:
        children = Children(1)
        task = asyncio.create_task(by_await(children.child))
        await children.are_there.wait()
        with Stacks() as stacks:
            without = stacks.of(task, with_awaited=False)
        children.may_end.set()
        await task

        assert () == without.waits_for
        assert "own_code" == without.activity

    asyncio.run(main())
