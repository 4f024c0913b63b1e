"""Compiled and as Python, the same calls have the same results, and leave the same bytes and nothing else."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import QueuePool

from pool_exporter import instrument, is_compiled
from pool_exporter.environment import PURE
from pool_exporter.state.pool_state import PoolState
from tests.compiled import calls
from tests.pools import Database

PAIRS = 3_000
only_compiled = pytest.mark.skipif(not is_compiled, reason="this installation has no compiled modules: `make compiled`")


def said(seed: int, is_pure: str) -> list[str]:
    """Return the lines of `tests.compiled.calls` in a process of its own."""
    command = [sys.executable, "-m", "tests.compiled.calls", str(seed)]
    environ = {**os.environ, PURE: is_pure, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.splitlines()


@only_compiled
@pytest.mark.parametrize("seed", range(6))
def test_same_bytes(seed: int) -> None:
    """After each of 3,000 random calls on a fake clock, the result and every byte of the mapped slots are the same."""
    python, compiled = said(seed, "1"), said(seed, "0")

    assert calls.CALLS == len(python)
    assert python == compiled


def test_calls_do_something() -> None:
    """The calls that are compared change the slots, and reach every method."""
    found = [line.split() for line in calls.lines(1)]

    assert {method.__name__ for method in calls.METHODS} == {name for name, *_ in found}
    assert len({checksum for *_, checksum in found}) > calls.CALLS / 2


def grown(work: Callable[[], object]) -> int:
    """Return by how many blocks of memory a process grows while *work* is done often."""
    for _ in range(PAIRS // 10):
        work()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(PAIRS):
        work()
    gc.collect()
    return sys.getallocatedblocks() - before


def test_nothing_leaks() -> None:
    """A checkout and its return leave no block of memory."""
    engine = Database().engine()
    monitor = instrument(engine)

    found = grown(lambda: engine.pool.connect().close())
    monitor.close()
    engine.dispose()

    assert found < PAIRS / 10


def test_failures_leak_nothing() -> None:
    """Nor does an acquire that fails, after which an error was handled in the patched method."""

    def refuse() -> None:
        raise ValueError("refused")

    engine = create_engine("sqlite://", creator=refuse, poolclass=QueuePool)
    monitor = instrument(engine)

    def fail() -> None:
        with pytest.raises(ValueError, match="refused"):
            engine.pool.connect()

    found = grown(fail)
    monitor.close()

    assert found < PAIRS / 10


@only_compiled
@pytest.mark.parametrize("length", [0, 1, 10_000])
def test_wrong_slots_are_refused(length: int) -> None:
    """Compiled code writes to memory: a pool never gets more or fewer slots than it has indices."""
    with pytest.raises(ValueError, match="slots, not"):
        PoolState(lambda: 1, slots=[0] * length)
