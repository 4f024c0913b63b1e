"""The watchdog's thread: it sleeps until a caller waits, looks at the pools that have waiters, and sleeps again.

It is a thread of the system, so that it runs while an event loop or a hub of greenlets is blocked. It is started by the
first caller that waits, the first leak or orphan to be logged, or a third failure to open a connection. A forked child
starts its own. Nothing here may know what a look does.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf
from typing import Final, Protocol
from weakref import ref

from pool_exporter.hook_errors import errors, guarded
from pool_exporter.runtime.watchdog.deferred_log import DeferredLog
from pool_exporter.runtime.watchdog.leak_log import LeakLog
from pool_exporter.runtime.watchdog.made_pools import MadePools
from pool_exporter.runtime.watchdog.real_threads import new_lock, real_identifier, real_sleep, start_thread
from pool_exporter.runtime.watchdog.server_failures import FailuresByServer

TICK_SECONDS: Final = 0.05
"""How often the thread wakes up while callers wait, or a leak is to be logged."""
NAME: Final = "pool_exporter watchdog"
_SHUTDOWN: Final = "shutdown"
"""A word of Python's error when a thread is started while the interpreter ends. That error is no fault."""


class Looked(Protocol):
    """A pool at which the watchdog looks."""

    def look(self) -> bool:
        """Do what is due; return whether callers still wait."""


def no_findings(_: object) -> Mapping[str, str]:
    """Return no findings: what `Watchdog.check` is before `check` is available."""
    return {}


class Watchdog:
    """The thread of this process, and what is common to the reports of all its pools.

    Attributes:
        is_on: Whether reports are made; POOL_EXPORTER_DIAGNOSIS=off turns them off.
        check: Returns what is wrong in the configuration of a monitor's pool, a sentence or two by the rule's id.
        lock: Held while a report is made: one at a time.
        no_wait_until: Until then no caller waits for the lock, in seconds of the clock.
        clock: Returns seconds of the monotonic clock.
        leaks: The leaks that are to be logged.
        failures: The failed attempts to open connections, by server.
        made: When pools were made.
        log: Where the thread logs.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.is_on = clock, True
        self.check: Callable[[object], Mapping[str, str]] = no_findings
        self._checked_at = -inf
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self.lock = new_lock()
        #: The thread sleeps while it waits for this lock; its release wakes it.
        self._sleep_lock = new_lock()
        self._sleep_lock.acquire()
        self.no_wait_until = -inf
        self._is_started = self._is_awake = False
        self._looked_at: dict[int, ref[Looked]] = {}
        self.leaks, self.made = LeakLog(self.clock), MadePools(self.clock)
        self.failures = FailuresByServer(self.clock, self.made)
        self.log = DeferredLog(lambda: self._is_awake)

    def begin_if_forked(self) -> None:
        """Begin anew in a forked child: it has no thread, and another thread of the parent may have held the locks."""
        if self._pid != os.getpid():
            self._begin()

    def may_check(self) -> bool:
        """Return whether a pool may be checked now: one at each tick, so that the looks at many pools are not late."""
        now = self.clock()
        may = now - self._checked_at >= TICK_SECONDS
        if may:
            self._checked_at = now
        return may

    def wake(self, pool: Looked | None = None) -> None:
        """Have the thread look at *pool* until no caller waits for it, and log the leaks.

        It takes no lock, starts the thread if it does not run, and may be called in a garbage collection.
        """
        self.begin_if_forked()
        guarded(self.log.arrange)()
        if pool is not None:
            self._looked_at[id(pool)] = ref(pool)
        if self._is_awake:
            return
        self._is_awake = True
        if self._is_started:
            with suppress(RuntimeError):  # Another caller has released it at the same moment.
                self._sleep_lock.release()
        else:
            self._start()

    def _start(self) -> None:
        self._is_started = True
        try:
            start_thread(self._run)
        except RuntimeError as error:  # No further thread is allowed: the next caller tries again.
            self._is_started = self._is_awake = False
            if _SHUTDOWN not in str(error):
                errors.report(error)

    def _run(self) -> None:
        pid, sleep = self._pid, real_sleep()
        self.log.thread = real_identifier()
        with suppress(Exception):  # gevent's may raise in a thread of the system.
            threading.current_thread().name = NAME
        while pid == self._pid:
            while self.tick():
                sleep(TICK_SECONDS)
            self._is_awake = False
            if not self._has_work:  # Else a caller or leak came in between, which found the thread awake.
                self._sleep_lock.acquire()
            self._is_awake = True

    def tick(self) -> bool:
        """Do what is due; return whether callers still wait, or leaks are to be logged."""
        if self.leaks.is_pending:
            self.log.write(self.leaks.write)
        for key in list(self._looked_at):
            # Taken out before the look: a caller that begins to wait after it puts the pool back.
            reference = self._looked_at.pop(key, None)
            pool = None if reference is None else reference()
            if reference is not None and pool is not None and _look(pool):
                self._looked_at[key] = reference
        return self._has_work

    @property
    def _has_work(self) -> bool:
        return bool(self._looked_at) or self.leaks.is_pending


def _look(pool: Looked) -> bool:
    try:
        return pool.look()
    except Exception as error:  # noqa: BLE001  # the thread goes on with the other pools
        errors.report(error)
        return False


watchdog = Watchdog()
"""That of this process."""
