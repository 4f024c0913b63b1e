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

from typing import Final

from pool_exporter.catalog import BOUNDS_SECONDS, CLOSE_REASONS, ERROR_TYPES, INVALIDATIONS, PEAK_SECONDS

SECOND: Final = 1_000_000_000
"""Nanoseconds in a second."""

BOUNDS_NS: Final = tuple(round(bound * SECOND) for bound in BOUNDS_SECONDS)
FIRST_BOUND_NS: Final = BOUNDS_NS[0]
BUCKETS: Final = len(BOUNDS_NS) + 1

WINDOW_NS: Final = 5 * SECOND
WINDOWS: Final = PEAK_SECONDS * SECOND // WINDOW_NS

ROWS: Final = 32

_single = range(20)
(
    ORIGIN,
    OPEN,
    USES,
    USES_SINCE,
    ASKS,
    ASKS_SINCE,
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
USE_ROW: Final = USE_SUM + 1
ASK_ROW: Final = USE_ROW + ROWS
SERVER_ROW: Final = ASK_ROW + ROWS
OWNER_ROW: Final = SERVER_ROW + ROWS
OWNER_WORDS: Final = 2
WORDS: Final = OWNER_ROW + ROWS * OWNER_WORDS
"""What belongs to a row of USE_ROW stands at the same place in these: the number by which the database server knows the
connection (0: the driver does not tell), and the first 16 bytes of its owner's name, written when a look finds it."""

USE_ROWS: Final = tuple(range(USE_ROW + ROWS - 1, USE_ROW - 1, -1))
ASK_ROWS: Final = tuple(range(ASK_ROW + ROWS - 1, ASK_ROW - 1, -1))
"""The rows, the one to be taken first at the end."""

CLOSE_AT: Final = {reason: CLOSES + i for i, reason in enumerate(CLOSE_REASONS.values)}
FAILURE_AT: Final = {error_type: FAILURES + i for i, error_type in enumerate(ERROR_TYPES.values)}
INVALIDATION_AT: Final = {kind: INVALIDATED + i for i, kind in enumerate(INVALIDATIONS.values)}
"""Where each value of a closed label set is counted."""
