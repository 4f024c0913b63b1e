"""The numbers from which a verdict is made: everything that the rules in `verdict` read, and nothing else.

The defaults are those of a pool that is not in use. All times are in seconds. Nothing here may decide a verdict.
"""

from math import inf
from typing import Final, NamedTuple

FAILED_OPENS_MIN: Final = 3
"""After so many failed attempts to open a connection, a server counts as full or down."""
MANY_POOLS: Final = 5
"""With so many new pools a minute, one failure at a full server is enough: each pool may have failed only once."""
LATE_SHARE: Final = 0.5
"""An event loop that is behind for at least this part of the time counts as blocked."""
HELD_FOR_LONG_SECONDS: Final = 0.25
"""From this mean age of the holders in the application's own code on, these hold their connections for long."""


def look_seconds(timeout_seconds: float) -> float:
    """Return how long a caller of a pool with this timeout waits before the wait counts, in seconds."""
    return min(1.0, timeout_seconds / 4)


class Evidence(NamedTuple):
    """One pool at one moment, in numbers.

    Attributes:
        limit: Most connections that the pool may have, lost places included; negative without a limit.
        used: Connections that are checked out.
        n_long: Connections of units that were declared long: they are in no other number, `limit` included.
        pending: Callers that wait because no place is left.
        is_async: Whether it is a pool of asyncio.
        timeout_seconds: The pool's timeout.
        at_timeout: Whether a caller has just timed out.
        wait_seconds: How long that caller has waited; else how long the oldest waiter has.
        oldest_wait_seconds: How long the oldest waiter has waited, 0 without one.
        is_stuck: Whether nothing was granted for at least half of the wait; at the watchdog, between its two looks.
        seconds_since_timeout: Since the last timeout; infinite without one.
        n_fresh: Holders that are not lost, do not execute, and are within the usual use time; all of them, if each one
            would go on as soon as its event loop runs.
        n_lost: Orphans, and holders on a thread that waits for other work, older than 0.1 s.
        n_self: Holders that wait for this pool themselves, older than 0.1 s.
        n_db: Holders that execute in the database.
        n_locked: Of those, the ones that wait for a lock at the server: 0 in a process, which asks no server.
        n_app: Holders that are in the application's own code.
        app_seconds: For how long these have had their connections, on average; 0 without one.
        n_waiting_with: Waiters that have a connection of this pool already, by their unit or without one their owner.
        n_known: Holders with a known activity.
        loop_waits: Whether a caller waits on the thread of a running event loop for a pool that is not async.
        is_loop_unanswered: Whether a no-op posted to a waiter's loop at the first look has not run at the second.
        loop_late_share: For what part of the time between the looks the loop was 50 ms or more behind; 0 if it runs in
            time by now.
        loop_late_seconds: By how much it was behind then, on average.
        failed_opens: The last attempts to open a connection at the server that failed, without one that succeeded.
        is_server_full: Whether the last of these failed because the server has no connection left.
        open_error: The first line of that failure's message, without a password.
        pools_made: Pools for that server that were made within the last minute.
        opening: Connections of this pool that are being opened.
        lost_places: Places that SQLAlchemy counts as checked out and no connection occupies.
        is_limiter_blocked: Whether tasks wait in anyio's limiter and all of anyio's threads wait for this pool.
        arrivals_per_second: Attempts to get a connection, lately.
        mean_use_seconds: How long a use that has ended lately took, 0 without one.
        long_arrivals_per_second: The attempts before that, while the pool was not full; 0 if that is unknown.
        long_mean_use_seconds: The use time then, 0 if that is unknown.
    """

    limit: int = 1
    used: int = 0
    n_long: int = 0
    pending: int = 0
    is_async: bool = False
    timeout_seconds: float = 30.0
    at_timeout: bool = False
    wait_seconds: float = 0.0
    oldest_wait_seconds: float = 0.0
    is_stuck: bool = False
    seconds_since_timeout: float = inf
    n_fresh: int = 0
    n_lost: int = 0
    n_self: int = 0
    n_db: int = 0
    n_locked: int = 0
    n_app: int = 0
    app_seconds: float = 0.0
    n_waiting_with: int = 0
    n_known: int = 0
    loop_waits: bool = False
    is_loop_unanswered: bool = False
    loop_late_share: float = 0.0
    loop_late_seconds: float = 0.0
    failed_opens: int = 0
    is_server_full: bool = False
    open_error: str = ""
    pools_made: int = 0
    opening: int = 0
    lost_places: int = 0
    is_limiter_blocked: bool = False
    arrivals_per_second: float = 0.0
    mean_use_seconds: float = 0.0
    long_arrivals_per_second: float = 0.0
    long_mean_use_seconds: float = 0.0

    @property
    def is_waited_for(self) -> bool:
        """Whether a caller timed out, or the oldest waiter has waited for 1 s or a quarter of the timeout."""
        is_long = self.oldest_wait_seconds >= look_seconds(self.timeout_seconds)
        return self.at_timeout or (self.pending > 0 and is_long)

    @property
    def load(self) -> float:
        """The connections that the returned uses need, on average: arrivals times mean use (Erlangs)."""
        return self.arrivals_per_second * self.mean_use_seconds

    @property
    def is_late(self) -> bool:
        """Whether a timeout came late, by 0.5 s or 5 %, while no caller got a connection: something was blocked."""
        over = self.wait_seconds - self.timeout_seconds
        return self.at_timeout and self.is_stuck and over >= max(0.5, 0.05 * self.timeout_seconds)

    @property
    def is_loop_late(self) -> bool:
        """Whether the event loop was behind for half of the time, by a twentieth of a use or more."""
        return self.loop_late_share >= LATE_SHARE and self.loop_late_seconds >= self.mean_use_seconds / 20

    @property
    def is_use_normal(self) -> bool:
        """Whether a use takes less than three times what it took before; under 1 s where that is unknown."""
        before = self.long_mean_use_seconds
        return self.mean_use_seconds < (3 * before if before else 1.0)

    @property
    def is_turning_over(self) -> bool:
        """Whether callers wait while connections are returned after a normal use and granted again."""
        return self.is_waited_for and not self.is_stuck and self.is_use_normal

    @property
    def is_burst(self) -> bool:
        """Whether at least twice as many callers arrive as before."""
        before = self.long_arrivals_per_second
        return before > 0 and self.arrivals_per_second >= 2 * before

    @property
    def are_opens_failing(self) -> bool:
        """Whether no connection can be opened: three failures, or one if many pools connect to a full server."""
        are_many = self.is_server_full and self.pools_made >= MANY_POOLS
        return self.failed_opens >= (1 if are_many else FAILED_OPENS_MIN)
