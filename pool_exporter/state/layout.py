"""The slots of one pool: which value is where, and the protocol by which one process writes and others read them.

A slot is one signed 64-bit integer. `TABLE` declares every value that a pool keeps, in the order of the slots. Rules:

- A new counter is one row here, its metric in `metrics.pool_metrics` and its store in `pool_state`: the rest follows.
- A row may be inserted anywhere, because readers of another version find a value by its key.
- A key must never change.
- Each number of a pool that a metric shows is in slots. The state machine has some in attributes too, which it reads
  faster. Only what units of work use is elsewhere: in `unit_uses`, and in the file as `workers.unit_table` says.

What can be derived has no slot of its own:

- used and pending are the numbers of taken slots in CHECKOUT_TIMES and PENDING_TIMES plus the untracked ones;
  idle = OPEN_COUNT - used.
- A histogram's count is the sum of its buckets.
- checkouts = waits - timeouts, because the wait histogram holds just the successful and the timed-out acquires.
- An integral over time = what has ended + level x now - the sum of the start times. With integer nanoseconds nothing
  drifts, and a reader completes the integral with its own clock while the writer does nothing.

Times are nanoseconds of the monotonic clock since ORIGIN, which is a time of the same clock shortly before the pool was
instrumented, so that no time is 0. Counting from there keeps sums of times inside 63 bits for 292 years of waiting.

A pool has `TRACKED_MAX` slots for checkouts and as many for pending callers: 0, or the time at which it began. A
checkout or caller that finds none free is untracked: it is counted in UNTRACKED_*, and its start time is added to
UNTRACKED_*_SINCE. Of the ages of untracked checkouts only the oldest is kept, in OLDEST.

Peaks: USED_PEAK and PENDING_PEAK belong to the window numbered WINDOW (a window is `WINDOW_NS` long, number 0 begins at
0). USED_PEAKS and PENDING_PEAKS keep the `WINDOWS` windows before it.

The protocol
------------
One process writes, any number of processes read, and no lock is taken between them. This is the protocol for slots;
that of the file around them is in `workers.file_format`.

- *Within the process* the GIL makes each step of a transition of `pool_state` indivisible. Between its first and its
  last store there is no call and no loop, at which CPython may hand the GIL to another thread. Nothing is allocated in
  between that may start the garbage collector. Free-threaded builds, and Python code on CPython 3.10, take a lock
  (`locked_pool_state`). Only the windows of the peaks are written in a loop: two threads may do so at once, and a peak
  is then that of either.
- *A store* into the mapped file assigns to an item of a memoryview of `SLOT_FORMAT`, which CPython copies as one 8-byte
  value. Slots are aligned to 8 bytes, and x86-64 and arm64 make aligned 64-bit loads and stores indivisible: a reader
  sees the old or the new number. On 32-bit processors it may see half of each: nothing here makes up for that.
- *Order*: on x86-64 other processors see stores in the order in which they were made. On arm64 they may see a later
  store before an earlier one, and Python has no barrier to prevent it. So each slot must make sense alone, and a reader
  may conclude nothing about one slot from another: two slots may belong to different moments on every platform.
- *A reader* copies the slots with `pread` until two copies are equal, and gives up after some attempts
  (`workers.file_reader`). Equal copies also rule out a number that changed while the kernel copied it. What a reader
  sees between two stores of one transition is off by one use or wait. The writer counts what has ended before it
  releases its slot, and readers keep integrals from falling, so no counter falls.
- *Byte order*: Files are little-endian; a big-endian machine keeps its pools in memory.
"""

from bisect import bisect_left
from collections.abc import MutableSequence
from struct import calcsize
from typing import Final, TypeAlias

from pool_exporter.metrics.pool_metrics import (
    BOUNDS_SECONDS,
    BUCKETS,
    CLOSE_REASONS,
    ERROR_TYPES,
    EXHAUSTION_VERDICTS,
    INVALIDATIONS,
    PEAK_SECONDS,
    PEAK_WINDOWS,
)
from pool_exporter.state.slot_table import Merge, Shape, SlotTable

SLOT_FORMAT: Final = "l" if calcsize("l") == 8 else "q"  # noqa: PLR2004  # bytes of a slot
"""A slot's type, for `array` and `memoryview`: some builds of CPython store C's long faster than its long long."""

SECOND: Final = 1_000_000_000
"""Nanoseconds in a second."""

BOUNDS_NS: Final = tuple(round(bound * SECOND) for bound in BOUNDS_SECONDS)
FIRST_NS: Final = BOUNDS_NS[0]
UPPER_NS: Final = (*BOUNDS_NS, (1 << 63) - 1)
"""The upper bound of each bucket; of the last one, the greatest number that a slot can have."""
BUCKET: Final = tuple(bisect_left(BOUNDS_NS, 1 << bits >> 1) for bits in range(66))
"""By the number of bits of a duration: the first bucket for it. It belongs there or, if it is above the bucket's upper
bound, into the next one, because no two bounds have equally many bits. This costs half of a bisection."""
BOUND: Final = tuple(UPPER_NS[bucket] for bucket in BUCKET)
"""By the same number: the upper bound of that bucket."""

WINDOWS: Final = PEAK_WINDOWS
WINDOW_NS: Final = PEAK_SECONDS * SECOND // WINDOWS

TRACKED_MAX: Final = 32
"""Tracked checkouts of a pool, and tracked pending callers."""

