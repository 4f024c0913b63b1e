"""`instrument_all()`: instruments every pool of the process, those that exist and those that are made later.

A new pool is instrumented at its first `connect()`. Its engine is then found on the call stack, because a pool does not
refer to its engine. (Engines are not seen when they are made: applications import `create_engine` by name, and it reads
the signature of `Engine.__init__`, so neither can be replaced.) Nothing here may instrument a pool in a way of its own;
`instrument()` does it.
"""

import gc
from types import FrameType, TracebackType
from typing import TYPE_CHECKING
from weakref import WeakSet

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool
from typing_extensions import Self

from pool_exporter.environment import Environment
from pool_exporter.hook_errors import guarded
from pool_exporter.hooks.call_stack import engine_calling
from pool_exporter.hooks.checkout_patches import uninstrumented_pool_handler
from pool_exporter.hooks.compatibility import is_supported
from pool_exporter.hooks.lifecycle_patches import PATCH_FACTORIES
from pool_exporter.hooks.method_patches import patches
from pool_exporter.hooks.pool_hooks import hooks_of
from pool_exporter.hooks.sqlalchemy_private import is_complete
from pool_exporter.runtime.argument_checks import check_meter_provider, check_tracing
from pool_exporter.runtime.degraded import degraded_pools
from pool_exporter.runtime.instrumentation import instrument, monitors, prepare, shown_monitors
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.runtime.registry import registry

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from pool_exporter.otel.meter_provider_bridge import MeterProviderBridge


class AllPoolsInstrumentation:
    """What `instrument_all()` has started. It is a context manager, which closes it; dropping it changes nothing."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._monitors: WeakSet[Monitor] = WeakSet()
        self._trace_waits: float | None = None
        self._tracer_provider: TracerProvider | None = None
        self.bridges: list[MeterProviderBridge] = []

    def close(self) -> None:
        """Uninstrument the pools that this has instrumented, and instrument no more.

        Pools that `instrument()` has instrumented stay so.
        """
        with registry.changing():
            if started.current is self:
                started.current = uninstrumented_pool_handler.on_uninstrumented_pool = degraded_pools.search = None
                registry.keeps_patches = False
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

    def trace_waits(self, seconds: float, tracer_provider: "TracerProvider | None" = None) -> None:
        """Make spans of slow acquires, of the pools that are instrumented and of those that will be.

        Args:
            seconds: From how many seconds on an acquire becomes a span.
            tracer_provider: Where the spans go; by default the global one.

        Raises:
            TypeError: *seconds* is no number, or *tracer_provider* is no TracerProvider.
            ValueError: *seconds* is negative, infinite or not a number.
            ImportError: OpenTelemetry is not installed.
        """
        check_tracing(seconds, tracer_provider)
        self._trace_waits, self._tracer_provider = seconds, tracer_provider
        for monitor in monitors():
            monitor.trace_waits(seconds, tracer_provider)

    def on_uninstrumented_pool(self, pool: Pool, caller: FrameType) -> None:
        """Instrument a pool; *caller* is the frame that called its `connect()`, which waits for a moment at most."""
        with registry.changing_soon() as is_taken:
            if is_taken:  # Else the next `connect()` tries again.
                self._instrument_if_new(engine_calling(pool, caller) or pool)

    def search(self) -> None:
        """Instrument the pools that exist: engines first, because they name their pools."""
        self.search_engines()
        self._search(Pool)

    def search_engines(self) -> None:
        """Instrument the pools of the engines that exist."""
        self._search(Engine)

    def _search(self, cls: type[Engine] | type[Pool]) -> None:
        # By type, because isinstance() reads `__class__`, which may raise on a proxy object.
        for entry in gc.get_referrers(*_subclasses(cls)):
            if issubclass(type(entry), cls) and is_complete(entry):
                self._instrument_if_new(entry)

    @guarded
    def _instrument_if_new(self, target: Engine | Pool) -> None:
        """Instrument *target* unless it is; so `close()` does not close a monitor that `instrument()` has made."""
        hooks = hooks_of(target.pool if isinstance(target, Engine) else target)
        if hooks is None and degraded_pools.monitor_of(target) is None:
            monitor = instrument(target, service=self._service)
            self._monitors.add(monitor)
            if self._trace_waits is not None:
                monitor.trace_waits(self._trace_waits, self._tracer_provider)


class Started:
    """Holds what `instrument_all()` has started in this process, until it is closed."""

    current: AllPoolsInstrumentation | None = None


started = Started()


def instrument_all(
    *,
    meter_provider: "MeterProvider | None" = None,
    trace_waits: float | None = None,
    tracer_provider: "TracerProvider | None" = None,
) -> AllPoolsInstrumentation:
    """Instrument every pool of this process, also of engines that were made earlier or will be made later.

    Args:
        meter_provider: OpenTelemetry's, which gets the metrics of all instrumented pools; see `instrument()`.
        trace_waits: From how many seconds on an acquire becomes a span; see `instrument()`.
        tracer_provider: Where these spans go; by default the global one.

    Returns:
        An object with `close()`, which ends it. A second call returns the same object.

    Raises:
        TypeError: A provider is none, or *trace_waits* is no number.
        ValueError: *trace_waits* is negative, infinite or not a number.
        ImportError: OpenTelemetry is needed and is not installed.

    Example:
        >>> pool_exporter.instrument_all(meter_provider=get_meter_provider())
    """
    check_meter_provider(meter_provider)
    check_tracing(trace_waits, tracer_provider)
    bridges = []
    if meter_provider is not None:
        from pool_exporter.otel.meter_provider_bridge import attach_to_provider

        bridges.append(attach_to_provider(meter_provider, shown_monitors, counts=registry.pool_counts))
    current = _start()
    current.bridges += bridges
    if trace_waits is not None:
        current.trace_waits(trace_waits, tracer_provider)
    return current


def _start() -> AllPoolsInstrumentation:
    if started.current is None:
        # Garbage would be found as well, such as the pool that each dispose() leaves. Not under the lock: a finalizer
        # of the application may wait for a thread that connects.
        gc.collect()
    with registry.changing():
        if started.current is not None:
            return started.current
        environment = Environment.lenient()
        prepare(environment)
        current = started.current = AllPoolsInstrumentation(environment.service)
        if not is_supported():
            registry.note_degraded()
            degraded_pools.search = current.search_engines
            return current
        registry.keeps_patches = True
        uninstrumented_pool_handler.on_uninstrumented_pool = current.on_uninstrumented_pool
        patches.open(Pool, PATCH_FACTORIES)
        current.search()
        return current


def _subclasses(cls: type) -> set[type]:
    """Return the class and all that derive from it: objects are found by their reference to their own class."""
    found: list[type] = type.__subclasses__(cls)
    return {cls}.union(*map(_subclasses, found))
