"""The door without code for OpenTelemetry: `opentelemetry-instrument uvicorn app:app` finds it by its entry point.

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
    """What OpenTelemetry's declarative configuration may say under `sqlalchemy_pool`.

    With *take_over* ours replaces the pool metric of opentelemetry-instrumentation-sqlalchemy. With *trace_waits* each
    acquire that takes so many seconds, or fails, becomes a span; POOL_EXPORTER_TRACE_WAITS says so without code.
    """

    take_over: bool = True
    trace_waits: float | None = None


_OPTIONS: Final = tuple(field.name for field in fields(Configuration))


class PoolInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # it has no types
    """Instruments every pool of the process, whoever makes it and whenever."""

    configuration = Configuration

    _bridge: MeterProviderBridge | None = None
    _everywhere: AllPoolsInstrumentation | None = None
    _give_back: Callable[[], None] | None = None

    @override
    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what must be installed for this to make sense."""
        return ("sqlalchemy >= 2.0, < 2.2",)

    @override
    def _instrument(self, **kwargs: Any) -> None:
        """Begin. Of the options of all instrumentors the two providers count, by default the global ones."""
        options = Configuration(**{name: kwargs[name] for name in _OPTIONS if name in kwargs})
        was_started = registry.all_pools is not None
        try:
            everywhere = instrument_all()
        except PoolExporterError as error:
            # Raised, it would keep opentelemetry-instrument from loading any other instrumentation.
            _log.error("no pool is watched: %s", error)
            return
        if options.take_over:
            self._give_back = take_over()
        # What the application has started itself is not ours to end.
        self._everywhere = None if was_started else everywhere
        self._bridge = attach_to_provider(kwargs.get("meter_provider") or get_meter_provider(), monitors)
        trace_waits = Environment.lenient().trace_waits if options.trace_waits is None else options.trace_waits
        if trace_waits is not None:
            everywhere.trace_waits(trace_waits, kwargs.get("tracer_provider"))

    @override
    def _uninstrument(self, **kwargs: Any) -> None:
        """End, and leave everything as it was found."""
        if self._bridge is not None:
            self._bridge.is_of_all = False
        if self._everywhere is not None:
            self._everywhere.close()
        if self._give_back is not None:
            self._give_back()
        self._bridge = self._everywhere = self._give_back = None
