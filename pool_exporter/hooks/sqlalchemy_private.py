"""SQLAlchemy's connection records: what hooks.py has to read from them that no public name gives.

Everything here was checked against SQLAlchemy 2.0 and 2.1, and tests run it on both. Nothing here may change a record
or a pool, or know the state machine.
"""

import gc
import sys
import time
from contextlib import suppress
from types import CodeType, FrameType, TracebackType
from typing import Any, Final

from sqlalchemy import exc
from sqlalchemy.engine import Engine
from sqlalchemy.pool import AssertionPool, ConnectionPoolEntry, Pool, QueuePool
from sqlalchemy.pool.base import _ConnectionRecord

from pool_exporter.state.pool_slots import UNLIMITED

_OPENS: Final = _ConnectionRecord._ConnectionRecord__connect.__code__  # type: ignore[attr-defined]  # name-mangled
_INVALIDATES: Final = _ConnectionRecord.invalidate.__code__
_GETS: Final = _ConnectionRecord.get_connection.__code__
_SEARCH_DEPTH: Final = 16

_CLOSERS: Final = {
    "_do_return_conn": "overflow",
    "_cleanup": "overflow",
    "dispose": "dispose",
}
"""Methods of a pool, whichever class overrides them, from which a record is closed, and the reason of each."""


def pool_of(record: ConnectionPoolEntry) -> Pool:
    """Return the pool that the record belongs to."""
    return record._ConnectionRecord__pool  # type: ignore[attr-defined,no-any-return]  # name-mangled


def open_records(pool: Pool) -> list[ConnectionPoolEntry]:
    """Find the records of *pool* that hold an open connection.

    Only the garbage collector knows the used ones. It is asked who refers to the pool, never for all objects: a list of
    those would hold other threads' half-built tuples, which fail when they are then resized.
    """
    if isinstance(pool, QueuePool) and pool.checkedin() == 0 and pool.checkedout() == 0:
        return []
    records = [entry for entry in gc.get_referrers(pool) if type(entry) is _ConnectionRecord]
    return [record for record in records if pool_of(record) is pool and record.dbapi_connection is not None]


def engine_behind(engine: Engine) -> Engine:
    """Return the engine that owns the pool: `execution_options()` makes copies that pass everything on to it."""
    while hasattr(engine, "_proxied"):
        engine = engine._proxied
    return engine


def server_pid_of(record: Any) -> int:
    """Return the number by which the server knows the record's connection, where its driver tells without asking; or 0.

    PostgreSQL's is the backend's process id (asyncpg, psycopg, psycopg2), MySQL's the thread id (aiomysql, asyncmy,
    PyMySQL, mysqlclient).
    """
    driver = record.driver_connection
    with suppress(Exception):
        if hasattr(driver, "get_server_pid"):
            return int(driver.get_server_pid())
        return int(driver.thread_id() if hasattr(driver, "thread_id") else driver.info.backend_pid)
    return 0


def limit_of(pool: Pool) -> int:
    """Return how many connections the pool gives out at once before a caller has to wait or fails."""
    if isinstance(pool, QueuePool):
        return pool.size() + pool._max_overflow if pool.size() and pool._max_overflow >= 0 else UNLIMITED
    return 1 if isinstance(pool, AssertionPool) else UNLIMITED


def close_reason(record: ConnectionPoolEntry, mark: str) -> str:
    """Tell why the record is being closed, from inside its `close` event; *mark* is what an invalidation said.

    Who closes it is on the stack: a connection over the limit is closed by its return, an outdated one by its next
    checkout. The event's arguments and the record's times are the same in both cases.
    """
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_SEARCH_DEPTH):
        if frame is None:
            break
        if frame.f_code is _INVALIDATES:
            return mark or "invalidate"
        if frame.f_code is _GETS:
            return _outdated(record)
        if frame.f_code.co_name in _CLOSERS and frame.f_locals.get("self") is pool_of(record):
            return _CLOSERS[frame.f_code.co_name]
        frame = frame.f_back
    return "discarded"


def _outdated(record: Any) -> str:
    """Tell which of the tests of `get_connection` the record failed, asked in the same order."""
    pool: Any = pool_of(record)
    if pool._recycle > -1 and time.time() - record.starttime > pool._recycle:
        return "recycle"
    return "pool_invalidate" if pool._invalidate_time > record.starttime else "soft_invalidate"


def failure_type(error: BaseException) -> str:
    """Tell what stopped a caller of `Pool.connect`, as one of `catalog.ERROR_TYPES`."""
    if isinstance(error, exc.TimeoutError):
        return "timeout"
    if not isinstance(error, Exception):
        return "cancelled"
    return "connect" if _raised_in(error.__traceback__, _OPENS) else "other"


def _raised_in(traceback: TracebackType | None, code: CodeType) -> bool:
    while traceback is not None:
        if traceback.tb_frame.f_code is code:
            return True
        traceback = traceback.tb_next
    return False
