"""`unit()` names a block, and each call of a function, coroutine function or generator function."""

import asyncio
import contextlib
import contextvars
import functools
import gc
import inspect
import threading
import types
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeAlias
from weakref import ref

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


def test_shared_block_that_is_left_in_another_context_ends_no_running_unit() -> None:
    """Of two that entered one block, the one that leaves it in another context ends nothing until both have left."""
    block, found, running = unit("shared"), list[Unit](), contextvars.copy_context()

    def enter() -> None:
        block.__enter__()
        found.append(current())

    contextvars.copy_context().run(enter)
    running.run(enter)
    contextvars.copy_context().run(block.__exit__, None, None, None)
    between = [each.is_done for each in found], running.run(name)
    running.run(block.__exit__, None, None, None)

    assert ([False, False], "shared") == between
    assert (True, "") == (found[1].is_done, running.run(name))


def test_units_of_a_shared_block_end_when_the_last_is_left_in_another_context() -> None:
    """It is not known which unit was left; when all were, all have ended."""
    block, found = unit("shared"), list[Unit]()

    def enter() -> None:
        block.__enter__()
        found.append(current())

    for _ in range(2):
        contextvars.copy_context().run(enter)
    for _ in range(2):
        contextvars.copy_context().run(block.__exit__, None, None, None)

    assert [True, True] == [each.is_done for each in found]


def test_units_of_a_shared_block_end_when_the_last_is_left_in_its_own_context() -> None:
    """One that was left in another context before ends then, too."""
    block, found = unit("shared"), list[Unit]()

    def enter() -> None:
        block.__enter__()
        found.append(current())

    contextvars.copy_context().run(enter)
    with block:
        found.append(current())
        contextvars.copy_context().run(block.__exit__, None, None, None)

    assert ([True, True], "") == ([each.is_done for each in found], name())


def test_unit_around_a_generator_that_is_dropped_elsewhere() -> None:
    """A generator with a unit that another thread closes ends neither the unit around it nor hides it at the end."""

    def steps() -> Iterator[None]:
        with unit("inner"):
            yield

    kept: list[Iterator[None]] = []

    def drop() -> None:
        kept.clear()
        gc.collect()

    with unit("outer"):
        outer = current()
        kept.append(steps())
        next(kept[0])
        inner = current()
        thread = threading.Thread(target=drop)
        thread.start()
        thread.join()
        inside = inner.is_done, outer.is_done, inner.outer is outer

    assert (True, False, True) == inside
    assert (True, "") == (outer.is_done, name())


def test_asynchronous_generator_that_is_dropped() -> None:
    """The loop closes it in another context: the unit around it ends where it is left, and is found until then."""

    async def steps() -> AsyncIterator[None]:
        with unit("inner"):
            yield
            yield

    async def main() -> tuple[bool, str]:
        with unit("outer"):
            inner, outer = current(), ref(current())
            async for _ in steps():
                inner = current()
                break
            gc.collect()
            for _ in range(10):  # In fewer steps, the loop has closed the generator.
                await asyncio.sleep(0)
            is_found = inner.is_done and outer() is not None
        return is_found, name()

    assert (True, "") == asyncio.run(main())


def test_unit_that_is_never_left_is_freed_with_its_context() -> None:
    """Neither the unit nor the values of its context stay."""

    def enter() -> ref[Unit]:
        unit("never").__enter__()
        return ref(current())

    found = contextvars.copy_context().run(enter)
    gc.collect()

    assert (None, "") == (found(), name())


def test_unit_that_is_entered_in_one_task_and_left_in_another() -> None:
    """It ends, and neither task gets an exception; the unit around both is current in the other task."""
    block = unit("shared")

    async def main() -> tuple[bool, str]:
        async def enter() -> Unit:
            block.__enter__()
            return current()

        async def leave_it() -> str:
            block.__exit__(None, None, None)
            return name()

        with unit("outer"):
            entered = await asyncio.create_task(enter())
            left = await asyncio.create_task(leave_it())
            return entered.is_done, left

    assert (True, "outer") == asyncio.run(main())


def test_exception_while_a_further_context_is_entered() -> None:
    """Where a later `with` item, or a stack of them, fails to enter, the unit is left."""

    class Broken(contextlib.nullcontext[None]):
        def __enter__(self) -> None:
            raise LookupError

    def enter() -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(unit("stacked"))
            found.append(current())
            stack.enter_context(Broken())

    found = list[Unit]()
    with pytest.raises(LookupError):
        enter()
    with pytest.raises(LookupError), unit("chained"), Broken():
        pass

    assert (True, "") == (found[0].is_done, name())


def test_shared_block_keeps_no_unit_that_is_left_in_another_context() -> None:
    """Units that nothing uses any more are freed, although the block is never left by all."""
    block = unit("shared")
    block.__enter__()
    for _ in range(3):
        contextvars.copy_context().run(block.__enter__)
        contextvars.copy_context().run(block.__exit__, None, None, None)
    gc.collect()
    kept = [each for each in gc.get_objects() if isinstance(each, Unit) and each.final_name == "shared"]
    block.__exit__(None, None, None)

    assert 1 == len(kept)


def test_block_is_left_inside_a_unit_that_is_not() -> None:
    """A unit that is left before the one inside it ends, and the one around both is current again."""
    outer, block, inner = unit("outer"), unit("block"), unit("inner")
    with outer:
        block.__enter__()
        found = current()
        inner.__enter__()
        block.__exit__(None, None, None)
        after = name()

    assert (True, "outer") == (found.is_done, after)


