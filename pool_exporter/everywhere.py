"""`instrument_all()`: every pool of the process, those of engines made before and those of engines made later.

A pool that is not watched yet is met at its first `connect`, on the class; from then on the pool's own replaced
`connect` comes first, and the class's is never asked again. The engine is read from the caller on the stack: a pool
does not know its engine, and `create_engine()` reads the signatures that a wrapper around it would change.
"""

import gc
import sys
from collections.abc import Callable
from functools import update_wrapper
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool, PoolProxiedConnection, SingletonThreadPool
from typing_extensions import Self

from pool_exporter.acquire import ON_CLASS
from pool_exporter.guard import guarded
from pool_exporter.monitor import Monitor, instrument, watched
from pool_exporter.records import ATTRIBUTE
from pool_exporter.slow import nanoseconds

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from pool_exporter.otel import Bridge

_CLASSES: Final = (Pool, SingletonThreadPool)
"""The classes of SQLAlchemy that have a `connect` of their own."""

_EVERYWHERE: Final = "_pool_exporter_everywhere"
"""An attribute of a `connect` that stands on a class: who put it there."""


class Everywhere:
    """What `instrument_all()` has started; a context manager, which closes it."""

    def __init__(self) -> None:
        self._monitors: WeakSet[Monitor] = WeakSet()
        self.bridges: list[Bridge] = []
        self.options: dict[str, Any] = {}

    def close(self) -> None:
        """Stop watching: the pools that were met, and those that would be met."""
        for cls in _CLASSES:
            if getattr(cls.connect, _EVERYWHERE, None) is self:
                cls.connect = getattr(cls.connect, ON_CLASS)  # type: ignore[method-assign]  # what was there before
        for bridge in self.bridges:
            bridge.is_of_all = False
        for monitor in list(self._monitors):
            monitor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def trace_waits(self, seconds: float, tracer_provider: "TracerProvider | None") -> None:
        """Have slow acquires traced, of the pools that are watched and of those that will be met."""
        self.options = {"trace_waits": seconds, "tracer_provider": tracer_provider}
        for monitor in watched():
            monitor.trace_waits(seconds, tracer_provider)

    @guarded
    def meet(self, pool: Pool, caller: FrameType | None) -> None:
        """Watch a pool that nobody watches; *caller* is who asked it for a connection."""
        self._monitors.add(instrument(_engine_of(pool, caller) or pool, **self.options))

    @guarded
    def search(self) -> None:
        """Watch the pools that are there. Only types are asked: a proxy object may raise when isinstance() asks it."""
        found = [entry for entry in gc.get_referrers(*_subclasses(Engine)) if issubclass(type(entry), Engine)]
        found += [entry for entry in gc.get_referrers(*_subclasses(Pool)) if issubclass(type(entry), Pool)]
        for target in found:
            if hasattr(target, "pool") or hasattr(target, "dispatch"):
                self._monitors.add(instrument(target))


def instrument_all(
    *,
    meter_provider: "MeterProvider | None" = None,
    trace_waits: float | None = None,
    tracer_provider: "TracerProvider | None" = None,
) -> Everywhere:
    """Watch every pool of this process, also those of engines that were made earlier or will be; twice does nothing.

    *meter_provider* is OpenTelemetry's, which gets the metrics of all pools that are watched, however they came to be.
    With *trace_waits* slow acquires are traced, as `instrument()` says. Raises TypeError for what is not a
    MeterProvider, ValueError for what is not a duration.
    """
    if trace_waits is not None:
        nanoseconds(trace_waits)
    current = started()
    if current is None:
        current = Everywhere()
        for cls in _CLASSES:
            cls.connect = _meeting(cls.connect, current)  # type: ignore[method-assign]  # the door that all pass
        current.search()
    if meter_provider is not None:
        from pool_exporter.otel import report

        current.bridges.append(report(meter_provider, watched))
    if trace_waits is not None:
        current.trace_waits(trace_waits, tracer_provider)
    return current


def started() -> Everywhere | None:
    """Return what `instrument_all()` has started, None when it has not or was closed."""
    current: Everywhere | None = getattr(Pool.connect, _EVERYWHERE, None)
    return current


def _meeting(connect_of: Callable[[Any], PoolProxiedConnection], everywhere: Everywhere) -> Callable[..., Any]:
    """Return a class's `connect` that has the pool watched before it is asked."""

    def connect(self: Pool) -> PoolProxiedConnection:
        if ATTRIBUTE in self.__dict__:
            return connect_of(self)
        everywhere.meet(self, sys._getframe(1))
        own = self.__dict__.get("connect")
        return connect_of(self) if own is None else own()

    setattr(connect, ON_CLASS, connect_of)
    setattr(connect, _EVERYWHERE, everywhere)
    return update_wrapper(connect, connect_of)


def _subclasses(cls: type) -> set[type]:
    """Return the class and all that derive from it; an object refers to its class, so that it is found by that."""
    found: list[type] = type.__subclasses__(cls)
    return {cls}.union(*map(_subclasses, found))


def _engine_of(pool: Pool, caller: FrameType | None) -> Engine | None:
    """Return the engine that asks its pool, in `Engine.raw_connection()`, or None for anyone else."""
    engine = None if caller is None else caller.f_locals.get("self")
    return engine if isinstance(engine, Engine) and engine.pool is pool else None
