"""Near the recursion limit every acquire that has begun ends, at whichever depth a call fails."""

import gc
import inspect
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from pool_exporter import Monitor, instrument
from pool_exporter.hook_errors import errors
from pool_exporter.state.layout import TRACKED_MAX
from tests.pools import Database, measured


@pytest.fixture(name="_quiet")
def _quiet() -> Iterator[None]:
    before = errors.count
    errors.count = 1  # The first one would be logged.
    yield
    errors.count = before


def acquire_at_each_depth(engine: Engine) -> int:
    """Acquire a connection with ever less of the stack left; return how often that failed."""
    limit, room, failed = sys.getrecursionlimit(), len(inspect.stack(0)) + 100, 0

    def at(depth: int) -> None:
        if depth:
            at(depth - 1)
        else:
            engine.raw_connection().close()

    for depth in range(50, 100):
        sys.setrecursionlimit(room)
        try:
            at(depth)
        except RecursionError:
            failed += 1
        finally:
            sys.setrecursionlimit(limit)
    return failed


def numbers(monitor: Monitor) -> tuple[int, int, int]:
    """Return the pending callers, as they are counted and as a snapshot has them, and the used connections."""
    gc.collect()
    return measured(monitor)._state.pending, measured(monitor).snapshot().pending, measured(monitor).snapshot().used


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("tracked", [0, TRACKED_MAX], ids=["tracked", "untracked"])
def test_no_caller_stays_pending(tracked: int) -> None:
    """Whatever fails, in SQLAlchemy's part or in the hooks', no caller stays pending, and no other is lost."""
    engine = Database().engine()
    monitor = instrument(engine)
    engine.connect().close()
    others = [measured(monitor)._state.acquire_started() for _ in range(tracked)]

    assert acquire_at_each_depth(engine) > 5
    assert (tracked, tracked, 0) == numbers(monitor)

    for token in others:
        measured(monitor)._state.acquire_abandoned(token)

    assert (0, 0, 0) == numbers(monitor)
