"""`instrument()`: from an engine or a pool to its monitor; and the snapshot of all instrumented pools of this process.

Nothing here may count or render.
"""

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final
from weakref import ref

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from pool_exporter.environment import Environment
from pool_exporter.hook_errors import errors, result_or_none
from pool_exporter.hooks.callers.place import recorder
from pool_exporter.hooks.compatibility import is_supported
from pool_exporter.hooks.lifecycle_patches import mend_patches
from pool_exporter.hooks.method_patches import patches
from pool_exporter.hooks.pool_description import identity_of
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.argument_checks import check_meter_provider, check_names, check_tracing
from pool_exporter.runtime.degraded import degraded_pools
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.runtime.pool_monitor import PoolMonitor
from pool_exporter.runtime.pool_names import without_number
from pool_exporter.runtime.registry import registry
from pool_exporter.runtime.target import engine_and_pool
from pool_exporter.runtime.watchdog.watchdog import watchdog
from pool_exporter.units import label
from pool_exporter.version import build

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider
    from sqlalchemy.ext.asyncio import AsyncEngine

    from pool_exporter.metrics.snapshot import Snapshot

_log = logging.getLogger("pool_exporter")


def instrument(  # noqa: PLR0913  # each option is independent of the others, and all but two are by keyword
    target: "Engine | AsyncEngine | Pool",
    name: str | None = None,
    service: str | None = None,
    *,
    meter_provider: "MeterProvider | None" = None,
    trace_waits: float | None = None,
    tracer_provider: "TracerProvider | None" = None,
) -> Monitor:
    """Instrument the pool of an engine, or a pool.

    If this version does not support the installed SQLAlchemy, the monitor reports only used connections,
    the metric of degraded pools is 1, and a WARNING is logged.

    Args:
        target: The engine, also one with execution options, or the pool.
        name: The pool's name in every output; by default the engine's logging name or `host:port/database`. A second
            living pool of that name in this process gets `#2`. A pool keeps the first name that it is given.
        service: The `service.name` of the pool's series; by default POOL_EXPORTER_SERVICE or OTEL_SERVICE_NAME.
        meter_provider: OpenTelemetry's, which gets the pool's metrics too; `get_meter_provider()` is the global one,
            even if it is set later.
        trace_waits: Each acquire that takes so many seconds, or fails, becomes a span and an exemplar, if its caller
            is in a sampled trace. By default none does.
        tracer_provider: Where these spans go; by default the global one.

    Returns:
        The pool's monitor; for a pool that is instrumented already, the same one, with its methods replaced again where
        another library has put them back.

    Raises:
        TypeError: *target* is neither an engine nor a pool, or another argument has the wrong type.
        ValueError: *trace_waits* is negative, infinite or not a number.
        ImportError: OpenTelemetry is needed and is not installed.

    Example:
        >>> monitor = pool_exporter.instrument(engine, name="orders")
    """
    engine, pool = engine_and_pool(target)
    check_names(name, service)
    check_meter_provider(meter_provider)
    check_tracing(trace_waits, tracer_provider)
    monitor = _monitor_of_pool(engine, pool, name, service)
    if meter_provider is not None:
        from pool_exporter.otel.meter_provider_bridge import attach_to_provider

        attach_to_provider(meter_provider, shown_monitors, monitor, registry.pool_counts)
    if trace_waits is not None:
        monitor.trace_waits(trace_waits, tracer_provider)
    return monitor


def _monitor_of_pool(engine: Engine | None, pool: Pool, name: str | None, service: str | None) -> Monitor:
    with registry.changing():
        monitor = registry.monitor_of(pool)
        if monitor is None:
            return _new_monitor(engine, pool, name, service)
        result_or_none(lambda: mend_patches(pool, patches))
        if name is not None:
            _give_name(monitor, label(name))
    _warn_of_second_name(monitor, name, service)  # Without the lock: a handler of the log may use the pool.
    return monitor


def _give_name(monitor: PoolMonitor, name: str) -> None:
    """Give *name* to a pool that has only its default name, unless that is in a worker file already."""
    if name and not monitor.is_named and not registry.storage.has_file and not _is_named(monitor, name):
        registry.rename(monitor, replace(monitor.identity, name=name))
        monitor.is_named = True


