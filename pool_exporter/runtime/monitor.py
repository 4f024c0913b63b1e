"""`Monitor`: what `instrument()` returns, for a pool that is measured and for one that is not.

This is the interface that applications use. Nothing here may know hooks, slots or a registry: `pool_monitor`,
`degraded` and `ended_pools` have the classes that implement it.
"""

from abc import abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from typing_extensions import Self

from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import AnyPoolSnapshot

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


@runtime_checkable
class Monitor(Protocol):
    """One instrumented pool: an engine's, through all pools that `dispose()` replaces it by, or one without an engine.

    It is a context manager, which closes it. Dropping it changes nothing: the pool stays instrumented.

    Attributes:
        identity: The pool's name, service and database, the labels of its series.
        config: The pool's configured sizes.

    Example:
        >>> with instrument(engine, name="orders") as monitor:
        ...     print(monitor.snapshot().used)
    """

    identity: PoolIdentity
    config: PoolConfig

    @abstractmethod
    def snapshot(self) -> AnyPoolSnapshot:
        """Return the pool's numbers now.

        Returns:
            A frozen snapshot, durations in seconds. From a closed monitor, that of the moment when it was closed. Where
                the installed SQLAlchemy is not supported, a `DegradedPoolSnapshot`.
        """

    @abstractmethod
    def diagnose(self) -> Diagnosis:
        """Return what holds the pool's connections now, what waits for one, why, and what to do.

        Returns:
            A frozen diagnosis; `str()` of it is a screen for an operator. It quotes the automatic diagnosis of the last
                minute, with its verdict and its time, while no caller waits or where less is found now. It is not added
                to `diagnoses`. Without an examination, as of a pool that has ended, the verdict is `unknown`.
        """

    @property
    @abstractmethod
    def diagnoses(self) -> tuple[Diagnosis, ...]:
        """The last five diagnoses made because callers waited, timed out or got no connection, oldest first."""

    @abstractmethod
    def trace_waits(self, seconds: float, tracer_provider: "TracerProvider | None" = None) -> None:
        """Make a span of each acquire that takes *seconds* or longer, or fails; see `instrument()`.

        Args:
            seconds: From how many seconds on an acquire is slow.
            tracer_provider: Where the spans go; by default the global one.

        Raises:
            TypeError: *seconds* is no number, or *tracer_provider* is no TracerProvider.
            ValueError: *seconds* is negative, infinite or not a number.
            ImportError: OpenTelemetry is not installed.
        """

    @abstractmethod
    def close(self) -> None:
        """Uninstrument the pool and end its series. Closing the last one restores SQLAlchemy's methods.

        Closing twice does nothing.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
