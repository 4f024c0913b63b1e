"""What the machines draw: shapes of pools that behave differently, durations, and which connection is meant."""

from dataclasses import dataclass

from hypothesis import strategies as st

SECOND = 1_000_000_000
MILLISECOND = 1_000_000

A_MOMENT = 1_000_003
"""Nanoseconds that pass after each step, so that a level which is wrong is a wrong integral at once."""

RECYCLE_SECONDS = 3600
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Shape:
    """How a pool is set up, and what else is attached to it."""

    size: int
    max_overflow: int
    is_lifo: bool
    has_pre_ping: bool
    has_recycle: bool
    #: Connections that were opened before the pool was instrumented, and how many of them were in use then.
    warm: int
    warm_used: int

    @property
    def limit(self) -> int | None:
        """The number of connections at which a caller has to wait, None if there is none."""
        return self.size + self.max_overflow if self.size and self.max_overflow >= 0 else None

    @property
    def recycle(self) -> int:
        """The pool's recycle setting, in seconds."""
        return RECYCLE_SECONDS if self.has_recycle else -1


def shapes() -> st.SearchStrategy[Shape]:
    """Draw small pools, because faults show at the limit; 0 and -1 are no limits."""
    return st.builds(
        Shape,
        size=st.sampled_from([1, 1, 2, 3, 0]),
        max_overflow=st.sampled_from([0, 0, 1, 2, -1]),
        is_lifo=st.booleans(),
        has_pre_ping=st.booleans(),
        has_recycle=st.booleans(),
        warm=st.integers(0, 2),
        warm_used=st.integers(0, 2),
    )


def which() -> st.SearchStrategy[int]:
    """Draw which of several things is meant: the machines take it modulo their number."""
    return st.integers(0, 7)


def durations() -> st.SearchStrategy[int]:
    """Draw nanoseconds: none, a few, those about a bound of a histogram or a window, and minutes."""
    return st.one_of(
        st.sampled_from([0, 1, MILLISECOND, 100 * MILLISECOND, SECOND, 5 * SECOND, 60 * SECOND, 65 * SECOND]),
        st.integers(0, 200 * SECOND),
    )