def _is_named(monitor: PoolMonitor, name: str) -> bool:
    return name in (monitor.identity.name, without_number(monitor.identity.name))


def _warn_of_second_name(monitor: PoolMonitor, name: str | None, service: str | None) -> None:
    """Log one WARNING for a pool that has another name or service than it is given now."""
    ignored = []
    if name is not None and label(name) and not _is_named(monitor, label(name)):
        ignored.append(f"name={label(name)!r}")
    if service is not None and label(service) != monitor.identity.service:
        ignored.append(f"service={label(service)!r}")
    if ignored and not monitor.is_named_again:
        monitor.is_named_again = True
        of_service = f" of service {monitor.identity.service!r}" if monitor.identity.service else ""
        _log.warning(_NAMED_AGAIN, monitor.identity.name, of_service, ", ".join(ignored))


_NAMED_AGAIN: Final = (
    "pool %r%s is instrumented already and keeps that name: instrument(…, %s) for the same pool does not change it"
)


def _new_monitor(engine: Engine | None, pool: Pool, name: str | None, service: str | None) -> Monitor:
    environment = Environment.lenient()
    own = environment.service if service is None else service
    try:
        prepare(environment)  # Also with a service given: it prepares the directory and forks.
        if is_supported():
            monitor = registry.add(pool, identity_of(engine, pool, name, own))
            monitor.is_named = name is not None and bool(label(name))
            monitor.engine = monitor.engine if engine is None else ref(engine)
            monitor.exemplar_filter = environment.exemplar_filter
            return monitor
        registry.note_degraded()
    except Exception as error:  # noqa: BLE001  # monitoring never stops the application
        errors.report(error)
    known = result_or_none(lambda: identity_of(engine, pool, name, own))
    return degraded_pools.add(engine or pool, known or PoolIdentity(label(name or "pool"), service=label(own)))


def monitors() -> list[Monitor]:
    """Return the monitors of all instrumented pools of this process that are alive."""
    return [*registry.monitors(), *degraded_pools.monitors()]


def shown_monitors() -> list[Monitor]:
    """Return the monitors of the pools of this process that have series: living ones, and ended ones with counters."""
    return [*registry.shown_monitors(), *degraded_pools.monitors()]


def snapshot() -> "Snapshot":
    """Return the numbers of all instrumented pools now.

    With a shared directory these are the pools of all workers, otherwise the pools of this process. If the snapshot of
    one of these fails, that pool is missing, and a hook error is counted. A pool that is not measured is in no file: it
    is only in the snapshots of its own process.
    """
    from pool_exporter.metrics.snapshot import Snapshot, by_kind  # What shows a snapshot has loaded it.

    if not registry.is_prepared:  # Without a pool of its own, this process shows those of the directory.
        prepare(Environment.lenient())
    shared = registry.shared_snapshot()
    if shared is not None:
        return replace(shared, degraded_pools=tuple(each.snapshot() for each in degraded_pools.monitors()))
    instrumented, ended = registry.pool_counts()
    failed = registry.storage.errors if registry.storage.directory else None
    pools = [result_or_none(monitor.snapshot) for monitor in shown_monitors()]
    measured, degraded = by_kind(pool for pool in pools if pool is not None)
    return Snapshot(
        measured,
        errors.count,
        build(),
        degraded=int(degraded_pools.is_used),
        pools_instrumented=instrumented,
        pools_ended=ended,
        transport_errors=failed,
        degraded_pools=degraded,
    )


def prepare(environment: Environment) -> None:
    """Prepare the shared directory that the environment names, the reports and the places of checkouts."""
    # A process that only imports the package needs no rules of `check()`.
    from pool_exporter.runtime.checking.pool_findings import findings_by_rule

    watchdog.is_on, watchdog.check = environment.has_reports, partial(findings_by_rule, environment)
    recorder.configure(environment.places, environment.skip_modules)
    registry.prepare(environment.directory, environment.file_mode)
