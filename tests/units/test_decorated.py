"""`@unit()` over generators, methods and coroutines that are based on generators."""

import asyncio
import functools
import gc
import types
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from weakref import ref

import pytest

from pool_exporter import unit
from pool_exporter.units import current_unit


def name() -> str:
    """Return the name of the current unit; "" without one."""
    current = current_unit.get()
    return "" if current is None else current.name


def test_unit_inside_a_generator_goes_on_with_it() -> None:
    """A block around a `yield` is the unit of each further step, and the generator's own unit comes after it."""

    @unit("export")
    def export() -> Iterator[str]:
        with unit("batch"):
            yield name()
            yield name()
        yield name()

    found = [(inside, name()) for inside in export()]

    assert [("batch", ""), ("batch", ""), ("export", "")] == found


def test_unit_inside_an_asynchronous_generator_goes_on_with_it() -> None:
    """As of a generator."""

    @unit("export")
    async def export() -> AsyncIterator[str]:
        async with unit("batch"):
            yield name()
            yield name()
        yield name()

    async def main() -> list[tuple[str, str]]:
        return [(inside, name()) async for inside in export()]

    assert [("batch", ""), ("batch", ""), ("export", "")] == asyncio.run(main())


class Value:
    """A value of the application."""


@unit("rows")
def kept_rows(value: Value) -> Generator[Value, None, None]:
    """Yield a value twice."""
    yield value
    yield value


@unit("rows")
async def kept_stream(value: Value) -> AsyncGenerator[Value, None]:
    """Yield a value twice, asynchronously."""
    yield value
    yield value


def close_rows(value: Value) -> None:
    """Close a generator that holds the value."""
    generator = kept_rows(value)
    next(generator)
    generator.close()


def close_stream(value: Value) -> None:
    """Close an asynchronous generator that holds the value."""

    async def main() -> None:
        generator = kept_stream(value)
        await generator.__anext__()
        await generator.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("close", [close_rows, close_stream])
def test_closed_generator_is_freed_without_a_collection(close: Callable[[Value], None]) -> None:
    """No reference cycle keeps what a generator held, such as a connection, until the garbage collector runs."""
    gc.collect()
    gc.disable()
    try:
        value = Value()
        kept = ref(value)
        close(value)
        del value

        assert None is kept()
    finally:
        gc.enable()


def test_loop_that_ends_closes_an_asynchronous_generator_once(caplog: pytest.LogCaptureFixture) -> None:
    """Its block is left as it would be without the decorator, and asyncio logs no error."""
    log = list[str]()

    @unit("rows")
    async def rows() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            log.append(name())

    generator = rows()

    async def main() -> None:
        await anext(generator)

    asyncio.run(main())

    assert (["rows"], []) == (log, caplog.messages)


def test_coroutine_based_on_a_generator() -> None:
    """What `types.coroutine` has made can still be awaited, and its own code runs in the unit."""

    @types.coroutine
    def job() -> Generator[None, None, str]:
        yield
        return name()

    async def main() -> tuple[str, str]:
        return await unit("job")(job)(), await unit("partial")(functools.partial(job))()

    assert ("job", "partial") == asyncio.run(main())


class Jobs:
    """A class with decorated methods that take no instance."""

    @unit("static")
    @staticmethod
    def static() -> str:
        """Return the name of the unit."""
        return name()

    @unit("class")
    @classmethod
    def of_class(cls) -> tuple[type["Jobs"], str]:
        """Return the class and the name of the unit."""
        return cls, name()


def test_static_and_class_methods() -> None:
    """The decorator may be above `@staticmethod` and `@classmethod`."""
    assert ("static", (Jobs, "class")) == (Jobs().static(), Jobs.of_class())
