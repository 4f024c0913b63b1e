"""The callbacks by which a pool says that a report may be needed: a caller waits, its time is up, a connection is lost.

By default they do nothing. Nothing here may know what a report is.
"""

from collections.abc import Sequence
from typing import NamedTuple

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
