"""What the watchdog has to log is logged at once; under eventlet by a greenlet of the application."""

import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from pool_exporter.runtime.watchdog.deferred_log import FLUSH_SECONDS, DeferredLog
from pool_exporter.runtime.watchdog.real_threads import real_identifier


class Hub:
    """What eventlet is to run, and whether the watchdog is awake."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.is_awake = False

    def run(self) -> None:
        """Run what is due."""
        due, self.due = self.due, []
        for _, function in due:
            function()


@pytest.fixture(name="hub")
def _hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Stand in for eventlet, which has patched the locks."""
    hub = Hub()
    spawn_after = lambda seconds, function: hub.due.append((seconds, function))  # noqa: E731  # one line of a fake
    patcher = SimpleNamespace(is_monkey_patched=lambda _: True, original=lambda name: sys.modules[name])
    monkeypatch.setitem(sys.modules, "eventlet", SimpleNamespace(spawn_after=spawn_after))
    monkeypatch.setitem(sys.modules, "eventlet.patcher", patcher)
    return hub


def fail() -> None:
    """Stand for a handler that raises."""
    raise LookupError


def of_watchdog(hub: Hub) -> DeferredLog:
    """Return the log of a watchdog of which the thread is the calling one."""
    log = DeferredLog(lambda: hub.is_awake)
    log.thread = real_identifier()
    return log


def test_at_once_without_eventlet() -> None:
    """Elsewhere the watchdog's thread logs itself, and an error of a handler does not reach it."""
    written: list[str] = []
    log = of_watchdog(Hub())
    log.arrange()
    log.write(lambda: written.append("report"))
    log.write(fail)

    assert ["report"] == written


def test_by_a_greenlet(hub: Hub) -> None:
    """Under eventlet nothing is logged before the greenlet runs that a waiting caller has arranged for."""
    written: list[str] = []
    log = of_watchdog(hub)
    log.arrange()
    log.write(lambda: written.append("report"))
    before = [*written]
    hub.run()

    assert ([], ["report"]) == (before, written)
    assert [] == hub.due


def test_callers_log_at_once(hub: Hub) -> None:
    """A caller that times out is a greenlet of the application: it logs its report itself."""
    written: list[str] = []
    log = of_watchdog(hub)
    thread = threading.Thread(target=log.write, args=(lambda: written.append("report"),))
    thread.start()
    thread.join()

    assert ["report"] == written


def test_once_while_it_is_due(hub: Hub) -> None:
    """What is left to a greenlet again before that has run is logged once, and one greenlet is arranged for."""
    written: list[str] = []
    log = of_watchdog(hub)
    write = lambda: written.append("leaks")  # noqa: E731  # the same each time
    for _ in range(3):
        log.arrange()
        log.write(write)

    assert [FLUSH_SECONDS] == [seconds for seconds, _ in hub.due]
    hub.run()
    assert ["leaks"] == written


def test_again_while_the_watchdog_is_awake(hub: Hub) -> None:
    """The greenlet comes again until the watchdog sleeps, and then no more."""
    log = of_watchdog(hub)
    hub.is_awake = True
    log.arrange()
    hub.run()
    again = len(hub.due)
    hub.is_awake = False
    hub.run()

    assert (1, []) == (again, hub.due)
