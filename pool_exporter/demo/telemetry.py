"""Pushes the demo's metrics to an OpenTelemetry collector by a MeterProvider, as a service does.

OpenTelemetry is imported only when there is an endpoint.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from pool_exporter import instrument
from pool_exporter.otel.otlp_options import push_target

INTERVAL_SECONDS: Final = 2.0
STOP_SECONDS_MAX: Final = 2.0


@asynccontextmanager
async def pushed(engine: AsyncEngine, endpoint: str | None, environ: Mapping[str, str]) -> AsyncIterator[None]:
    """Push the metrics of the engine's pool for the time of the block; do nothing without an *endpoint*.

    Of *environ* it takes OpenTelemetry's variables.

    Raises:
        SettingsError: The endpoint is not a URL, or a package of the extra `otel` is missing.
    """
    if endpoint is None:
        yield
        return
    target = push_target(environ, endpoint)
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    reader = PeriodicExportingMetricReader(target.exporter, INTERVAL_SECONDS * 1000)
    provider = MeterProvider([reader], target.resource, shutdown_on_exit=False)
    instrument(engine, meter_provider=provider)
    try:
        yield
    finally:
        # It pushes a last time, which a missing collector must not delay.
        await asyncio.to_thread(provider.shutdown, STOP_SECONDS_MAX * 1000)
