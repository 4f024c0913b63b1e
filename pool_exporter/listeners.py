"""Adding and removing listeners of SQLAlchemy's events while other threads run through them.

SQLAlchemy changes an event's deque of listeners in place, so that a thread which is running through it gets a
RuntimeError, "deque mutated during iteration": in the middle of the application's connect(), because somebody else
called instrument() or close(). Here a copy is changed instead. Nothing here may know what the listeners do.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import event, exc
from sqlalchemy.pool import Pool

Listener = Callable[..., None]


def listen(pool: Pool, name: str, listener: Listener) -> None:
    """Add *listener* to the pool's event *name*."""
    with _steady([pool], name):
        # With the default, an asynchronous pool's first connection would have to be made inside SQLAlchemy's greenlet.
        event.listen(pool, name, listener, asyncio=False)


def unlisten(first: Pool | None, pools: list[Pool], name: str, listener: Listener) -> None:
    """Remove *listener* from *pools*; *first* is the one that it was added to, or None when that is gone."""
    with _steady(pools, name) as collections:
        if first is not None:
            with suppress(exc.InvalidRequestError):
                event.remove(first, name, listener)
        for collection in collections:
            with suppress(ValueError):
                collection.listeners.remove(listener)


class _SteadyDeque(deque[Any]):
    """Listeners that may change while they are run through: each run keeps those that it began with."""

    def __iter__(self) -> Iterator[Any]:
        while True:
            with suppress(RuntimeError):  # It changed just now.
                return iter(tuple(super().__iter__()))


@contextmanager
def _steady(pools: list[Pool], name: str) -> Iterator[list[Any]]:
    """Let the listeners of the event *name* change inside; runs that began before go through a deque of their own."""
    found = [getattr(pool.dispatch, name) for pool in pools]
    # An event that nobody has ever listened to has no deque; it gets one in a single store.
    collections = [collection for collection in found if isinstance(collection.listeners, deque)]
    for collection in collections:
        collection.listeners = _SteadyDeque(collection.listeners)
    try:
        yield collections
    finally:
        for collection in collections:
            collection.listeners = deque(collection.listeners)