def test_block_that_was_not_entered_is_not_left() -> None:
    """The error says what is wrong."""
    with pytest.raises(RuntimeError, match=r"left more often than it was entered: use it in `with`"):
        unit("job").__exit__(None, None, None)


def wrapped(function: Callable[..., object]) -> Callable[..., object]:
    """Return a synchronous function around any kind of function, as a decorator that logs does."""

    @functools.wraps(function)
    def call(*args: object) -> object:
        return function(*args)

    return call


Result: TypeAlias = tuple[Unit, bool]


class Job:
    """An object whose call is a coroutine function, and one of a task of its own."""

    async def __call__(self) -> Result:
        """Return the unit, and whether it is of the running task."""
        await asyncio.sleep(0)
        return current(), current().task() is asyncio.current_task()


@pytest.mark.parametrize("job", [Job(), wrapped(Job().__call__), functools.partial(Job())])
def test_coroutine_that_a_function_returns_is_in_the_unit(
    job: "Callable[[], types.CoroutineType[None, None, Result]]",
) -> None:
    """The unit lasts until the coroutine returns, and is of the task that runs it; the coroutine keeps its name."""
    ended = list[bool]()

    async def main() -> tuple[str, Result]:
        coroutine = unit("job")(job)()
        with unit("caller"):
            result = await asyncio.create_task(coroutine)
        ended.append(name() == "")
        return coroutine.__qualname__, result

    qualname, (found, is_of_task) = asyncio.run(main())

    assert ("Job.__call__", "job", True) == (qualname, found.name, is_of_task)
    assert (True, [True]) == (found.is_done, ended)


def test_generator_that_a_function_returns_is_in_the_unit() -> None:
    """As of a generator function: its consumer is not in the unit."""
    log: list[str] = []
    with unit("consumer"):
        seen = [(row, name()) for row in unit("job")(wrapped(plain_rows))(log)]  # type: ignore[attr-defined]  # rows

    assert [("job", "consumer")] * 2 == seen
    assert ["job"] == log


def plain_rows(log: list[str]) -> Iterator[str]:
    """Yield the unit's name twice, and log it at the end."""
    yield name()
    yield name()
    log.append(name())


def test_asynchronous_generator_that_a_function_returns_is_in_the_unit() -> None:
    """As of an asynchronous generator function."""

    async def stream() -> AsyncIterator[str]:
        yield name()
        await asyncio.sleep(0)
        yield name()

    async def main() -> list[tuple[str, str]]:
        return [(row, name()) async for row in unit("job")(wrapped(stream))()]  # type: ignore[attr-defined]  # rows

    assert [("job", "")] * 2 == asyncio.run(main())


@types.coroutine
def awaited() -> Iterator[None]:
    """Return a generator that can be awaited."""
    yield


def test_result_that_has_begun_or_is_something_else_is_returned_as_it_is() -> None:
    """Only new coroutines and generators are wrapped: the application gets all else itself."""
    begun, coroutine, other = plain_rows([]), awaited(), object()
    next(begun)

    assert [True, True, True] == [
        unit("job")(wrapped(lambda each=each: each))() is each for each in (begun, coroutine, other)
    ]
    assert "" == name()


def test_task_that_is_cancelled_before_its_start_gives_no_warning() -> None:
    """A coroutine that a cancelled task has closed is not one that was never awaited."""

    async def main() -> None:
        task = asyncio.ensure_future(unit("job")(wrapped(Job()))())  # type: ignore[call-overload]  # a coroutine
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()

    assert [] == caught


def test_coroutine_that_is_never_awaited_gives_one_warning() -> None:
    """Python warns as it does without the decorator."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        unit("job")(wrapped(Job()))()
        gc.collect()

    assert ["coroutine 'Job.__call__' was never awaited"] == [str(each.message).partition("\n")[0] for each in caught]


def test_exception_of_a_function_passes() -> None:
    """A function that raises ends its unit."""
    found = list[Unit]()

    @unit("job")
    def job() -> None:
        found.append(current())
        raise LookupError

    with pytest.raises(LookupError):
        job()

    assert (True, "") == (found[0].is_done, name())


class Request:
    """A request of the application."""


variable: contextvars.ContextVar[Request] = contextvars.ContextVar("variable")


def test_unit_that_has_ended_keeps_no_context() -> None:
    """A connection that is never returned keeps its unit, but nothing of the request's context."""
    found, value = list[Unit](), Request()
    kept = ref(value)

    def request(value: Request) -> None:
        variable.set(value)
        with unit("request"):
            found.append(current())

    contextvars.copy_context().run(request, value)
    del value
    gc.collect()

    assert (True, None) == (found[0].is_done, kept())


def test_block_is_left_while_another_thread_uses_the_token() -> None:
    """Leaving it for all raises nothing, and the unit has ended."""
    block, context = unit("shared"), contextvars.copy_context()

    def enter_and_use_the_token() -> Unit:
        block.__enter__()
        entered = current()
        current_unit.reset(entered.token)  # type: ignore[attr-defined]  # a unit of a block has it
        return entered

    entered = context.run(enter_and_use_the_token)
    contextvars.copy_context().run(block.__exit__, None, None, None)

    assert entered.is_done
