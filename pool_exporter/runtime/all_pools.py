"""`instrument_all()`: every pool of the process, those of engines made before and those of engines made later.

A pool that is not watched yet is met when it is first asked for a connection (acquire.py). The engine is read from the
caller on the stack: a pool does not know its engine, and `create_engine()` reads the signatures that a wrapper around
it would change. Nothing here may watch a pool itself; monitor.py does.
"""

import gc
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool
from typing_extensions import Self

from pool_exporter.hook_errors import guarded
from pool_exporter.hooks.call_stack import engine_calling
from pool_exporter.hooks.checkout_patches import uninstrumented_pool_handler
from pool_exporter.hooks.compatibility import require
from pool_exporter.hooks.lifecycle_patches import PATCH_FACTORIES
from pool_exporter.hooks.method_patches import patches
from pool_exporter.hooks.pool_hooks import hooks_of
from pool_exporter.hooks.sqlalchemy_private import is_complete
from pool_exporter.runtime.monitor import Monitor, instrument, prepare_from_environment, watched
from pool_exporter.runtime.registry import registry
from pool_exporter.state.slow_acquire import nanoseconds

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from pool_exporter.otel.meter_provider_bridge import MeterProviderBridge


class AllPoolsInstrumentation:
    """What `instrument_all()` has started; a context manager, which closes it. Merely dropping it changes nothing."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._monitors: WeakSet[Monitor] = WeakSet()
        self._options: dict[str, Any] = {}
        self.bridges: list[MeterProviderBridge] = []

    def close(self) -> None:
        """Stop watching: the pools that were met, and those that would be met. What others have begun goes on."""
        with registry.changing():
            if registry.all_pools is self:
                registry.all_pools = uninstrumented_pool_handler.on_uninstrumented_pool = None
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
        """Have slow acquires traced, of the pools that are watched and of those that will be met."""
        self._options = {"trace_waits": seconds, "tracer_provider": tracer_provider}
        for monitor in watched():
            monitor.trace_waits(seconds, tracer_provider)

    def on_uninstrumented_pool(self, pool: Pool, caller: FrameType) -> None:
        """Watch a pool that nobody watches; *caller* is who asked it for a connection."""
        self._watch(engine_calling(pool, caller) or pool)

    def search(self) -> None:
        """Watch the pools that are there: engines first, by which a pool gets its name."""
        gc.collect()  # A pool that is garbage, as each dispose() leaves one, would be found as well.
        for cls in (Engine, Pool):
            # Only types are asked: a proxy object may raise when isinstance() asks it.
            for entry in gc.get_referrers(*_subclasses(cls)):
                if issubclass(type(entry), cls) and is_complete(entry):
                    self._watch(entry)

    @guarded
    def _watch(self, target: Any) -> None:
        """Watch what nobody does; a monitor that somebody else has is theirs to close."""
        if hooks_of(target.pool if isinstance(target, Engine) else target) is None:
            self._monitors.add(instrument(target, service=self._service, **self._options))


def instrument_all(
    *,
    meter_provider: "MeterProvider | None" = None,
    trace_waits: float | None = None,
    tracer_provider: "TracerProvider | None" = None,
) -> AllPoolsInstrumentation:
    """Watch every pool of this process, also those of engines that were made earlier or will be; twice does nothing.

    *meter_provider* is OpenTelemetry's, which gets the metrics of all pools that are watched, however they came to be.
    With *trace_waits* slow acquires are traced, as `instrument()` says. Raises TypeError for what is no MeterProvider,
    ValueError for what is no duration, UnsupportedError for a SQLAlchemy that works in another way.
    """
    if trace_waits is not None:
        nanoseconds(trace_waits)
    bridges = []
    if meter_provider is not None:
        from pool_exporter.otel.meter_provider_bridge import attach_to_provider

        bridges.append(attach_to_provider(meter_provider, watched))
    current = _started()
    current.bridges += bridges
    if trace_waits is not None:
        current.trace_waits(trace_waits, tracer_provider)
    return current


def _started() -> AllPoolsInstrumentation:
    with registry.changing():
        if isinstance(registry.all_pools, AllPoolsInstrumentation):
            return registry.all_pools
        require()
        current = registry.all_pools = AllPoolsInstrumentation(prepare_from_environment())
        uninstrumented_pool_handler.on_uninstrumented_pool = current.on_uninstrumented_pool
        patches.open(Pool, PATCH_FACTORIES)
        current.search()
        return current


def _subclasses(cls: type) -> set[type]:
    """Return the class and all that derive from it; an object refers to its class, and is found by that."""
    found: list[type] = type.__subclasses__(cls)
    return {cls}.union(*map(_subclasses, found))
