"""`python -m tests.bench.instructions`: the instructions of a checkout and its return, counted by valgrind's callgrind.

They are exact on a busy machine, where times are not. Each number is the difference of two runs with different numbers
of pairs, so that imports and the first pairs do not count. Nothing else may be measured here.
"""

import asyncio
import gc
import os
import re
import subprocess
import sys
from itertools import repeat
from typing import Final

import sqlalchemy
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool, QueuePool
from sqlalchemy.util import greenlet_spawn

import pool_exporter

PAIRS: Final = (200, 1_200)
WARM_UP: Final = 60
MODES: Final = {"bare": "without pool_exporter", "always": "with places", "off": "POOL_EXPORTER_PLACES=off"}
KINDS: Final = {"sync": "QueuePool", "async": "AsyncAdaptedQueuePool, in a task"}


def main() -> int:
    """Print the table; with a mode, a kind and a number as arguments, run so many pairs and exit."""
    if len(sys.argv) > 1:
        _run(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    print(f"CPython {sys.version.split()[0]}, SQLAlchemy {sqlalchemy.__version__}")
    for kind, name in KINDS.items():
        counts = {mode: _instructions(mode, kind) for mode in MODES}
        for mode, count in counts.items():
            print(f"{name:32} {MODES[mode]:26} {count:8,} {count / counts['bare']:.2f}x")
    return 0


def _instructions(mode: str, kind: str) -> int:
    """Return the instructions of one pair."""
    few, many = (_counted(mode, kind, pairs) for pairs in PAIRS)
    return (many - few) // (PAIRS[1] - PAIRS[0])


def _counted(mode: str, kind: str, pairs: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-m", __spec__.name]
    environ = {**os.environ, "PYTHONHASHSEED": "0", "POOL_EXPORTER_PLACES": "always" if mode == "bare" else mode}
    done = subprocess.run([*command, mode, kind, str(pairs)], env=environ, capture_output=True, text=True, check=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1])


def _run(mode: str, kind: str, pairs: int) -> None:
    is_async = kind == "async"
    engine = (
        create_async_engine(
            "sqlite+aiosqlite://", poolclass=AsyncAdaptedQueuePool, pool_reset_on_return=None
        ).sync_engine
        if is_async
        else create_engine("sqlite://", poolclass=QueuePool)
    )
    if mode != "bare":
        pool_exporter.instrument(engine)
    gc.collect()
    gc.disable()
    if is_async:
        asyncio.run(greenlet_spawn(_pairs, engine.pool, WARM_UP + pairs))
    else:
        _pairs(engine.pool, WARM_UP + pairs)
    os._exit(0)  # What ends the interpreter would count.


def _pairs(pool: Pool, number: int) -> None:
    for _ in repeat(None, number):
        pool.connect().close()


if __name__ == "__main__":
    sys.exit(main())
