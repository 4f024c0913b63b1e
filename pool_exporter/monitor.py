"""`instrument()` and what it returns; the pools of this process that are watched, and the snapshot of them all.

The list of what is watched holds weakly: a pool that the application drops takes its numbers with it. Nothing here may
count, listen to events or render.
"""

import os
import threading
import time
from dataclasses import replace
from itertools import chain, count
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import ref

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool
from typing_extensions import Self

from pool_exporter.guard import errors
from pool_exporter.hooks import Hooks, hooks_of
from pool_exporter.identity import config_of, identity_of
from pool_exporter.locked import pool_state
from pool_exporter.records import engine_behind, limit_of
from pool_exporter.snapshot import PoolIdentity, PoolSnapshot, Snapshot, decode
from pool_exporter.version import build

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider
    from sqlalchemy.ext.asyncio import AsyncEngine

    from pool_exporter.traces import Traces


class Monitor:
    """One watched pool: an engine's, whatever pools that goes through, or one without an engine.

    It is a context manager, which closes it. Merely dropping it changes nothing: the pool stays watched.
    """

    def __init__(self, pool: Pool, identity: PoolIdentity) -> None:
        self.identity = identity
        self._config = config_of(pool)
        self._state = pool_state(time.monotonic_ns, limit_of(pool))
        self._last: PoolSnapshot | None = None
        self._shown = (0.0, 0.0, 0.0)
        self._traces: Traces | None = None
        hooks = Hooks(pool, self._state)
        hooks.monitor = self
        self._hooks = ref(hooks)
        _registry.add(hooks)
        hooks.install()

    def __repr__(self) -> str:
        return f"<Monitor {self.identity.name!r}{'' if self._last is None else ' closed'}>"

    def snapshot(self) -> PoolSnapshot:
        """Return the pool as it is now; of a closed monitor, as it was when it was closed."""
        if self._last is not None:
            return self._last
        hooks = self._hooks()
        if hooks is not None:
            hooks.look()
        pool = decode(self._state.read(), time.monotonic_ns(), self.identity, self._config)
        if self._traces is not None:
            pool = replace(pool, wait_time=self._traces.shown(pool.wait_time))
        return self._never_less(pool)

    def _never_less(self, pool: PoolSnapshot) -> PoolSnapshot:
        """Keep the time integrals from falling: between two stores, one duration may count twice or not yet."""
        seconds = pool.used_seconds, pool.pending_seconds, pool.saturated_seconds
        used, pending, saturated = map(max, seconds, self._shown)
        self._shown = used, pending, saturated
        return replace(pool, used_seconds=used, pending_seconds=pending, saturated_seconds=saturated)

    def begin_anew(self) -> None:
        """Forget what was shown, as a forked child does."""
        self._shown = (0.0, 0.0, 0.0)
        if self._traces is not None:
            self._traces.begin_anew()

    def trace_waits(self, seconds: float, tracer_provider: "TracerProvider | None" = None) -> None:
        """Have acquires traced that take so many seconds or fail; see `instrument()`."""
        from pool_exporter.traces import Traces

        traces = Traces(self, self._state, tracer_provider)
        traces.begin(seconds)
        self._traces = traces

    def close(self) -> None:
        """Remove every listener, replaced method and series. Closing twice does nothing."""
        with _registry.lock:
            if self._last is None:
                self._last = self.snapshot()
                hooks = self._hooks()
                if hooks is not None:
                    _registry.drop(hooks)
                    hooks.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Registry:
    """The hooks that are installed in this process; `lock` guards additions and removals, reading needs none."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._hooks: dict[int, ref[Hooks]] = {}
        self._forks = False

    def add(self, hooks: Hooks) -> None:
        key = id(hooks)
        self._hooks[key] = ref(hooks, lambda _: self._hooks.pop(key, None))
        if not self._forks:
            self._forks = True
            os.register_at_fork(after_in_child=self._after_fork)

    def drop(self, hooks: Hooks) -> None:
        self._hooks.pop(id(hooks), None)

    def all(self) -> list[Hooks]:
        found = [reference() for reference in list(self._hooks.values())]
        return [hooks for hooks in found if hooks is not None]

    def _after_fork(self) -> None:
        """Start at zero in the child: a thread that is not there may hold the lock, the connections are not ours."""
        self.lock = threading.RLock()
        errors.count = 0
        for hooks in self.all():
            hooks.forget()
            hooks.monitor.begin_anew()


_registry = _Registry()


def instrument(  # noqa: PLR0913  # each is a door's option of its own, all but the first by keyword
    target: "Engine | AsyncEngine | Pool",
    name: str | None = None,
    service: str | None = None,
    *,
    meter_provider: "MeterProvider | None" = None,
    trace_waits: float | None = None,
    tracer_provider: "TracerProvider | None" = None,
) -> Monitor:
    """Watch the pool of an engine, or a pool, and return its monitor; of a pool that is watched already, the same one.

    *name* is the pool's name in every output, by default its logging name or `host:port/database`; a second pool of
    that name in this process gets `#2`. *service* is the `service.name` of its series, by default the environment's.
    *meter_provider* is OpenTelemetry's, which gets the pool's metrics too; `get_meter_provider()` is the global one,
    be it set or not yet. With *trace_waits* each acquire that takes so many seconds, or fails, becomes a span of
    *tracer_provider*, by default the global one, and an exemplar, if its caller is in a sampled trace. Raises TypeError
    for what is neither engine nor pool, and for what is not a MeterProvider, ValueError for what is not a duration,
    SettingsError for a bad variable in the environment.
    """
    monitor = _instrument(target, name, service)
    if meter_provider is not None:
        from pool_exporter.otel import report

        report(meter_provider, watched, monitor)
    if trace_waits is not None:
        monitor.trace_waits(trace_waits, tracer_provider)
    return monitor


def _instrument(target: object, name: str | None, service: str | None) -> Monitor:
    engine, pool = _resolve(target)
    with _registry.lock:
        hooks = hooks_of(pool)
        if hooks is None:
            identity = identity_of(engine, pool, name, _service() if service is None else service)
            return Monitor(pool, _unique(identity))
        monitor: Monitor = hooks.monitor
        if name is not None and name != monitor.identity.name:
            monitor.identity = _unique(replace(monitor.identity, name=name))
        return monitor


def watched() -> list[Monitor]:
    """Return the monitors of this process whose pools are there."""
    return [hooks.monitor for hooks in _registry.all()]


def snapshot() -> Snapshot:
    """Return all watched pools of this process as they are now."""
    return Snapshot(tuple(monitor.snapshot() for monitor in watched()), errors.count, build())


def _service() -> str:
    # Importing what reads the settings takes a tenth of a second, which an environment without any is not worth.
    if not any(key == "OTEL_SERVICE_NAME" or key.startswith("POOL_EXPORTER_") for key in os.environ):
        return ""
    from pool_exporter.settings import Settings

    return Settings.load(env_file=None).service or ""


def _resolve(target: object) -> tuple[Engine | None, Pool]:
    """Find the engine and the pool behind an async engine, an engine with execution options, an engine or a pool."""
    target = getattr(target, "sync_engine", target)
    if isinstance(target, Engine):
        return engine_behind(target), target.pool
    if isinstance(target, Pool):
        return None, target
    raise TypeError(f"instrument() takes an Engine, an AsyncEngine or a Pool, not {type(target).__name__}")


def _unique(identity: PoolIdentity) -> PoolIdentity:
    taken = {monitor.identity.name for monitor in watched()}
    names = chain([identity.name], (f"{identity.name}#{number}" for number in count(2)))
    return replace(identity, name=next(name for name in names if name not in taken))
