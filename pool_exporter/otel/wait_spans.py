"""Spans and exemplars of slow waits: what a trace of OpenTelemetry shows of a pool, and what leads from a metric to it.

A span `pool.acquire` is made afterwards, when an acquire was slow or failed, as the child of the span that its caller
is in; outside of a sampled trace there is none. It is INTERNAL: a wait for the pool is no call to the database. Its
attributes hold no exception's message, which may hold anything. Nothing here may be on the way of a fast acquire.
"""

from dataclasses import replace
from time import time_ns
from typing import Final, Protocol
from weakref import ref

from opentelemetry import context, trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.trace import SpanContext, StatusCode, TracerProvider

from pool_exporter.hook_errors import guarded
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.snapshot import Exemplar, Histogram
from pool_exporter.otel.points import SCHEMA_URL, SCOPE, attributes_of
from pool_exporter.state import layout
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.slow_acquire import nanoseconds
from pool_exporter.version import build

NAME: Final = "pool.acquire"
USED: Final = "sqlalchemy.pool.connections.used"
PENDING: Final = "sqlalchemy.pool.requests.pending"
"""Numbers when the acquire ended; the metrics `sqlalchemy.pool.used` and `.pending` are seconds."""
ERROR_TYPE: Final = "error.type"
TIMEOUT: Final = "timeout"


class Watched(Protocol):
    """A monitor."""

    identity: PoolIdentity


class WaitSpans:
    """The slow waits of one pool: told as spans, kept as exemplars, the last of each bucket.

    Monitor and state are held weakly, because both hold this.
    """

    def __init__(
        self, monitor: Watched, state: PoolState, seconds: float, tracer_provider: TracerProvider | None = None
    ) -> None:
        """Have every wait told that takes *seconds* or longer. Raises ValueError for what is not a duration."""
        self._threshold = nanoseconds(seconds)
        self._monitor = ref(monitor)
        self._exemplars: dict[int, Exemplar] = {}
        self._tracer = trace.get_tracer(SCOPE, build()["version"], tracer_provider, SCHEMA_URL)
        self.restart_after_fork(state)

    def restart_after_fork(self, state: PoolState) -> None:
        """Go on with another state, as a forked child does: the exemplars are the parent's."""
        self._state = ref(state)
        self._exemplars.clear()
        slow_acquire = state.slow_acquire
        slow_acquire.threshold_ns, slow_acquire.on_slow_acquire = self._threshold, self.on_slow_acquire

    @guarded
    def on_slow_acquire(self, wait: int, error_type: str | None, error: BaseException | None) -> None:
        """Make a span of a wait of so many nanoseconds that ended just now, with *error* if it failed."""
        parent, monitor, state = trace.get_current_span().get_span_context(), self._monitor(), self._state()
        is_wanted = parent.is_valid and parent.trace_flags.sampled
        if not is_wanted or monitor is None or state is None or context.get_value(_SUPPRESS_INSTRUMENTATION_KEY):
            return
        now = time_ns()
        # What a service is called is its resource's to say, in a trace.
        own = {name: of for name, of in attributes_of(monitor.identity).items() if not name.startswith("service.")}
        attributes = {**own, USED: state.used, PENDING: state.pending}
        span = self._tracer.start_span(NAME, attributes=attributes, start_time=now - wait)
        if error is not None:
            span.set_attribute(ERROR_TYPE, f"{type(error).__module__}.{type(error).__qualname__}")
            span.set_status(StatusCode.ERROR)
        span.end(now)
        self._keep(wait, now, error_type, span.get_span_context())

    def _keep(self, wait: int, now: int, error_type: str | None, told: SpanContext) -> None:
        # The histogram of waits holds the granted and the timed-out ones, no others.
        if told.trace_flags.sampled and error_type in (None, TIMEOUT):
            exemplar = Exemplar(wait / layout.SECOND, now, told.trace_id, told.span_id)
            self._exemplars[exemplar.bucket] = exemplar

    def shown(self, waits: Histogram) -> Histogram:
        """Return the histogram of waits with the exemplars."""
        return replace(waits, exemplars=tuple(self._exemplars.copy().values())) if self._exemplars else waits
