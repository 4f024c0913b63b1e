"""`unit()` names a block, and each call of a function, coroutine function or generator function."""

import asyncio
import contextvars
import gc
import inspect
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from pool_exporter import unit
from pool_exporter.units import Unit, current_unit


def name() -> str:
    """Return the name of the current unit; "" without one."""
    current = current_unit.get()
    return "" if current is None else current.name


def current() -> Unit:
    """Return the current unit."""
    found = current_unit.get()

    assert found is not None
    return found


def test_block_is_a_unit() -> None:
    """Inside of the block there is the unit, and afterwards it has ended."""
    with unit("nightly"):
        found, inside = current(), name()

    assert ("nightly", "", True, False) == (inside, name(), found.is_done, found.is_long)


def test_long_unit() -> None:
    """A unit says whether it may hold connections for long."""
    with unit("batch", long=True):
        assert current().is_long


def test_inner_unit_counts() -> None:
    """The inner unit hides the outer one, which is there again afterwards."""
    with unit("outer"):
        with unit("inner"):
            inside = name()
        between = name()

    assert ("inner", "outer", "") == (inside, between, name())


def test_exception_passes() -> None:
    """An exception leaves the block as it is, and ends the unit."""
    found = []

    def work() -> None:
        with unit("nightly"):
            found.append(current())
            raise LookupError

    with pytest.raises(LookupError):
        work()

    assert ([True], "") == ([each.is_done for each in found], name())


def test_asynchronous_block() -> None:
    """`async with` does the same, and a task that is started inside has the unit too."""

    async def main() -> tuple[str, str, str]:
        async def child() -> str:
            return name()

        async with unit("nightly"):
            inside, of_child = name(), await asyncio.create_task(child())
        return inside, of_child, name()

    assert ("nightly", "nightly", "") == asyncio.run(main())


def test_block_can_be_entered_again_and_by_several_threads() -> None:
    """One block that threads share is a unit of its own for each, ended by the thread that began it."""
    block, entered, leave = unit("shared"), threading.Barrier(2), [threading.Event(), threading.Event()]
    units: dict[int, Unit] = {}

    def run(number: int) -> None:
        with block:
            units[number] = current()
            entered.wait(10)
            leave[number].wait(10)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for number in range(2):
        leave[number].set()
        threads[number].join(10)

    assert 2 == len(set(units.values()))
    assert [True, True] == [each.is_done for each in units.values()]


def test_block_that_is_left_in_another_context_ends() -> None:
    """A framework may run the two halves of a context manager in different contexts."""
    block, found = unit("dependency"), []

    def enter() -> None:
        block.__enter__()
        found.append(current())

    contextvars.Context().run(enter)
    contextvars.Context().run(block.__exit__, None, None, None)

    assert (True, "") == (found[0].is_done, name())


def test_function() -> None:
    """Each call of a function is a unit, with the function's code; the function stays what it was."""

    @unit("job")
    def job(number: int) -> tuple[int, Unit]:
        """Work."""
        return number, current()

    (one, first), (_, second) = job(1), job(2)

    assert (1, "job", "Work.") == (one, first.name, job.__doc__)
    assert first is not second
    assert inspect.unwrap(job).__code__ is first.code
    assert (True, "") == (first.is_done, name())


def test_coroutine_function() -> None:
    """A coroutine function stays one, and its unit lasts until it returns."""

    @unit("job")
    async def job() -> tuple[str, Unit]:
        before = name()
        await asyncio.sleep(0)
        return before + name(), current()

    names, found = asyncio.run(job())

    assert ("jobjob", True, "") == (names, found.is_done, name())
    assert inspect.iscoroutinefunction(job)
    assert inspect.unwrap(job).__code__ is found.code


@unit("rows")
def rows(log: list[str]) -> Iterator[str]:
    """Yield the unit's name, and log it at the end."""
    try:
        yield name()
        yield name()
    except LookupError:
        log.append(f"{name()} caught")
        yield name()
    finally:
        log.append(name())


def test_generator_has_the_unit_and_its_consumer_does_not() -> None:
    """The unit is current while the generator's own code runs, and the consumer's unit is there in between."""
    log: list[str] = []
    with unit("consumer"):
        seen = [(row, name()) for row in rows(log)]

    assert [("rows", "consumer")] * 2 == seen
    assert ["rows"] == log
    assert inspect.isgeneratorfunction(rows)


def test_exception_is_thrown_into_the_generator() -> None:
    """A generator handles inside of its unit what is thrown into it."""
    log: list[str] = []
    generator = rows(log)
    next(generator)
    found = generator.throw(LookupError())  # type: ignore[attr-defined]  # a generator, as its decorator keeps it
    generator.close()  # type: ignore[attr-defined]  # likewise

    assert ("rows", ["rows caught", "rows"], "") == (found, log, name())


def test_generator_that_is_dropped_ends_inside_its_unit() -> None:
    """A generator that no code consumes to the end cleans up as itself."""
    log: list[str] = []
    generator = rows(log)
    next(generator)
    del generator
    gc.collect()

    assert (["rows"], "") == (log, name())


def test_generator_receives_and_returns() -> None:
    """What is sent arrives, and what is returned too."""

    @unit("echo")
    def echo() -> Iterator[object]:
        got = yield "first"
        return got

    def consume() -> Iterator[object]:
        return (yield from echo())

    consumer = consume()
    first = next(consumer)
    with pytest.raises(StopIteration) as stopped:
        consumer.send("sent")  # type: ignore[attr-defined]  # a generator

    assert ("first", "sent") == (first, stopped.value.value)


def test_asynchronous_generator() -> None:
    """An asynchronous generator has the unit in each step, and its consumer has its own in between."""
    log: list[str] = []

    @unit("stream")
    async def stream() -> AsyncIterator[str]:
        try:
            yield name()
            await asyncio.sleep(0)
            yield name()
        finally:
            await asyncio.sleep(0)
            log.append(name())

    async def main() -> list[tuple[str, str]]:
        with unit("consumer"):
            found = [(row, name()) async for row in stream()]
            left = stream()
            await anext(left)
            await left.aclose()  # type: ignore[attr-defined]  # a generator, as its decorator keeps it
        return found

    assert [("stream", "consumer")] * 2 == asyncio.run(main())
    assert ["stream", "stream"] == log
    assert inspect.isasyncgenfunction(stream)
