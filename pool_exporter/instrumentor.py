"""OpenTelemetry instrumentor: `opentelemetry-instrument uvicorn app:app` finds it by the entry point `sqlalchemy_pool`.

It instruments every pool of the process, on SQLAlchemy 2.0 and 2.1, and reports to the global MeterProvider. Nothing
but OpenTelemetry's protocol for instrumentors may be here.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.metrics import get_meter_provider
from typing_extensions import override

from pool_exporter.environment import Environment
from pool_exporter.errors import PoolExporterError
from pool_exporter.otel.meter_provider_bridge import MeterProviderBridge, attach_to_provider
from pool_exporter.otel.other_instrumentation import take_over
from pool_exporter.runtime.all_pools import AllPoolsInstrumentation, instrument_all
from pool_exporter.runtime.instrumentation import monitors
from pool_exporter.runtime.registry import registry

_log = logging.getLogger("pool_exporter")


@dataclass(frozen=True)
class Configuration:
    """The options of `sqlalchemy_pool` in OpenTelemetry's declarative configuration.

    Attributes:
        take_over: Whether to replace the pool metric of opentelemetry-instrumentation-sqlalchemy.
        trace_waits: From how many seconds on an acquire becomes a span; by default POOL_EXPORTER_TRACE_WAITS, and if
            that is not set either, no acquire does.
    """

    take_over: bool = True
    trace_waits: float | None = None


_OPTIONS: Final = tuple(field.name for field in fields(Configuration))


class PoolInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # it has no types
    """Instruments every pool of the process, those that exist and those that are made later."""

    configuration = Configuration

    _bridge: MeterProviderBridge | None = None
    _all_pools: AllPoolsInstrumentation | None = None
    _give_back: Callable[[], None] | None = None

    @override
    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the packages that must be installed for OpenTelemetry to load this."""
        return ("sqlalchemy >= 2.0, < 2.2",)

    @override
    def _instrument(self, **kwargs: Any) -> None:
        """Begin, with the options of `Configuration`, and with the two providers that all instrumentors are given."""
        options = Configuration(**{name: kwargs[name] for name in _OPTIONS if name in kwargs})
        was_started = registry.all_pools is not None
        try:
            all_pools = instrument_all()
        except PoolExporterError as error:
            # Raised, it would keep opentelemetry-instrument from loading any other instrumentation.
            _log.error("no pool is instrumented: %s", error)
            return
        if options.take_over:
            self._give_back = take_over()
        # What the application has started itself must not end when this does.
        self._all_pools = None if was_started else all_pools
        self._bridge = attach_to_provider(kwargs.get("meter_provider") or get_meter_provider(), monitors)
        trace_waits = Environment.lenient().trace_waits if options.trace_waits is None else options.trace_waits
        if trace_waits is not None:
            all_pools.trace_waits(trace_waits, kwargs.get("tracer_provider"))

    @override
    def _uninstrument(self, **kwargs: Any) -> None:
        """End, and leave everything as it was before."""
        if self._bridge is not None:
            self._bridge.is_of_all = False
        if self._all_pools is not None:
            self._all_pools.close()
        if self._give_back is not None:
            self._give_back()
        self._bridge = self._all_pools = self._give_back = None
