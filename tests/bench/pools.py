"""Many cheap engines, to measure a process with a thousand pools. Nothing may be measured here."""

import sqlite3
from functools import cache

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import QueuePool


@cache
def database() -> sqlite3.Connection:
    """Return the one connection of all pools: so SQLite's own memory, 100 KiB for each, is not measured."""
    return sqlite3.connect(":memory:", check_same_thread=False)


def engine() -> Engine:
    """Return an engine with SQLAlchemy's default pool: five connections and ten over."""
    return create_engine("sqlite://", poolclass=QueuePool, creator=database)


def use(engine: Engine, connections: int) -> None:
    """Check so many connections out at once, and in again."""
    for held in [engine.raw_connection() for _ in range(connections)]:
        held.close()
