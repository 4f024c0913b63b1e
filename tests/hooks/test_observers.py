"""Under a profiler or a debugger, checkouts are counted, and their places found, as without."""

import cProfile
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

import pytest

from pool_exporter import instrument
from pool_exporter.hook_errors import errors
from tests.pools import Database, checked, measured


@contextmanager
def profiled() -> Iterator[None]:
    """Follow calls, as profilers do."""
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, argument: None)
    try:
        yield
    finally:
        sys.setprofile(before)


@contextmanager
def traced() -> Iterator[None]:
    """Follow lines, as debuggers do."""

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def timed() -> Iterator[None]:
    """Measure functions by Python's own profiler."""
    with cProfile.Profile():
        yield


@pytest.mark.parametrize("observe", [profiled, traced, timed])
def test_observed_checkouts_are_counted(observe: Callable[[], AbstractContextManager[None]]) -> None:
    """The numbers and the place are those of the application, and no error of a hook is counted."""
    engine = Database().engine()
    monitor, before = instrument(engine), errors.count
    with observe():
        for _ in range(10):
            engine.connect().close()
        held = engine.connect()
    (connection,) = measured(monitor)._state.live_connections()
    place, snapshot = str(connection.place), checked(monitor)
    held.close()

    assert (11, 1, before) == (snapshot.checkouts, snapshot.used, errors.count)
    assert "test_observed_checkouts_are_counted" in place
