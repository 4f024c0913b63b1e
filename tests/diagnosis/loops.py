"""Runs a coroutine on each event loop, and looks at its tasks from inside the loop or from another thread."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from importlib.util import find_spec
from typing import TypeVar

import pytest

from pool_exporter.diagnosis.frames import Frames
from pool_exporter.diagnosis.locate import Stacks, Standing
from tests.fixtures.programs import missing

T = TypeVar("T")
Look = Callable[[object], Awaitable[Standing]]

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"], indirect=True)
FROM = pytest.mark.parametrize("look", ["inside", "thread"], indirect=True)


def require(loop: str) -> None:
    """Skip the test where its kind of event loop is not installed."""
    if loop == "uvloop" and find_spec("uvloop") is None:
        missing("uvloop is not installed")


def run(loop: str, main: Coroutine[object, object, T]) -> T:
    """Run *main* on an event loop of asyncio or uvloop."""
    if loop == "asyncio":
        return asyncio.run(main)
    import uvloop

    return uvloop.run(main)


def look_at(owner: object) -> Standing:
    """Return what *owner* does, by a report of its own."""
    with Stacks() as stacks:
        return stacks.of(owner)


async def look_inside(owner: object) -> Standing:
    """Return what *owner* does, seen from its event loop."""
    return look_at(owner)


async def look_from_thread(owner: object) -> Standing:
    """Return what *owner* does, seen from another thread."""
    return await asyncio.to_thread(look_at, owner)


def names(frames: Frames) -> list[str]:
    """Return the names of the functions, innermost first."""
    return [code.co_name for code, _ in frames]
