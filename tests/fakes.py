"""Fakes of what a unit test must control; each has tests in test_fakes.py.

No fake of SQLAlchemy, a driver or a server may be here: those are real in every test.
"""


class FakeClock:
    """A monotonic clock in integer nanoseconds that stands still until a test moves it.

    Call it to read it, as one calls `time.monotonic_ns`.
    """

    def __init__(self, now: int = 0) -> None:
        self._now = now

    def __call__(self) -> int:
        """Return the time in nanoseconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward by *seconds*, rounded to whole nanoseconds; ValueError if that is backward."""
        self.advance_ns(round(seconds * 1_000_000_000))

    def advance_ns(self, nanoseconds: int) -> None:
        """Move forward by *nanoseconds*; ValueError if that is backward."""
        if nanoseconds < 0:
            raise ValueError(f"a monotonic clock cannot go back, got {nanoseconds} ns")
        self._now += nanoseconds
