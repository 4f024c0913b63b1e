"""The callbacks by which a pool says that a report may be needed: a caller waits, its time is up, a connection is lost.

By default they do nothing. Beside them is the callback for acquires that were slow or failed; a pool has one only where
slow waits are traced. Nothing here may know what a report is, or what a callback does with an acquire.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from pool_exporter.state.connection import Place
from pool_exporter.state.unit_uses import Unit


class Leak(NamedTuple):
    """A use whose connection the application dropped and the garbage collector returned.

    Attributes:
        owner_name: The name of the task, greenlet or thread that checked it out.
        unit: The unit of work that did.
        place: Where in the application it did.
        use_ns: How long it was used, in nanoseconds.
    """

    owner_name: str
    unit: Unit | None
    place: Place
    use_ns: int


class Orphan(NamedTuple):
    """A use that goes on and that no code is known to end.

    Attributes:
        owner_name: The name of the task, greenlet or thread that checked out; "" where it is not known any more.
        unit: The unit of work that did.
        place: Where in the application it did.
        use_ns: How long it has been used, in nanoseconds.
        use: A number of its connection, and when the use began: no other use has both.
    """

    owner_name: str
    unit: Unit | None
    place: Place
    use_ns: int
    use: tuple[int, int]


class ReportHooks:
    """Does nothing; the watchdog's hooks take its place. No method may raise."""

    def on_wait(self, token: int) -> None:
        """Note that a caller begins to wait because no place is left; *token* is its key in the state's `waiting`."""

    def on_timeout(self, token: int, error: BaseException) -> None:
        """Note that the time of a caller is up; it still waits, and gets *error* afterwards."""

    def on_leak(self, leak: Leak) -> None:
        """Note a leak. Called in a garbage collection: it may not take a lock, log, or run code of the application."""

    def on_orphans(self, orphans: Sequence[Orphan]) -> None:
        """Note all orphans that there are; called at each refresh."""

    def on_open_failed(self, error: BaseException) -> None:
        """Note that a connection could not be opened, or that an interrupt came meanwhile."""

    def on_opened(self) -> None:
        """Note that a connection was opened."""


NO_REPORTS = ReportHooks()

OnSlowAcquire: TypeAlias = Callable[[int, str | None, BaseException | None], None]
"""Its arguments: the wait in nanoseconds; for a failed acquire also one of `ERROR_TYPES`, and the exception."""


class SlowAcquireHook:
    """The callback of one pool, and the wait from which on a successful acquire is passed to it.

    Every failed acquire is passed to it too. The hooks report an exception that it raises; no caller gets it.
    """

    __slots__ = ("on_slow_acquire", "threshold_ns")

    def __init__(self, threshold_ns: int, on_slow_acquire: OnSlowAcquire) -> None:
        #: In nanoseconds; the caller has checked it.
        self.threshold_ns = threshold_ns
        self.on_slow_acquire = on_slow_acquire
