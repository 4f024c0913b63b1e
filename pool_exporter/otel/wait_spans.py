"""Spans of slow waits for a connection, and exemplars that lead from a metric to such a span.

When an acquire was slow or failed, a span `pool.acquire` is created afterwards, as a child of the caller's current
span; without a sampled trace there is none. Its kind is INTERNAL: a wait for the pool is no call to the database. No
attribute has an exception's message, which may contain anything. Nothing here may run in a fast acquire.
"""

from time import time_ns
from typing import Final, Protocol
from weakref import ref

from opentelemetry import context, trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.trace import SpanContext, StatusCode, TracerProvider

from pool_exporter.environment import wait_threshold_ns
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.parts import VERDICT
from pool_exporter.metrics.pool_snapshot import Exemplar, Histogram
from pool_exporter.otel.points import SCHEMA_URL, SCOPE, attributes_of
from pool_exporter.state import layout
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.report_hooks import SlowAcquireHook
from pool_exporter.version import build

NAME: Final = "pool.acquire"
USED: Final = "sqlalchemy.pool.connections.used"
PENDING: Final = "sqlalchemy.pool.requests.pending"
"""Numbers when the acquire ended; the metrics with similar names are seconds."""
ERROR_TYPE: Final = "error.type"
TIMEOUT: Final = "timeout"

SPAN_ATTRIBUTES: Final = {
    USED: ("int", "connections that were checked out when the acquire ended"),
    PENDING: ("int", "callers that waited then"),
    ERROR_TYPE: ("string", "the class of the exception, where the acquire failed"),
    VERDICT: ("string", "the verdict of the report, where the acquire timed out"),
}
"""Each attribute of a span besides those of the pool: its type, and what it is."""

_FAILED: Final = {
    "timeout": "timed out waiting for a connection of the pool",
    "connect": "no connection could be opened",
    "cancelled": "cancelled while waiting for a connection of the pool",
}
"""Descriptions of the status of a failed acquire on which there is no report."""


class TracedMonitor(Protocol):
    """What the spans need of a monitor."""

    identity: PoolIdentity

    def exhaustion(self) -> tuple[str, str]:
        """Return verdict and summary of the last report of the last minute; "" for both without one."""


class WaitSpans:
    """Creates the spans of one pool's slow waits, and keeps an exemplar of the last one in each bucket.

    Monitor and state are held weakly, because both hold this object.
    """

    def __init__(
        self,
        monitor: TracedMonitor,
        state: PoolState,
        seconds: float,
        tracer_provider: TracerProvider | None = None,
        exemplar_filter: str = "",
    ) -> None:
        """Create a span for each wait of *seconds* or longer.

        *exemplar_filter* says which of these waits become exemplars; by default those with a span, in a sampled trace.

        Raises:
            ValueError: *seconds* is negative, infinite or not a number.
        """
        self._threshold = wait_threshold_ns(seconds)
        self._exemplar_filter = exemplar_filter
        self._monitor = ref(monitor)
        self._exemplars: dict[int, Exemplar] = {}
        self._tracer = trace.get_tracer(SCOPE, build()["version"], tracer_provider, SCHEMA_URL)
        self.restart_after_fork(state)

    def restart_after_fork(self, state: PoolState) -> None:
        """Use the state of a forked child, and drop the parent's exemplars."""
        self._state = ref(state)
        self._exemplars.clear()
        state.slow_acquire = SlowAcquireHook(self._threshold, self.on_slow_acquire)

    def on_slow_acquire(self, wait: int, error_type: str | None, error: BaseException | None) -> None:
        """Make a span of a wait of so many nanoseconds that ended just now, with *error* if it failed.

        Raises:
            Exception: A processor of the application's has failed; the hooks report it.
        """
        if context.get_value(_SUPPRESS_INSTRUMENTATION_KEY):
            return
        caller, now = trace.get_current_span().get_span_context(), time_ns()
        is_traced = caller.is_valid and caller.trace_flags.sampled
        span = self._span(wait, now, error_type, error) if is_traced else None
        # The histogram has only waits that got a connection or timed out.
        if error_type in (None, TIMEOUT):
            self._keep(wait, now, caller if span is None else span)

    def _span(self, wait: int, now: int, error_type: str | None, error: BaseException | None) -> SpanContext | None:
        monitor, state = self._monitor(), self._state()
        if monitor is None or state is None:
            return None
        # In a trace the resource names the service.
        own = {name: of for name, of in attributes_of(monitor.identity).items() if not name.startswith("service.")}
        attributes = {**own, USED: state.used, PENDING: state.pending}
        span = self._tracer.start_span(NAME, attributes=attributes, start_time=now - wait)
        if error is not None:
            verdict, summary = monitor.exhaustion() if error_type == TIMEOUT else ("", "")
            span.set_attribute(ERROR_TYPE, f"{type(error).__module__}.{type(error).__qualname__}")
            span.set_attributes({VERDICT: verdict} if verdict else {})
            span.set_status(StatusCode.ERROR, summary or _FAILED.get(error_type or ""))
        span.end(now)
        return span.get_span_context()

    def _keep(self, wait: int, now: int, span: SpanContext) -> None:
        is_wanted = {"always_on": True, "always_off": False}.get(self._exemplar_filter, span.trace_flags.sampled)
        if is_wanted:
            exemplar = Exemplar(wait / layout.SECOND, now, span.trace_id, span.span_id)
            self._exemplars[exemplar.bucket] = exemplar

    def shown(self, waits: Histogram) -> Histogram:
        """Return the histogram of waits with the exemplars."""
        return waits.with_exemplars(self._exemplars.copy().values()) if self._exemplars else waits
