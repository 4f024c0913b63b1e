"""Why a verdict was given, with its numbers, and where in the application: texts of an `Examination`.

Each function returns sentences for one verdict. Nothing here may decide a verdict or lay out a report.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from math import ceil
from typing import Final, TypeAlias

from pool_exporter.diagnosis.evidence import Evidence
from pool_exporter.diagnosis.examination import Examination
from pool_exporter.diagnosis.texts.holder_groups import kept_place
from pool_exporter.diagnosis.texts.wording import counted, duration, kept, kept_frames
from pool_exporter.diagnosis.values import Culprit
from pool_exporter.diagnosis.verdict import HEALTHY
from pool_exporter.metrics.holders import BETWEEN_FRAMES, EXECUTING, OWN_CODE, UNKNOWN, Holder, Waiter

_WAITS_WITH: Final = (
    " The task or thread of each of {} waiting callers has a connection of this pool already: either the code asks for "
    "a second one (self_deadlock), or did not return that of earlier work (leak). With units a report knows which."
)

Reason: TypeAlias = Callable[[Evidence], str]

_Spot: TypeAlias = tuple[str, Culprit]
"""A place that a verdict points to: its text, and what it is."""
_NO_SPOT: Final[_Spot] = "", Culprit("")

UTILIZATION: Final = 0.8
"""The part of a pool that its load may need."""
PLACES_MAX: Final = 3
"""Most places that a report names."""
TAKEN: Final = "taken at "
"""How a place of checkout begins."""


def situation(found: Examination) -> str:
    """Return how full the pool is, and what waits for it."""
    e = found.evidence
    used = f"{e.used + e.n_long} of {e.limit + e.n_long} connections are used"
    if e.limit < 0:
        used = f"{e.used + e.n_long} connections are used"
    waiting = counted(e.pending, "caller", "waits", "wait")
    stuck = ", none was granted meanwhile" if e.is_stuck else ""
    if e.at_timeout:
        return f"A caller timed out after {duration(e.wait_seconds)}. {used}, {waiting}{stuck}."
    longest = f", the oldest for {duration(e.oldest_wait_seconds)}" if e.pending else ""
    return f"{used}, {waiting}{longest}{stuck}."


def why(name: str, evidence: Evidence) -> str:
    """Return the numbers for which a verdict was given.

    Args:
        name: The verdict.
        evidence: The numbers.
    """
    return _REASONS[name](evidence)


def where(name: str, found: Examination) -> list[_Spot]:
    """Return the places in the application that a verdict points to, the most frequent first, as texts and as values.

    Args:
        name: The verdict.
        found: What was found out about the pool.
    """
    return _PLACES[name](found) if name in _PLACES else []


def _loop(found: Examination) -> list[_Spot]:
    text = f"the event loop's thread is at {kept_frames(found.loop_now)}"
    return [(text, Culprit(found.loop_now[0]))] if found.loop_now else []


def _callers(found: Examination) -> list[_Spot]:
    return _frequent(_asks("callers wait at", waiter) for waiter in found.waiters if waiter.place)


def _both_acquires(found: Examination) -> list[_Spot]:
    second = (_asks("and again at", waiter) for waiter in found.waiters if waiter.place and waiter.holds)
    return _frequent(_taken(holder) for holder in found.holders if holder.place) + _frequent(second)


def _in_own_code(found: Examination) -> list[_Spot]:
    holders = [holder for holder in found.holders if holder.activity == OWN_CODE]
    # Where only a library waits, as for a client's next message, the place of the checkout is the application's.
    return _frequent(
        _taken(each) if each.place and each.now in found.library_frames else _now(each) for each in holders
    )


def _in_database(found: Examination) -> list[_Spot]:
    return _frequent(_now(holder) for holder in found.holders if holder.activity == EXECUTING)


def _endpoints(found: Examination) -> list[_Spot]:
    return _frequent(_endpoint(holder) for holder in found.holders)


def _lost(found: Examination) -> list[_Spot]:
    return _frequent(_taken(holder) for holder in found.holders if holder.is_lost and holder.place)


def _taken(holder: Holder) -> _Spot:
    return f"{TAKEN}{kept_place(holder)}{_by(holder)}", _culprit(holder, holder.place)


def _now(holder: Holder) -> _Spot:
    if holder.now:
        return f"now at {kept_frames(holder.now)}{_by(holder)}", _culprit(holder, holder.now[0])
    return _taken(holder) if holder.place else _NO_SPOT


def _endpoint(holder: Holder) -> _Spot:
    if not holder.unit_code:
        return _taken(holder)
    return f"{kept(holder.unit_code)}{_by(holder)}", _culprit(holder, holder.unit_code)


def _asks(how: str, waiter: Waiter) -> _Spot:
    return f"{how} {kept_place(waiter)}", Culprit(waiter.place.split(BETWEEN_FRAMES, 1)[0], waiter.unit)


def _culprit(holder: Holder, place: str) -> Culprit:
    return Culprit(place.split(BETWEEN_FRAMES, 1)[0], holder.unit, holder.unit_code)


def _by(holder: Holder) -> str:
    return f", by {kept(holder.unit)}" if holder.unit else ""


def _frequent(spots: Iterable[_Spot]) -> list[_Spot]:
    """Return those with different texts, the most frequent first, each with its number."""
    seen = [spot for spot in spots if spot[0]]
    first = dict(reversed(seen))
    counts = Counter(text for text, _ in seen).most_common(PLACES_MAX)
    return [(f"{text} ({count} x)", first[text]) for text, count in counts]


def _leak(e: Evidence) -> str:
    lost = f"{e.n_lost} of {e.used} were taken by code that has ended: a reference to them is kept, or another task or "
    lost += "thread that got them uses them still."
    if e.mean_use_seconds and e.load <= UTILIZATION * e.limit:
        return f"{lost} {_needs(e)}: without the lost ones the pool is large enough."
    return lost


def _needs(e: Evidence) -> str:
    rate, use = e.arrivals_per_second, duration(e.mean_use_seconds)
    return f"Returned uses need {e.load:.1f} connections ({rate:.1f}/s x {use})"


def _loop_waits(e: Evidence) -> str:
    fresh = counted(e.n_fresh, "holder", "is", "are")
    return f"A caller waits on the thread of a running event loop, and {fresh} ready to return a connection."


def _loop_blocked(e: Evidence) -> str:
    if e.is_loop_unanswered:
        return f"A callback posted to the event loop has not run for {duration(e.oldest_wait_seconds)} or so."
    if e.is_late:
        return f"The timeout of {duration(e.timeout_seconds)} came after {duration(e.wait_seconds)}."
    late = duration(e.loop_late_seconds)
    return f"The event loop was behind for {e.loop_late_share:.0%} of the time, by {late} on average."


def _opens(e: Evidence) -> str:
    failed = f"The last {counted(e.failed_opens, 'attempt')} to open a connection failed"
    return f"{failed}: {e.open_error}" if e.open_error else f"{failed}."


def _lost_places(e: Evidence) -> str:
    return f"{counted(e.lost_places, 'place')} of {e.limit} counted as checked out without a connection."


def _being_opened(e: Evidence) -> str:
    return f"{counted(e.opening, 'connection', 'is', 'are')} being opened."


def _threads(_: Evidence) -> str:
    return "All of anyio's worker threads wait for a connection of this pool, and tasks wait for one of these threads."


def _self(e: Evidence) -> str:
    lost = f" The other {e.n_lost} are lost." if e.n_lost else ""
    return f"{e.n_self} of {e.used} holders wait for a connection of this pool themselves.{lost}"


def _healthy(e: Evidence) -> str:
    return f"Uses take {duration(e.mean_use_seconds)}." if e.mean_use_seconds else "No caller has to wait."


def _late(e: Evidence) -> str:
    return f"The timeout of {duration(e.timeout_seconds)} came after {duration(e.wait_seconds)}, without an event loop."


def _too_small(e: Evidence) -> str:
    if not e.mean_use_seconds:
        return "Connections are returned and granted again; the use time is not known yet."
    enough = max(e.limit + 1, ceil(e.load / UTILIZATION))
    before = e.long_arrivals_per_second
    usual = f" Usually {before:.1f}/s arrive." if e.is_burst else ""
    return f"Connections are returned and granted again. {_needs(e)}; {enough} would do.{usual}"


def _locks(e: Evidence) -> str:
    return f"{e.n_locked} of {e.n_db} holders in the database wait for a lock.{_slower(e)}"


def _slow(e: Evidence) -> str:
    return f"{e.n_db} of {e.used} holders execute statements.{_slower(e)}"


def _own_code(e: Evidence) -> str:
    for_seconds = f", for {duration(e.app_seconds)} on average" if e.app_seconds else ""
    return f"{e.n_app} of {e.used} holders are in code outside the database{for_seconds}.{_slower(e)}"


def _slower(e: Evidence) -> str:
    if not e.mean_use_seconds:
        return ""
    before = f", and earlier ones {duration(e.long_mean_use_seconds)}" if e.long_mean_use_seconds else ""
    return f" Uses that ended lately took {duration(e.mean_use_seconds)} on average{before}."


def _unknown(e: Evidence) -> str:
    return _unknown_holders(e) + (_WAITS_WITH.format(e.n_waiting_with) if e.n_waiting_with else "")


def _unknown_holders(e: Evidence) -> str:
    if not e.used:
        return "No connection is held, and no rule fits."
    if not e.n_known:
        return "What the holders do is not known, and no rule fits."
    does = "does" if e.n_known == 1 else "do"
    return f"What {e.n_known} of {counted(e.used, 'holder')} {does} is known, and no rule fits."


_REASONS: Final[dict[str, Reason]] = {
    "leak": _leak,
    "loop_waits": _loop_waits,
    "loop_blocked": _loop_blocked,
    "server_full": _opens,
    "server_down": _opens,
    "lost_places": _lost_places,
    "opening": _being_opened,
    "threads_deadlock": _threads,
    "self_deadlock": _self,
    HEALTHY: _healthy,
    "starved": _late,
    "burst": _too_small,
    "too_small": _too_small,
    "locks": _locks,
    "slow_queries": _slow,
    "held_in_own_code": _own_code,
    UNKNOWN: _unknown,
}

_PLACES: Final[dict[str, Callable[[Examination], list[_Spot]]]] = {
    "leak": _lost,
    "loop_waits": _loop,
    "loop_blocked": _loop,
    "opening": _callers,
    "threads_deadlock": _endpoints,
    "self_deadlock": _both_acquires,
    "locks": _in_database,
    "slow_queries": _in_database,
    "held_in_own_code": _in_own_code,
}
"""The places of each verdict that has some."""
