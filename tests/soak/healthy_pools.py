"""The pools of the healthy service, and the requests that are made to it."""

from typing import Final

ASYNC_POOL: Final = "healthy"
SYNC_POOL: Final = "healthy threads"
ASYNC_LIMIT: Final = 10
SYNC_LIMIT: Final = 5

PATHS: Final = (*("/stream",) * 4, *("/limited", "/opened") * 2, "/limited", *("/thread",) * 4)
"""What each caller asks for, again and again. Beside nine callers of the asynchronous pool, its listener and its batch
hold a connection each: eleven for a pool of ten, so that a caller waits now and then, for a short time.
"""
