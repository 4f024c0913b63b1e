"""Examines one pool: when the watchdog, a caller that timed out or `diagnose()` makes a report, and which ones count.

Pool and monitor are held weakly: the pool's state holds this object. Nothing here may decide a verdict or write a text.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Final, Protocol
from weakref import ref

from typing_extensions import override

from pool_exporter.diagnosis.evidence import look_seconds
from pool_exporter.diagnosis.examination import Examination
from pool_exporter.diagnosis.survey.circumstances import Circumstances
from pool_exporter.diagnosis.survey.examine import examine, frames_of_loops
from pool_exporter.diagnosis.survey.tasks_of_loops import loops_of_callers
from pool_exporter.diagnosis.survey.used_connections import uses_of
from pool_exporter.diagnosis.texts.diagnosis_text import diagnosis
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.diagnosis.verdict import verdict
from pool_exporter.hook_errors import result_or_none
from pool_exporter.hooks.callers.place import recorder
from pool_exporter.hooks.pool_hooks import PoolHooks
from pool_exporter.metrics.holders import Uses
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.watchdog.episode import Episode
from pool_exporter.runtime.watchdog.examined_pool import examined_pool, passwords, timeout_seconds, unknown_diagnosis
from pool_exporter.runtime.watchdog.leak_log import NO_ORPHANS, Orphans, orphans_due
from pool_exporter.runtime.watchdog.looks import Looks
from pool_exporter.runtime.watchdog.made_pools import note_of_many
from pool_exporter.runtime.watchdog.opentelemetry_events import WaiterTraces, add_span_event
from pool_exporter.runtime.watchdog.outputs import add_note, publish
from pool_exporter.runtime.watchdog.watchdog import Watchdog
from pool_exporter.state.report_hooks import Leak, Orphan, ReportHooks

KEPT_MAX: Final = 5
"""How many reports a pool keeps."""
LOCK_SECONDS: Final = 0.05
"""How long a caller that timed out waits for a report that is being made."""
AGAIN_SECONDS: Final = 1.0
"""How long callers that time out make no report after an `unknown`, and wait for none after a wait in vain."""

AGAIN_BY_WATCHDOG_SECONDS: Final = 2.0
"""How often the watchdog makes a report while callers wait, to find out whether that of the episode is still true."""
CHECK_SECONDS: Final = 60.0
"""While callers wait, the findings of `check` about a pool are at most this old."""
_NEVER: Final = -inf
_NO_FINDINGS: Final[Mapping[str, str]] = {}


class HasIdentity(Protocol):
    """What the reports need of a monitor."""

    identity: PoolIdentity


class PoolExaminer(ReportHooks):
    """Makes the reports on one pool, and keeps those that count."""

    def __init__(self, hooks: PoolHooks, monitor: HasIdentity, watchdog: Watchdog) -> None:
        """Report on the pool of *hooks*."""
        self._hooks, self._monitor, self._watchdog = ref(hooks), ref(monitor), watchdog
        self._looks: Looks | None = None
        self._findings = _NO_FINDINGS
        self.restart_after_fork()

    def install(self, hooks: PoolHooks) -> None:
        """Have the waits, timeouts, leaks and failures of the pool reported here."""
        hooks.state.report_hooks = self
        monitor = self._monitor()
        if monitor is not None:
            self._watchdog.made.add(monitor.identity)

    def restart_after_fork(self) -> None:
        """Forget what was, as in a forked child."""
        self._episode, self._looks = Episode(), None
        self._kept: tuple[Diagnosis, ...] = ()
        self._timed_out_at = self._made_at = self._waited_at = _NEVER
        self._flow_noted_at = self._checked_at = _NEVER
        self._is_report_due, self._traces, self._orphans = False, WaiterTraces(), NO_ORPHANS

    @property
    def kept(self) -> tuple[Diagnosis, ...]:
        """The last reports that were made automatically, oldest first."""
        return self._kept

    @property
    def newest(self) -> Diagnosis | None:
        """The last report of the last minute that has the episode's verdict; None without one."""
        return self._episode.newest(self._watchdog.clock())

    # What the pool reports; its hooks guard these methods. A wait wakes the watchdog. A timeout gets the report of
    # the episode as a note, and makes it if there is none. The third failed attempt to open in a row gives a report.

    @override
    def on_wait(self, token: int) -> None:
        hooks, now = self._hooks(), self._watchdog.clock()
        if hooks is None:
            return
        state = hooks.state
        self._traces.note(token, state.waiting)
        if self._looks is None and now - self._flow_noted_at >= AGAIN_SECONDS:
            self._flow_noted_at = now  # What comes from now on is compared with what was before.
            state.flow.note(state.clock() - state.origin, state.slots, state.pending)
        self._watchdog.wake(self)

    @override
    def on_timeout(self, token: int, error: BaseException) -> None:
        self._watchdog.begin_if_forked()
        self._wait_seen()
        made = self._for_caller() or self._made_by_caller(token)
        self._timed_out_at = self._watchdog.clock()
        self._episode.explain(self._timed_out_at)
        if made is None:
            return
        add_note(error, made, self._uses())
        monitor = self._monitor()
        if monitor is not None:
            add_span_event(made, monitor.identity)

    @override
    def on_leak(self, leak: Leak) -> None:
        recorder.arm()
        self._log(leak)

    @override
    def on_orphans(self, orphans: Sequence[Orphan]) -> None:
        self._orphans, due = orphans_due(orphans, self._orphans, self._watchdog.clock())
        for each in due:
            self._log(each)

    def _log(self, lost: Leak | Orphans) -> None:
        monitor = self._monitor()
        if monitor is not None:
            self._watchdog.begin_if_forked()
            self._watchdog.leaks.add(monitor.identity.name, lost)
            self._watchdog.wake()

    @override
    def on_open_failed(self, error: BaseException) -> None:
        monitor, hooks = self._monitor(), self._hooks()
        if monitor is not None and hooks is not None and isinstance(error, Exception):  # Else it was interrupted.
            self._watchdog.begin_if_forked()
            if self._watchdog.failures.failed(monitor.identity, error, passwords(hooks)):
                self._is_report_due = True
                self._watchdog.wake(self)

    @override
    def on_opened(self) -> None:
        monitor = self._monitor()
        if monitor is not None:
            self._watchdog.failures.opened(monitor.identity)

    # Reports.

    def diagnose(self) -> Diagnosis:
        """Return a diagnosis of now; of a pool that has ended, one that says so.

        While no caller waits, or where it says less than the episode's report, that report is quoted, with its time.
        """
        return self.diagnose_at()[1]

    def diagnose_at(self) -> tuple[int, Diagnosis]:
        """Return also when the diagnosis was made, in nanoseconds since the pool's origin."""
        self._watchdog.begin_if_forked()
        found, now = self._examined(), self._watchdog.clock()
        if found is None:
            return 0, unknown_diagnosis("")
        if found.evidence.is_waited_for:
            return found.moment, diagnosis(found, last=self._episode.quoted(now, verdict(found.evidence)))
        return found.moment, diagnosis(found, last=self._episode.last(now))

    def look(self) -> bool:
        """Do what the watchdog has to do now; return whether callers still wait."""
        hooks, now = self._hooks(), self._watchdog.clock()
        if hooks is None:
            return False
        if self._is_report_due or hooks.state.waiting:
            self._check(now)
        if self._is_report_due:
            self._is_report_due = False
            self._make(self._diagnosis, by_watchdog=True)
        if not hooks.state.waiting:
            self._looks = None
            return False
        self._wait_seen()
        self._look(hooks, now)
        return True

    def _check(self, now: float) -> None:
        """Have the pool's configuration checked for the next report: on the watchdog's thread, and under no lock."""
        monitor = self._monitor()
        if monitor is not None and now - self._checked_at >= CHECK_SECONDS and self._watchdog.may_check():
            self._checked_at = now
            self._findings = result_or_none(lambda: self._watchdog.check(monitor)) or {}

    def _look(self, hooks: PoolHooks, now: float) -> None:
        state, apart = hooks.state, look_seconds(timeout_seconds(hooks))
        looks = self._looks
        if looks is None:
            looks = self._looks = Looks(apart, self._watchdog.clock)
        if looks.is_due(now):
            has_granted = looks.has_granted(state.waiters.grants)
            if looks.count and self._is_needed(now):
                self._make(lambda: self._diagnosis(has_granted=has_granted), by_watchdog=True)
            looks.done(now, state.waiters.grants)
        if looks.count:
            callers = state.waiters.oldest_first()
            looks.probes.post(loops_of_callers(callers), lambda: frames_of_loops(callers))

    def _is_needed(self, now: float) -> bool:
        return not self._episode.is_settled(now) or now - self._made_at >= AGAIN_BY_WATCHDOG_SECONDS

    def _wait_seen(self) -> None:
        """Note that a caller waits, which begins an episode if none has for some seconds."""
        now = self._watchdog.clock()
        self._episode.end_after(now - self._waited_at)
        self._waited_at = now

    def _uses(self) -> Uses:
        hooks = self._hooks()
        return frozenset() if hooks is None else uses_of(hooks.state.live_connections())

    def _for_caller(self) -> Diagnosis | None:
        """Return the report for a caller that times out now; None if the caller has to make one.

        It makes one if the holders are not those of the last report.
        """
        now = self._watchdog.clock()
        made = self._episode.newest(now)
        if made is None or now - self._made_at < AGAIN_SECONDS:
            return made
        return made if self._episode.is_settled(now) and made.uses == self._uses() else None

    def _made_by_caller(self, token: int) -> Diagnosis | None:
        """Make a report; return it, or, if it could not be made or says nothing, the last one that says something."""
        self._make(lambda: self._diagnosis(timed_out=token))
        return self._episode.newest(self._watchdog.clock())

    def _make(self, make: Callable[[], Diagnosis | None], *, by_watchdog: bool = False) -> None:
        """Make a report, unless another thread has made one meanwhile, and publish it if it counts."""
        if not (self._watchdog.lock.acquire() if by_watchdog else self._is_lock_taken_soon()):
            return
        try:
            if not by_watchdog and self._for_caller() is not None:
                return
            made, now = make(), self._watchdog.clock()
            self._made_at = now
            is_counted = made is not None and self._episode.accept(now, made, by_watchdog=by_watchdog)
        finally:
            self._watchdog.lock.release()
        if made is not None and is_counted:
            self._publish(made)

    def _is_lock_taken_soon(self) -> bool:
        """Take the lock for a caller; return whether it could be taken soon.

        After a wait in vain the next callers do not wait: in an event loop, one after the other would.
        """
        watchdog = self._watchdog
        is_waiting = watchdog.clock() >= watchdog.no_wait_until
        is_taken = watchdog.lock.acquire(timeout=LOCK_SECONDS if is_waiting else 0.0)
        if is_waiting and not is_taken:
            watchdog.no_wait_until = watchdog.clock() + AGAIN_SECONDS
        return is_taken

    def _publish(self, made: Diagnosis) -> None:
        hooks, monitor, self._kept = self._hooks(), self._monitor(), (*self._kept, made)[-KEPT_MAX:]
        if hooks is not None and monitor is not None:
            span = self._traces.of_oldest(hooks.state.waiting)
            publish(made, hooks.state, monitor.identity, self._watchdog.log, span)

    def _diagnosis(self, *, timed_out: int | None = None, has_granted: bool | None = None) -> Diagnosis | None:
        found = self._examined(timed_out=timed_out, has_granted=has_granted)
        return None if found is None else diagnosis(found)

    def _examined(self, *, timed_out: int | None = None, has_granted: bool | None = None) -> Examination | None:
        hooks, monitor = self._hooks(), self._monitor()
        if hooks is None or monitor is None:
            return None
        given = self._circumstances(monitor.identity, look_seconds(timeout_seconds(hooks)))
        given = given._replace(timed_out=timed_out, has_granted=has_granted)
        found = examine(examined_pool(hooks, monitor.identity), given)
        made = self._watchdog.made.within_a_minute(monitor.identity)
        return found._replace(notes=(*found.notes, *note_of_many(made, found)), findings=self._findings)

    def _circumstances(self, identity: PoolIdentity, apart: float) -> Circumstances:
        looks, watchdog = self._looks, self._watchdog
        given = Circumstances(
            time.time(),
            os.getpid(),
            seconds_since_timeout=watchdog.clock() - self._timed_out_at,
            server=watchdog.failures.of(identity),
        )
        return given if looks is None else given._replace(loops=looks.probes.readings(apart))
