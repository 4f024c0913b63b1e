"""OpenTelemetry instrumentor: `opentelemetry-instrument uvicorn app:app` finds it by the entry point `sqlalchemy_pool`.

It instruments every pool of the process and reports to the global MeterProvider. Nothing but OpenTelemetry's protocol
for instrumentors may be here.
"""

import logging
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # it has no types
from opentelemetry.metrics import MeterProvider, get_meter_provider
from opentelemetry.trace import TracerProvider
from typing_extensions import override

from pool_exporter.environment import Environment
from pool_exporter.errors import PoolExporterError
from pool_exporter.otel import other_instrumentation
from pool_exporter.otel.meter_provider_bridge import MeterProviderBridge, attach_to_provider, real_provider
from pool_exporter.runtime.all_pools import AllPoolsInstrumentation, instrument_all, started
from pool_exporter.runtime.instrumentation import shown_monitors
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


class PoolInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # it has no types
    """Instruments every pool of the process, those that exist and those that are made later."""

    configuration = Configuration

    _bridge: MeterProviderBridge | None = None
    _all_pools: AllPoolsInstrumentation | None = None
    _give_back: Callable[[], None] | None = None

    @override
    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the packages that must be installed for OpenTelemetry to load this.

        No version is excluded above: `hooks.compatibility` decides, and reports at least the used connections.
        """
        return ("sqlalchemy >= 2.0",)

    @override
    def _instrument(
        self,
        *,
        take_over: bool = Configuration.take_over,
        trace_waits: float | None = Configuration.trace_waits,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
        **_: object,
    ) -> None:
        """Begin, with the options of `Configuration`, and with the two providers that all instrumentors are given."""
        environment, was_started = Environment.lenient(), started.current is not None
        try:
            all_pools = instrument_all()
        except PoolExporterError as error:
            # Raised, it would keep opentelemetry-instrument from loading any other instrumentation.
            _log.error("no pool is instrumented: %s", error)
            return
        if take_over:
            self._give_back = other_instrumentation.take_over()
        # What the application has started itself must not end when this does.
        self._all_pools = None if was_started else all_pools
        provider = meter_provider or get_meter_provider()
        self._bridge = attach_to_provider(provider, shown_monitors, counts=registry.pool_counts)
        _warn_without_provider(provider, environment.otlp_asked_by)
        seconds = environment.trace_waits if trace_waits is None else trace_waits
        if seconds is not None:
            all_pools.trace_waits(seconds, tracer_provider)

    @override
    def _uninstrument(self, **_: object) -> None:
        """End, and leave everything as it was before."""
        if self._bridge is not None:
            self._bridge.is_of_all = False
        if self._all_pools is not None:
            self._all_pools.close()
        if self._give_back is not None:
            self._give_back()
        self._bridge = self._all_pools = self._give_back = None


_ZERO_CODE: Final = "opentelemetry.instrumentation.auto_instrumentation"
"""The module in which `opentelemetry-instrument` sets the providers, if a distro is installed, before it comes here."""
_NO_PROVIDER: Final = (
    "OTLP is asked for (%s), and opentelemetry-instrument has set up no SDK: nothing is pushed unless the application "
    "sets a MeterProvider. pip install opentelemetry-distro has opentelemetry-instrument set one up"
)


def _warn_without_provider(provider: MeterProvider, asked_by: str) -> None:
    """Log a WARNING where a variable asks for OTLP and the providers should be set by now, and are not."""
    if asked_by and _ZERO_CODE in sys.modules and real_provider(provider) is None:
        _log.warning(_NO_PROVIDER, asked_by)
