"""`@unit()` over generators."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable, Generator
from weakref import ref

import pytest

from pool_exporter import unit


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
