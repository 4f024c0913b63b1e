"""`instrument_all()`: every pool of the process, those of engines made before and those of engines made later.

A pool that is not watched yet is met at its first `connect`, on the class; from then on the pool's own replaced
`connect` comes first, and the class's is never asked again. The engine is read from the caller on the stack: a pool
does not know its engine, and `create_engine()` reads the signatures that a wrapper around it would change.
"""

import gc
import sys
from collections.abc import Callable
from functools import partial, update_wrapper
from types import FrameType, TracebackType
from typing import Any, Final
from weakref import WeakSet

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool, PoolProxiedConnection, SingletonThreadPool

from pool_exporter.acquire import ON_CLASS
from pool_exporter.guard import guarded
from pool_exporter.monitor import Monitor, instrument
from pool_exporter.records import ATTRIBUTE

_CLASSES: Final = (Pool, SingletonThreadPool)
"""The classes of SQLAlchemy that have a `connect` of their own."""

_FRAMES: Final = 3
"""From the class's `connect`: our own two functions, then the caller."""


class Everywhere:
    """What `instrument_all()` has started; a context manager, which closes it."""

    def __init__(self) -> None:
        self._monitors: WeakSet[Monitor] = WeakSet()

    def close(self) -> None:
        """Stop watching: the pools that were met, and those that would be met."""
        global _current
        if _current is self:
            _current = None
            for cls in _CLASSES:
                cls.connect = getattr(cls.connect, ON_CLASS)  # type: ignore[method-assign]  # it was there before
            for monitor in list(self._monitors):
                monitor.close()

    def __enter__(self) -> "Everywhere":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @guarded
    def _meet(self, pool: Pool) -> None:
        """Watch a pool that nobody watches."""
        if ATTRIBUTE not in pool.__dict__:
            self._monitors.add(instrument(_engine_of(pool, sys._getframe(_FRAMES)) or pool))

    @guarded
    def _search(self) -> None:
        """Watch the pools that are there. Only exact types are asked: a proxy object may answer isinstance() by raising."""
        for engine in [entry for entry in gc.get_objects() if issubclass(type(entry), Engine)]:
            self._monitors.add(instrument(engine))
        for pool in [entry for entry in gc.get_objects() if issubclass(type(entry), Pool)]:
            if pool.__dict__.get("_invoke_creator") is not None:
                self._monitors.add(instrument(pool))


_current: Everywhere | None = None


def instrument_all() -> Everywhere:
    """Watch every pool of this process, also those of engines that were made earlier or will be; twice does nothing."""
    global _current
    if _current is None:
        _current = Everywhere()
        for cls in _CLASSES:
            cls.connect = _meeting(cls.connect, _current._meet)  # type: ignore[method-assign]  # the only common door
        _current._search()
    return _current


def _meeting(connect_of: Callable[[Any], PoolProxiedConnection], meet: Callable[[Pool], None]) -> Any:
    """Return a class's `connect` that lets *meet* watch the pool before it is asked."""

    def connect(self: Pool) -> PoolProxiedConnection:
        if ATTRIBUTE in self.__dict__:
            return connect_of(self)
        meet(self)
        own = self.__dict__.get("connect")
        return connect_of(self) if own is None else own()

    setattr(connect, ON_CLASS, connect_of)
    return update_wrapper(connect, connect_of)


def _engine_of(pool: Pool, caller: FrameType) -> Engine | None:
    """Return the engine that asks its pool, `Engine.raw_connection()`, or None for anyone else."""
    engine = caller.f_locals.get("self")
    return engine if isinstance(engine, Engine) and engine.pool is pool else None