OWNER_NAME_SLOTS: Final = 2
"""Slots of an owner's name: its first 16 bytes."""

TABLE: Final = SlotTable(TRACKED_MAX)

ORIGIN: Final = TABLE.computed("origin")
OPEN_COUNT: Final = TABLE.gauge("open")
UNTRACKED_CHECKOUTS: Final = TABLE.gauge("uses")
UNTRACKED_CHECKOUTS_SINCE: Final = TABLE.gauge("uses_since")
"""Sum of the times at which the untracked checkouts began."""
UNTRACKED_PENDING: Final = TABLE.gauge("asks")
UNTRACKED_PENDING_SINCE: Final = TABLE.gauge("asks_since")
"""Sum of the times at which the untracked pending callers began to wait."""
SATURATED: Final = TABLE.counter("saturated", is_shown=False)
"""Nanoseconds in which the pool was saturated; a saturation that has not ended is not in them."""
SATURATED_SINCE: Final = TABLE.computed("saturated_since")
"""The time at which the pool was last saturated."""
CONNECTS: Final = TABLE.counter("connects")
LEAKED: Final = TABLE.counter("leaked")
DETACHED_COUNT: Final = TABLE.gauge("detached")
LIMIT: Final = TABLE.computed("limit", is_signed=True)
"""The number of used connections at which the pool is saturated; -1 when there is none."""
WINDOW: Final = TABLE.computed("window")
USED_PEAK: Final = TABLE.computed("used_peak")
PENDING_PEAK: Final = TABLE.computed("pending_peak")
ORPHANED: Final = TABLE.gauge("orphaned")
DRIFT: Final = TABLE.gauge("drift", is_signed=True)
LOST: Final = TABLE.gauge("lost_places")
FAILED_NS: Final = TABLE.counter("failed_ns", is_shown=False)
"""Nanoseconds that callers were pending before a failure other than a timeout."""
LOST_NS: Final = TABLE.counter("lost_ns", is_shown=False)
"""Nanoseconds of uses that ended with their process."""
OLDEST: Final = TABLE.computed("oldest")
"""The time at which the oldest untracked checkout began, as of the last refresh; 0 when there was none."""
INSTRUMENTED: Final = TABLE.counter("instrumented", is_shown=False)
"""How many pools have counted in these slots, one after another."""
FAILURES: Final = TABLE.labelled_counter("failures", ERROR_TYPES, "acquire_failures")
CLOSES: Final = TABLE.labelled_counter("closes", CLOSE_REASONS, "closes")
INVALIDATED: Final = TABLE.labelled_counter("invalidated", INVALIDATIONS, "invalidations")
EXHAUSTIONS: Final = TABLE.labelled_counter("exhaustions", EXHAUSTION_VERDICTS, "exhaustions")
NESTED: Final = TABLE.counter("nested_acquires")
USED_PEAKS: Final = TABLE.peaks("used_peaks")
PENDING_PEAKS: Final = TABLE.peaks("pending_peaks")
WAIT: Final = TABLE.histogram("wait")
CREATE: Final = TABLE.histogram("create")
USE: Final = TABLE.histogram("use")
CHECKOUT_TIMES: Final = TABLE.tracked("use_row")
"""Tracked checkouts come last: `aggregate` adds up only what is before them."""
PENDING_TIMES: Final = TABLE.tracked("ask_row")
SERVER_PIDS: Final = TABLE.tracked("backend_row")
"""The number by which the database server knows a connection, and when this process opened it (checkout_details.py).
A connection has its index from its opening to its close; while it is idle, the time of that index in CHECKOUT_TIMES is
0."""
OWNER_NAMES: Final = TABLE.owner_names("owner_row", OWNER_NAME_SLOTS)
"""Of the checkout with the same index: the first bytes of its owner's name, as of the last refresh."""

SLOT_COUNT: Final = TABLE.slot_count
WAIT_SUM: Final = WAIT + BUCKETS
CREATE_SUM: Final = CREATE + BUCKETS
USE_SUM: Final = USE + BUCKETS

COUNTER_SLOTS: Final = TABLE.slots_of({Merge.COUNTER})
"""The slots with numbers that never fall."""
SIGNED_SLOTS: Final = frozenset(field.start for field in TABLE.fields if field.is_signed)
"""The slots in which a number below 0 is possible."""

CHECKOUT_SLOTS: Final = tuple(range(CHECKOUT_TIMES + TRACKED_MAX - 1, CHECKOUT_TIMES - 1, -1))
PENDING_SLOTS: Final = tuple(range(PENDING_TIMES + TRACKED_MAX - 1, PENDING_TIMES - 1, -1))
"""The slots of tracked checkouts and callers; the last of the tuple is taken first."""


def _slots_by_value(start: int) -> dict[str, int]:
    (field,) = (field for field in TABLE.fields if field.start == start and field.shape is Shape.LABELLED)
    return dict(zip(field.values, field.slots, strict=True))


CLOSE_AT: Final = _slots_by_value(CLOSES)
FAILURE_AT: Final = _slots_by_value(FAILURES)
INVALIDATION_AT: Final = _slots_by_value(INVALIDATED)
EXHAUSTION_AT: Final = _slots_by_value(EXHAUSTIONS)
"""The slot of each value of a closed label set."""

Slots: TypeAlias = MutableSequence[int]
"""The `SLOT_COUNT` slots of one pool."""
