"""The work of which the instructions are counted: `python -m tests.bench.counted KIND LAYOUTS [URL]`, under callgrind.

A kind is a checkout and its return by SQLite, with a driver that costs next to nothing, or a request on a real
PostgreSQL, of 8 callers at once. Nothing may be imported here that the kinds do not need: imports are slow under
callgrind.
"""

import asyncio
import json
import os
import selectors
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from itertools import repeat
from typing import TYPE_CHECKING, Final

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool, QueuePool
from sqlalchemy.util import greenlet_spawn
from typing_extensions import override

from tests.bench.callgrind import mark
from tests.bench.layouts import count_in_children

if TYPE_CHECKING:
    from pool_exporter import Monitor

PAIRS: Final = 100
"""In a sample, and before it: caches fill, and Python specializes the code."""
CALLERS: Final = 8
REQUESTS: Final = 6
"""Of each caller, in a sample, and before it."""
BARE: Final = ("bare", "again")
"""The modes without the package. The second one shows how much two counts of the same thing differ."""
ONCE: Final = "once"
"""The mode of the parent: callgrind translates what runs here once, instead of in each child. Nothing is counted."""
SLOWNESS: Final = 50
"""How many times as long anything takes under callgrind, about."""
ANSWER_SECONDS: Final = 0.005
"""In this time the server has answered all callers."""

Request = Callable[[AsyncEngine], Awaitable[object]]


def main() -> None:
    """Count the work of the arguments, and leave without the interpreter's end."""
    kind, layouts, *url = sys.argv[1:]
    work = WORK[kind](*url)
    with suppress(Exception):  # A child says why: there it fails again.
        import pool_exporter

        _ = pool_exporter.instrument  # This imports what it needs: the modules are at the same addresses in all modes.
    work(ONCE)
    count_in_children(work, json.loads(layouts))
    os._exit(0)


def _prepare(engine: Engine | AsyncEngine, mode: str) -> "Monitor | None":
    if mode in (*BARE, ONCE):
        return None
    import pool_exporter
    from pool_exporter.state import layout, pool_state

    os.environ["POOL_EXPORTER_PLACES"] = "off" if mode == "off" else "always"
    if mode == "file":
        os.environ["POOL_EXPORTER_DIR"] = tempfile.mkdtemp()
    monitor = pool_exporter.instrument(engine)
    # Every five seconds a checkout notes the totals, in 55,000 instructions: under callgrind that is each fiftieth
    # one, and more often on a busy machine, instead of each some thousandth.
    monitor._state.window_end = 1 << 62  # type: ignore[attr-defined]  # it is that of a pool that is measured
    # At the program's own speed each wait, and each use of a pair, ends before the histogram's first bound: under
    # callgrind it would be after it, where a bucket is looked for. Compiled code finds that in a few instructions.
    vars(pool_state)["FIRST_NS"] = layout.FIRST_NS * SLOWNESS
    return monitor


def _sync_pairs() -> Callable[[str], None]:
    def work(mode: str) -> None:
        engine = create_engine("sqlite://", poolclass=QueuePool)
        _sample_pairs(engine.pool, _prepare(engine, mode), mode)

    return work


def _async_pairs() -> Callable[[str], None]:
    async def work(mode: str) -> None:
        engine = create_async_engine("sqlite+aiosqlite://", poolclass=AsyncAdaptedQueuePool, pool_reset_on_return=None)
        await greenlet_spawn(_sample_pairs, engine.pool, _prepare(engine, mode), mode)
        if mode == ONCE:
            await engine.dispose()

    return lambda mode: _run(work(mode))


def _sample_pairs(pool: Pool, monitor: "Monitor | None", mode: str) -> None:
    if mode == ONCE:
        _pairs(pool, 2)
        return
    if mode == "file":
        _wait_for_file(pool, monitor)
    _pairs(pool, PAIRS)
    mark()
    _pairs(pool, PAIRS)
    mark()


def _pairs(pool: Pool, count: int) -> None:
    for _ in repeat(None, count):
        pool.connect().close()


def _wait_for_file(pool: Pool, monitor: "Monitor | None") -> None:
    """Check out until the pool counts in the file, which another thread creates."""
    from pool_exporter.runtime.registry import registry

    while not registry.storage.has(monitor.slots):  # type: ignore[union-attr]  # it is that of a pool that is measured
        _pairs(pool, 1)
        time.sleep(0.01)


class _PatientSelector(selectors.DefaultSelector):
    """Looks for answers when all of them have come: how many come at once would else depend on the server's speed."""

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout != 0:
            time.sleep(ANSWER_SECONDS)
        return super().select(timeout)


def _run(work: Coroutine[object, object, None]) -> None:
    loop = asyncio.SelectorEventLoop(_PatientSelector())
    loop.run_until_complete(work)
    loop.close()


def _requests(url: str, request: Request) -> Callable[[str], None]:
    async def work(mode: str) -> None:
        engine = create_async_engine(url, pool_size=CALLERS)
        _prepare(engine, mode)
        if mode == ONCE:
            await _caller(request, engine, 2)
            await engine.dispose()
            return
        await _callers(request, engine)
        mark()
        await _callers(request, engine)
        mark()

    return lambda mode: _run(work(mode))


async def _callers(request: Request, engine: AsyncEngine) -> None:
    await asyncio.gather(*(_caller(request, engine, REQUESTS) for _ in range(CALLERS)))


async def _caller(request: Request, engine: AsyncEngine, count: int) -> None:
    for _ in range(count):
        await request(engine)


def _core() -> Request:
    statement = text("SELECT 1")

    async def request(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            await connection.execute(statement)

    return request


def _orm() -> Request:
    from sqlalchemy import select
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    class Base(DeclarativeBase):
        pass

    class Item(Base):  # `tests.bench.instructions` makes the table.
        __tablename__ = "item"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    async def request(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            (await session.execute(select(Item).where(Item.id == 1))).scalar_one()
            await session.commit()

    return request


WORK: Final[dict[str, Callable[..., Callable[[str], None]]]] = {
    "sync": _sync_pairs,
    "async": _async_pairs,
    "core": lambda url: _requests(url, _core()),
    "orm": lambda url: _requests(url, _orm()),
}


if __name__ == "__main__":
    main()
