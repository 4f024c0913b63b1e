"""The work of which the instructions are counted: `python -m tests.bench.counted KIND MODE [URL]`, run under callgrind.

A kind is a checkout and its return by SQLite, with a driver that costs next to nothing, or a request on a real
PostgreSQL, of 8 callers at once. The garbage collector is off, because a collection may fall into one run and not into
another. Nothing may be imported here that the kinds do not need: imports are slow under callgrind.
"""

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable
from itertools import repeat
from typing import Final

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool, QueuePool
from sqlalchemy.util import greenlet_spawn

from tests.bench.callgrind import mark

SAMPLES: Final = 5
PAIRS: Final = 300
CALLERS: Final = 8
REQUESTS: Final = 20
"""Of each caller, in each sample. The sample before the first one is not counted: caches fill in it."""

Request = Callable[[AsyncEngine], Awaitable[object]]


def main() -> None:
    """Do the work of the arguments, and leave without the interpreter's end."""
    kind, mode, *url = sys.argv[1:]
    if url:
        engine, request = create_async_engine(url[0], pool_size=CALLERS), REQUEST[kind]()
        _prepare(engine, mode)
        asyncio.run(_requests(engine, request))
    else:
        PAIR[kind](mode)
    os._exit(0)


def _prepare(engine: Engine | AsyncEngine, mode: str) -> None:
    if mode != "bare":
        import pool_exporter

        monitor = pool_exporter.instrument(engine)
        # Every five seconds a checkout notes the totals, in 55,000 instructions: under callgrind that is each fiftieth
        # one, and more often on a busy machine, instead of each some thousandth.
        monitor._state.window_end = 1 << 62  # type: ignore[attr-defined]  # it is that of a pool that is measured
    gc.collect()
    gc.disable()


def _sync_pairs(mode: str) -> None:
    engine = create_engine("sqlite://", poolclass=QueuePool)
    _prepare(engine, mode)
    _pairs(engine.pool)


def _async_pairs(mode: str) -> None:
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=AsyncAdaptedQueuePool, pool_reset_on_return=None)
    _prepare(engine, mode)
    asyncio.run(greenlet_spawn(_pairs, engine.pool))


def _pairs(pool: Pool) -> None:
    for _ in range(1 + SAMPLES):
        for _ in repeat(None, PAIRS):
            pool.connect().close()
        mark()


async def _requests(engine: AsyncEngine, request: Request) -> None:
    for _ in range(1 + SAMPLES):
        await asyncio.gather(*(_caller(request, engine) for _ in range(CALLERS)))
        mark()


async def _caller(request: Request, engine: AsyncEngine) -> None:
    for _ in range(REQUESTS):
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


PAIR: Final[dict[str, Callable[[str], None]]] = {"sync": _sync_pairs, "async": _async_pairs}
REQUEST: Final[dict[str, Callable[[], Request]]] = {"core": _core, "orm": _orm}


if __name__ == "__main__":
    main()
