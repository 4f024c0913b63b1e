"""Prints the reports on the demo's pool to its terminal: the automatic ones, and one for each scene.

A pool has at most one automatic report a minute. A scene that comes within a minute of another one's report gets its
own from `monitor.diagnose()`, as a person would ask for it. A thread asks, because one scene blocks the event loop.
Nothing here may know a scene.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from typing_extensions import override

from pool_exporter import Monitor
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.diagnosis.verdict import HEALTHY
from pool_exporter.metrics.holders import UNKNOWN

LOOK_SECONDS: Final = 0.1
AUTOMATIC_EVERY_SECONDS: Final = 58.0
"""After this time the pool makes its next report by itself: a minute after the last one, or in this scene."""
WAIT_SECONDS_MIN: Final = 0.5
"""How long a caller must have waited before a scene's report is asked for: half of the demo's timeout."""
NOTHING_FOUND: Final = (HEALTHY, UNKNOWN)


class _Printed(logging.Handler):
    """Prints what is logged."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())


@contextmanager
def printed(say: Callable[[str], None]) -> Iterator[None]:
    """Print the reports that are made by themselves, for the time of the block."""
    log, handler = logging.getLogger("pool_exporter.diagnosis"), _Printed(say)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


@contextmanager
def asked_for(monitor: Monitor, say: Callable[[str], None]) -> Iterator[None]:
    """Print a diagnosis of the block's time once callers wait, unless one is made by itself."""
    has_ended = threading.Event()
    thread = threading.Thread(target=_look, args=(monitor, say, has_ended), name="demo's reports", daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()


def _look(monitor: Monitor, say: Callable[[str], None], has_ended: threading.Event) -> None:
    earlier = _last(monitor)
    while not has_ended.wait(LOOK_SECONDS):
        if _last(monitor) is not earlier:
            return
        is_one_due = earlier is None or time.time() - earlier.at > AUTOMATIC_EVERY_SECONDS
        do_callers_wait = bool(monitor.snapshot().pending)
        if not is_one_due and do_callers_wait and is_worth_a_report(made := monitor.diagnose()):
            say(str(made))
            return


def _last(monitor: Monitor) -> Diagnosis | None:
    """Return the last report that the pool has made by itself."""
    return monitor.diagnoses[-1] if monitor.diagnoses else None


def is_worth_a_report(made: Diagnosis) -> bool:
    """Return whether a caller has waited for long, and a reason was found."""
    return bool(made.waiters) and made.waiters[0].seconds >= WAIT_SECONDS_MIN and made.verdict not in NOTHING_FOUND
