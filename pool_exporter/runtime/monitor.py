"""`instrument()` and what it returns; the pools of this process that are watched, and the snapshot of them all.

The list of what is watched holds weakly: a pool that the application drops takes its numbers with it, and the last one
the replaced methods of SQLAlchemy. Nothing here may count or render.
"""

import time
from dataclasses import replace
from itertools import chain, count
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import ref

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool
from typing_extensions import Self

from pool_exporter.environment import Environment
from pool_exporter.hook_errors import errors
from pool_exporter.hooks.compatibility import require
from pool_exporter.hooks.pool_description import config_of, identity_of
from pool_exporter.hooks.pool_hooks import PoolHooks, hooks_of
from pool_exporter.hooks.sqlalchemy_private import engine_behind, limit_of
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.snapshot import PoolSnapshot, Snapshot
from pool_exporter.runtime.registry import registry
from pool_exporter.state.decode import decode
from pool_exporter.state.layout import Slots
from pool_exporter.state.locked_pool_state import pool_state
from pool_exporter.version import build

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider
    from sqlalchemy.ext.asyncio import AsyncEngine

    from pool_exporter.otel.wait_spans import WaitSpans


class Monitor:
    """One watched pool: an engine's, whatever pools that goes through, or one without an engine.

    It is a context manager, which closes it. Merely dropping it changes nothing: the pool stays watched.
    """

    def __init__(self, pool: Pool, identity: PoolIdentity) -> None:
        self.identity = identity
        self.config = config_of(pool)
        self._state = pool_state(time.monotonic_ns, limit_of(pool), registry.place(identity, self.config))
        self._last: PoolSnapshot | None = None
        self._is_closed = False
        self._shown = (0.0, 0.0, 0.0)
        self._traces: WaitSpans | None = None
        hooks = PoolHooks(pool, self._state)
        hooks.monitor = self
        self._hooks = ref(hooks)
        registry.add(hooks)
        try:
            hooks.install()
        except BaseException:
            registry.drop(hooks)
            raise

    def __repr__(self) -> str:
        return f"<Monitor {self.identity.name!r}{' closed' if self._is_closed else ''}>"

    def snapshot(self) -> PoolSnapshot:
        """Return the pool as it is now; of a closed monitor, as it was when it was closed."""
        if self._last is not None:
            return self._last
        hooks = self._hooks()
        if hooks is not None:
            hooks.refresh()
        pool = decode(self._state.copy_slots(), self._state.clock(), self.identity, self.config)
        if self._traces is not None:
            pool = replace(pool, wait_time=self._traces.shown(pool.wait_time))
        return self._never_less(pool)

    def _never_less(self, pool: PoolSnapshot) -> PoolSnapshot:
        """Keep the time integrals from falling: between two stores, one duration may count twice or not yet."""
        seconds = pool.used_seconds, pool.pending_seconds, pool.saturated_seconds
        used, pending, saturated = map(max, seconds, self._shown)
        self._shown = used, pending, saturated
        return replace(pool, used_seconds=used, pending_seconds=pending, saturated_seconds=saturated)

    def restart_after_fork(self, hooks: PoolHooks, slots: Slots) -> None:
        """Start at zero on *words*, as a forked child does: what the parent opened is none of ours."""
        self._shown = (0.0, 0.0, 0.0)
        self._state = pool_state(self._state.clock, self._state.pool_limit, slots)
        hooks.restart_after_fork(self._state)
        if self._traces is not None:
            self._traces.restart_after_fork(self._state)

    def trace_waits(self, seconds: float, tracer_provider: "TracerProvider | None" = None) -> None:
        """Have acquires traced that take so many seconds or fail; see `instrument()`."""
        from pool_exporter.otel.wait_spans import WaitSpans

        self._traces = WaitSpans(self, self._state, seconds, tracer_provider)

    def close(self) -> None:
        """Remove everything that watches, and the series; the last one puts SQLAlchemy's methods back.

        Closing twice does nothing.
        """
        with registry.changing():
            if self._is_closed:
                return
            self._is_closed = True
            try:
                self._last = self.snapshot()
            except Exception as error:  # noqa: BLE001  # the application is ending, and nothing of ours may stop it
                errors.report(error)
            hooks = self._hooks()
            if hooks is not None:
                registry.drop(hooks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


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
    for what is neither engine nor pool, and for what is no MeterProvider, ValueError for what is no duration,
    UnsupportedError for a SQLAlchemy that works in another way.
    """
    monitor = _instrument(target, name, service)
    if meter_provider is not None:
        from pool_exporter.otel.meter_provider_bridge import attach_to_provider

        attach_to_provider(meter_provider, watched, monitor)
    if trace_waits is not None:
        monitor.trace_waits(trace_waits, tracer_provider)
    return monitor


def _instrument(target: object, name: str | None, service: str | None) -> Monitor:
    engine, pool = _resolve(target)
    with registry.changing():
        hooks = hooks_of(pool)
        if hooks is None:
            require()
            default = prepare_from_environment()  # Also with a service given: it prepares the directory and forks.
            identity = identity_of(engine, pool, name, default if service is None else service)
            return Monitor(pool, _unique(identity))
        monitor: Monitor = hooks.monitor
        if name is not None and name != monitor.identity.name.partition("#")[0] and not registry.transport.is_shared:
            monitor.identity = _unique(replace(monitor.identity, name=name))
        return monitor


def watched() -> list[Monitor]:
    """Return the monitors of this process whose pools are there."""
    return [hooks.monitor for hooks in registry.all()]


def snapshot() -> Snapshot:
    """Return all watched pools as they are now: of all workers in the shared directory, without one of this process.

    A pool of this process that fails is missing, and counted as an error.
    """
    shared = registry.shared_snapshot()
    if shared is not None:
        return shared
    failed = registry.transport.errors if registry.transport.directory else None
    pools = [_tried(monitor) for monitor in watched()]
    return Snapshot(tuple(pool for pool in pools if pool is not None), errors.count, build(), transport_errors=failed)


def _tried(monitor: Monitor) -> PoolSnapshot | None:
    try:
        return monitor.snapshot()
    except Exception as error:  # noqa: BLE001  # the other pools' numbers are worth more than this one's error
        errors.report(error)
        return None


def prepare_from_environment() -> str:
    """Read the environment: prepare the shared directory that it names, and return the service's name."""
    environment = Environment.lenient()
    registry.prepare(environment.directory)
    return environment.service


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
