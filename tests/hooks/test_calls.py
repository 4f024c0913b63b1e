"""How many functions of the package a checkout and a return call, as docs/explanation/overhead.md says."""

import gc
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

import pool_exporter
from pool_exporter.hooks.callers.place import recorder

PAGE: Final = " ".join((Path(__file__).parents[2] / "docs" / "explanation" / "overhead.md").read_text().split())
NUMBERS: Final = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
WARM: Final = 5
"""After so many checkouts, each depth of the stack is known."""

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11) or getattr(pool_exporter, "is_compiled", False),
    reason="the page has the numbers of Python code without a lock",
)


class Closable(Protocol):
    """What was checked out."""

    def close(self) -> None:
        """Return it."""


def said(pattern: str) -> int:
    """Return the number that the page has in the place of the group."""
    (found,) = re.findall(pattern, PAGE)
    return NUMBERS[found]


@contextmanager
def counted(calls: list[str]) -> Iterator[None]:
    """Note each function of the package that this thread calls in the block."""

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and "/pool_exporter/" in frame.f_code.co_filename:
            calls.append(frame.f_code.co_name)

    gc.disable()  # Else a callback of a weak reference might run in the block.
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        gc.enable()


def checkout_and_return(check_out: Callable[[], Closable]) -> tuple[int, int]:
    """Return how many functions a checkout calls, and its return."""
    for _ in range(WARM):
        check_out().close()
    taken: list[str] = []
    returned: list[str] = []
    with counted(taken):
        connection = check_out()
    with counted(returned):
        connection.close()
    return len(taken), len(returned)


@pytest.fixture(autouse=True)
def _stacks_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the depths of the stack that other tests have taught: each is looked at before the right one is found."""
    monkeypatch.setattr(recorder, "_depths", [])


@pytest.fixture(name="engine")
def _engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=QueuePool)
    with pool_exporter.instrument(engine):
        yield engine
    engine.dispose()


def test_pool(engine: Engine) -> None:
    """By `pool.connect()`."""
    expected = said(r"`pool\.connect\(\)` calls (\w+) Python functions"), said(r"A return calls (\w+) functions")

    assert expected == checkout_and_return(engine.pool.connect)


def test_engine_and_session(engine: Engine) -> None:
    """Through an engine, and through a session."""

    def session() -> Session:
        made = Session(engine)
        made.connection()
        return made

    more = said(r"An engine or a session adds (\w+)")
    bare, _ = checkout_and_return(engine.pool.connect)

    assert [more, more] == [checkout_and_return(each)[0] - bare for each in (engine.connect, session)]


def test_unit(engine: Engine) -> None:
    """Within a unit of work."""
    bare, _ = checkout_and_return(engine.pool.connect)
    with pool_exporter.unit("nightly"):
        taken, returned = checkout_and_return(engine.pool.connect)

    assert said(r"and a unit of work (\w+)\.") == taken - bare
    assert said(r"within a unit of work, (\w+)") == returned


@pytest.mark.asyncio
async def test_asynchronous_engine(engine: Engine) -> None:
    """Through an asynchronous engine, in a task."""
    bare, _ = checkout_and_return(engine.pool.connect)
    asynchronous = create_async_engine("sqlite+aiosqlite://")
    calls: list[str] = []
    with pool_exporter.instrument(asynchronous):
        for _ in range(WARM):
            async with asynchronous.connect():
                pass
        with counted(calls):
            connection = await asynchronous.connect()
        await connection.close()
    await asynchronous.dispose()

    assert said(r"an asynchronous engine (\w+),") == len(calls) - bare
