"""Why a pool is exhausted: one of a closed set of verdicts, a pure function of the evidence.

The first rule that holds decides. Each rule is written in terms of `Evidence`; the test evaluates this table:

    #  | verdict          | rule
    1  | leak             | is_waited_for and n_lost >= 1 and n_lost >= used >= limit
    2  | loop_waits       | is_waited_for and loop_waits and n_fresh >= 1
    3  | loop_blocked     | is_waited_for and is_async and (n_fresh >= 1 or opening >= 1) and not are_opens_failing
                            and (is_loop_unanswered or is_loop_late or is_late)
    4  | server_full      | are_opens_failing and is_server_full
    5  | server_down      | are_opens_failing
    6  | lost_places      | is_waited_for and is_stuck and used < limit and opening == 0 and lost_places >= 1
    7  | opening          | is_waited_for and used < limit and opening >= 1
    8  | threads_deadlock | is_waited_for and is_limiter_blocked
    9  | self_deadlock    | is_waited_for and n_self >= 1 and n_self + n_lost >= used
    10 | leak             | n_lost >= 1 and (n_lost >= used or n_lost >= max(1, limit / 4) and load <= 0.8 * limit)
    11 | healthy          | not is_waited_for and seconds_since_timeout > 60
    12 | starved          | not is_async and is_late
    13 | held_in_own_code | is_waited_for and n_app > max(n_db, used / 2) and app_seconds >= 0.25
    14 | burst            | is_turning_over and is_burst
    15 | too_small        | is_turning_over
    16 | locks            | is_waited_for and n_db >= max(1, n_app) and 2 * n_locked >= n_db
    17 | slow_queries     | is_waited_for and n_db >= max(1, n_app)
    18 | held_in_own_code | is_waited_for and n_app > n_db and 2 * n_known >= used
    19 | unknown          | True

What most holders do now comes before the rates, which give `burst` and `too_small`: code that keeps its
connections for long while it does something else exhausts a pool of any size, also where that has become usual. What
holds a few connections while no caller waits is not why an earlier caller timed out. `unknown` is better than a guess.

Nothing here may read a pool, a frame or a clock.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from pool_exporter.diagnosis.evidence import HELD_FOR_LONG_SECONDS, Evidence
from pool_exporter.metrics.holders import UNKNOWN

HEALTHY: Final = "healthy"
"""The verdict on a pool for which no caller waits, or has waited in vain lately."""

Rule: TypeAlias = Callable[[Evidence], bool]

EPISODE_SECONDS: Final = 60
"""How long a timeout counts as a sign of a fault, and how long a report counts."""


def verdict(evidence: Evidence) -> str:
    """Return the verdict of the first rule that holds: one of `VERDICTS`."""
    return next(name for name, rule in RULES if rule(evidence))


def _all_lost(e: Evidence) -> bool:
    return e.is_waited_for and e.n_lost >= 1 and e.n_lost >= e.used >= e.limit


def _loop_waits(e: Evidence) -> bool:
    return e.is_waited_for and e.loop_waits and e.n_fresh >= 1


def _loop_blocked(e: Evidence) -> bool:
    is_blocked = e.is_loop_unanswered or e.is_loop_late or e.is_late
    is_served = (e.n_fresh >= 1 or e.opening >= 1) and not e.are_opens_failing
    return e.is_waited_for and e.is_async and is_served and is_blocked


def _server_full(e: Evidence) -> bool:
    return e.are_opens_failing and e.is_server_full


def _server_down(e: Evidence) -> bool:
    return e.are_opens_failing


def _lost_places(e: Evidence) -> bool:
    is_room_left = e.used < e.limit and e.opening == 0
    return e.is_waited_for and e.is_stuck and is_room_left and e.lost_places >= 1


def _opening(e: Evidence) -> bool:
    return e.is_waited_for and e.used < e.limit and e.opening >= 1


def _threads_deadlock(e: Evidence) -> bool:
    return e.is_waited_for and e.is_limiter_blocked


def _self_deadlock(e: Evidence) -> bool:
    return e.is_waited_for and e.n_self >= 1 and e.n_self + e.n_lost >= e.used


def _leak(e: Evidence) -> bool:
    fits_without = e.n_lost >= max(1, e.limit / 4) and e.load <= 0.8 * e.limit
    return e.n_lost >= 1 and (e.n_lost >= e.used or fits_without)


def _healthy(e: Evidence) -> bool:
    return not e.is_waited_for and e.seconds_since_timeout > EPISODE_SECONDS


def _starved(e: Evidence) -> bool:
    return not e.is_async and e.is_late


def _held_for_long(e: Evidence) -> bool:
    return e.is_waited_for and e.n_app > max(e.n_db, e.used / 2) and e.app_seconds >= HELD_FOR_LONG_SECONDS


def _burst(e: Evidence) -> bool:
    return e.is_turning_over and e.is_burst


def _too_small(e: Evidence) -> bool:
    return e.is_turning_over


def _locks(e: Evidence) -> bool:
    return _slow_queries(e) and 2 * e.n_locked >= e.n_db


def _slow_queries(e: Evidence) -> bool:
    return e.is_waited_for and e.n_db >= max(1, e.n_app)


def _held_in_own_code(e: Evidence) -> bool:
    return e.is_waited_for and e.n_app > e.n_db and 2 * e.n_known >= e.used


def _unknown(_: Evidence) -> bool:
    return True


RULES: Final[tuple[tuple[str, Rule], ...]] = (
    ("leak", _all_lost),
    ("loop_waits", _loop_waits),
    ("loop_blocked", _loop_blocked),
    ("server_full", _server_full),
    ("server_down", _server_down),
    ("lost_places", _lost_places),
    ("opening", _opening),
    ("threads_deadlock", _threads_deadlock),
    ("self_deadlock", _self_deadlock),
    ("leak", _leak),
    (HEALTHY, _healthy),
    ("starved", _starved),
    ("held_in_own_code", _held_for_long),
    ("burst", _burst),
    ("too_small", _too_small),
    ("locks", _locks),
    ("slow_queries", _slow_queries),
    ("held_in_own_code", _held_in_own_code),
    (UNKNOWN, _unknown),
)
"""The verdict of each rule, in the order of the table."""

VERDICTS: Final = tuple(dict.fromkeys(name for name, _ in RULES))
"""All verdicts, in the order of the table."""
