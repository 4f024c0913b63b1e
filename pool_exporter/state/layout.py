"""Where each value of one pool stands among its words, derived from the catalogue.

A pool's state is one run of signed 64-bit words (`WORDS` of them). One process writes them, any number may read
them, and no lock is taken, so each word must make sense by itself. No value of a pool may be kept anywhere else
when a reader needs it, and nothing that can be derived from the words has a word of its own:

- a row is one word, 0 or a time: when the use of a connection began (USE_ROW), or when a caller asked (ASK_ROW);
- used and pending = how many rows are taken, and idle = OPEN - used;
- a histogram's count is the sum of its buckets;
- checkouts = waits - timeouts, because the wait histogram holds just the granted and the timed-out ones;
- an integral over time = what has ended + level x now - the sum of the times in the rows. With integer nanoseconds
  nothing drifts, and a reader completes it with its own clock while the writer stands still.

Times are nanoseconds of the monotonic clock since ORIGIN, a time of the same clock shortly before the pool was
first watched, so no time is 0. Counting from there keeps the sums of times inside 63 bits for 292 caller-years.

A pool has `ROWS` rows of either kind. A use or a caller that finds none free is counted in USES and USES_SINCE or in
ASKS and ASKS_SINCE instead, numbers and sums of times; of their ages only the oldest use's is kept, in OLDEST.

Peaks: PENDING_PEAK and USED_PEAK belong to the window numbered WINDOW (a window is `WINDOW_NS` long, number 0 begins
at 0); the two runs *_PEAKS keep the `WINDOWS` windows before it, window n in word n modulo WINDOWS.
"""

from collections.abc import MutableSequence
from typing import Final, TypeAlias

from pool_exporter.metrics.pool_metrics import (
    BOUNDS_SECONDS,
    BUCKETS,
    CLOSE_REASONS,
    ERROR_TYPES,
    INVALIDATIONS,
    PEAK_SECONDS,
)

SECOND: Final = 1_000_000_000
"""Nanoseconds in a second."""

BOUNDS_NS: Final = tuple(round(bound * SECOND) for bound in BOUNDS_SECONDS)
FIRST_BOUND_NS: Final = BOUNDS_NS[0]

WINDOW_NS: Final = 5 * SECOND
WINDOWS: Final = PEAK_SECONDS * SECOND // WINDOW_NS

TRACKED_MAX: Final = 32

_single = range(20)
(
    ORIGIN,
    OPEN,
    UNTRACKED_CHECKOUTS,
    UNTRACKED_CHECKOUTS_SINCE,
    UNTRACKED_PENDING,
    UNTRACKED_PENDING_SINCE,
    SATURATED,
    SATURATED_SINCE,
    CONNECTS,
    LEAKED,
    DETACHED,
    LIMIT,
    WINDOW,
    USED_PEAK,
    PENDING_PEAK,
    ORPHANED,
    DRIFT,
    FAILED_NS,
    LOST_NS,
    OLDEST,
) = _single
"""Single words. USES_SINCE and ASKS_SINCE are sums of times, SATURATED_SINCE is one time. LIMIT is the number of used
connections at which the pool is saturated, -1 when there is none; FAILED_NS is the time that callers spent pending
before a failure other than a timeout, LOST_NS the time of uses that ended with their process; OLDEST is the time of the
oldest use without a row when somebody last looked, 0 when there was none."""

FAILURES: Final = _single.stop
CLOSES: Final = FAILURES + len(ERROR_TYPES.values)
INVALIDATED: Final = CLOSES + len(CLOSE_REASONS.values)
USED_PEAKS: Final = INVALIDATED + len(INVALIDATIONS.values)
PENDING_PEAKS: Final = USED_PEAKS + WINDOWS
WAIT: Final = PENDING_PEAKS + WINDOWS
WAIT_SUM: Final = WAIT + BUCKETS
CREATE: Final = WAIT_SUM + 1
CREATE_SUM: Final = CREATE + BUCKETS
USE: Final = CREATE_SUM + 1
USE_SUM: Final = USE + BUCKETS
CHECKOUT_TIMES: Final = USE_SUM + 1
PENDING_TIMES: Final = CHECKOUT_TIMES + TRACKED_MAX
SERVER_PIDS: Final = PENDING_TIMES + TRACKED_MAX
OWNER_NAMES: Final = SERVER_PIDS + TRACKED_MAX
OWNER_NAME_SLOTS: Final = 2
SLOT_COUNT: Final = OWNER_NAMES + TRACKED_MAX * OWNER_NAME_SLOTS
"""What belongs to a row of USE_ROW stands at the same place in these: the number by which the database server knows the
connection (0: the driver does not tell), and the first 16 bytes of its owner's name, written when a look finds it."""

CHECKOUT_SLOTS: Final = tuple(range(CHECKOUT_TIMES + TRACKED_MAX - 1, CHECKOUT_TIMES - 1, -1))
PENDING_SLOTS: Final = tuple(range(PENDING_TIMES + TRACKED_MAX - 1, PENDING_TIMES - 1, -1))
"""The rows, the one to be taken first at the end."""

CLOSE_AT: Final = {reason: CLOSES + i for i, reason in enumerate(CLOSE_REASONS.values)}
FAILURE_AT: Final = {error_type: FAILURES + i for i, error_type in enumerate(ERROR_TYPES.values)}
INVALIDATION_AT: Final = {kind: INVALIDATED + i for i, kind in enumerate(INVALIDATIONS.values)}
"""Where each value of a closed label set is counted."""

Slots: TypeAlias = MutableSequence[int]
"""`layout.WORDS` numbers, of 63 bits and a sign."""


def new_slots() -> Slots:
    """Return the words of a new pool, all zero, in memory: a list takes half the time of a view."""
    return [0] * SLOT_COUNT
