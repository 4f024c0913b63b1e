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
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

Listener = Callable[..., None]


def listen(target: Engine | Pool, owner: Engine | Pool, name: str, listener: Listener) -> None:
    """Add *listener* to *target*; *owner* has the event's listeners: the engine, or its pool for an event of pools."""
    with _steady([owner], name):
        # With the default, an asynchronous pool's first connection would have to be made inside SQLAlchemy's greenlet.
        options = {"asyncio": False} if isinstance(owner, Pool) else {}
        event.listen(target, name, listener, **options)


def unlisten(target: Engine | Pool | None, owners: list[Any], name: str, listener: Listener) -> None:
    """Remove *listener* from *owners*; *target* is what it was added to, or None when that is gone."""
    with _steady(owners, name) as collections:
        if target is not None:
            with suppress(exc.InvalidRequestError):
                event.remove(target, name, listener)
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
def _steady(owners: list[Any], name: str) -> Iterator[list[Any]]:
    """Let the listeners of the event *name* change inside; runs that began before go through a deque of their own."""
    found = [getattr(owner.dispatch, name) for owner in owners]
    # An event that nobody has ever listened to has no deque; it gets one in a single store.
    collections = [collection for collection in found if isinstance(collection.listeners, deque)]
    for collection in collections:
        collection.listeners = _SteadyDeque(collection.listeners)
    try:
        yield collections
    finally:
        for collection in collections:
            collection.listeners = deque(collection.listeners)
