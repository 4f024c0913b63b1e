"""What is lost is one line a place, with its unit: what the garbage collector returned, and orphans of a minute."""

import logging

import pytest
from sqlalchemy import Connection, Engine

import pool_exporter
from pool_exporter.runtime.watchdog import leak_log
from pool_exporter.runtime.watchdog.leak_log import NO_ORPHANS, LeakLog, Orphans, orphans_due
from pool_exporter.state.connection import Place
from pool_exporter.state.layout import SECOND
from pool_exporter.state.report_hooks import Leak, Orphan
from pool_exporter.units import Unit
from tests.fixtures.deadlines import until
from tests.pools import Database

CODE = compile("leaked = 1", "/srv/orders/export.py", "exec")


def leak(place: Place = ((CODE, 0),), owner_name: str = "Thread-7", unit: Unit | None = None) -> Leak:
    """Return a use of two seconds that was lost."""
    return Leak(owner_name, unit, place, 2 * SECOND)


@pytest.fixture(name="_logged")
def _logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "pool_exporter.diagnosis")


@pytest.mark.usefixtures("_logged")
def test_line(caplog: pytest.LogCaptureFixture) -> None:
    """The line has the pool, the place, the unit, the owner, how long it was used, and what to do."""
    leaks = LeakLog(lambda: 0.0)
    leaks.add("orders", leak(unit=Unit("POST /exports")))
    leaks.write()

    assert caplog.messages[0] == (
        'pool "orders": a connection was dropped without being returned, after 2.0 s; the garbage collector returned '
        "it. It was taken at orders/export.py:1 in <module>, by POST /exports, Thread-7. Close it on every path, best "
        'by "with".'
    )


@pytest.mark.usefixtures("_logged")
def test_once_per_place_and_minute(caplog: pytest.LogCaptureFixture) -> None:
    """The same place is logged again after a minute, another place at once."""
    now = [0.0]
    leaks = LeakLog(lambda: now[0])
    here, there = leak(), leak(((compile("x = 1", "/srv/orders/other.py", "exec"), 0),))
    for moment, each in [(0.0, here), (1.0, here), (1.0, there), (59.9, here), (60.0, here)]:
        now[0] = moment
        leaks.add("orders", each)
        leaks.write()

    assert 3 == len(caplog.messages)


@pytest.mark.usefixtures("_logged")
def test_unknown_place(caplog: pytest.LogCaptureFixture) -> None:
    """Without a place and a unit the line says so."""
    leaks = LeakLog(lambda: 0.0)
    leaks.add("orders", leak((), ""))
    leaks.write()

    assert "It was taken at an unknown place. Close it" in caplog.messages[0]


@pytest.mark.usefixtures("_logged")
def test_ring_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Of very many leaks the last hundred are kept."""
    leaks = LeakLog(lambda: 0.0)
    for number in range(300):
        leaks.add("orders", leak((), str(number)))
    leaks.write()

    assert 100 == len(caplog.messages)


@pytest.mark.usefixtures("_logged")
def test_name_begins_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """A name with a line break does not look like a further line of the log."""
    leaks = LeakLog(lambda: 0.0)
    leaks.add("or\nders", leak(owner_name="\x1b[2J"))
    leaks.add("or\nders", Orphans(orphan(1), 1))
    leaks.write()

    assert [True, True] == [each.isprintable() for each in caplog.messages]


UNIT = Unit("POST /exports")
OTHER = compile("kept = 1", "/srv/orders/kept.py", "exec")


def orphan(number: int, place: Place = ((CODE, 0),), seconds: int = 61) -> Orphan:
    """Return a use that has no owner any more."""
    return Orphan("Thread-7", UNIT, place, seconds * SECOND, (number, 1))


def test_orphan_of_a_minute_is_found_once() -> None:
    """It counts from when it was first seen as one; one that was none meanwhile begins anew."""
    since, found, other = NO_ORPHANS, [], orphan(2, ((OTHER, 0),))
    for moment, orphans in [(0, [orphan(1)]), (59, [orphan(1), other]), (60, [orphan(1), other]), (61, [orphan(1)])]:
        since, due = orphans_due(orphans, since, float(moment))
        found.append(due)
    for moment in (62, 121):  # The other one again, after a refresh without it.
        since, due = orphans_due([other], since, float(moment))
        found.append(due)

    assert [[], [], [Orphans(orphan(1), 1)], [], [], []] == found
    assert [Orphans(other, 1)] == orphans_due([other], since, 122.0)[1]
    assert (NO_ORPHANS, []) == orphans_due([], since, 122.0)


def test_orphans_of_one_place_are_one() -> None:
    """The oldest one is named, and all of the place are counted, also those that are not due."""
    since, _ = orphans_due([orphan(1), orphan(2, seconds=99)], NO_ORPHANS, 0.0)
    _, due = orphans_due([orphan(1), orphan(2, seconds=99), orphan(3)], since, 60.0)

    assert [Orphans(orphan(2, seconds=99), 3)] == due


@pytest.mark.usefixtures("_logged")
def test_lines_of_orphans(caplog: pytest.LogCaptureFixture) -> None:
    """A place is logged again after ten minutes; a leak of the same place has its own minute."""
    now = [0.0]
    log = LeakLog(lambda: now[0])
    lost: list[tuple[float, Leak | Orphans]] = [(0.0, Orphans(orphan(1), 1)), (1.0, leak())]
    lost += [(599.0, Orphans(orphan(2), 2)), (600.0, Orphans(orphan(3), 3))]
    for moment, each in lost:
        now[0] = moment
        log.add("orders", each)
        log.write()

    assert 3 == len(caplog.messages)
    assert caplog.messages[0] == (
        'pool "orders": 1 connection is held by code that has ended, for 1 min: nothing is known that would return '
        "it. It was taken at orders/export.py:1 in <module>, by POST /exports, Thread-7. Close it on every path, best "
        'by "with".'
    )
    assert caplog.messages[2].startswith(
        'pool "orders": 3 connections are held by code that has ended, the oldest for 1'
    )


def taken(engine: Engine) -> Connection:
    """Take a connection in a function that ends."""
    return engine.connect()


@pytest.mark.usefixtures("_logged")
def test_orphan_is_logged_before_the_pool_is_exhausted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is kept when its unit of work has ended is logged at a scrape; one that is returned is not."""
    monkeypatch.setattr(leak_log, "ORPHAN_SECONDS", 0.0)
    engine = Database().engine()
    monitor = pool_exporter.instrument(engine, name="orders")
    with pool_exporter.unit("nightly-report"):
        kept = taken(engine)
        monitor.snapshot()

    assert [] == caplog.messages
    monitor.snapshot()
    until(1, lambda: len(caplog.messages))
    assert "1 connection is held by code that has ended" in caplog.messages[0]
    assert "by nightly-report, MainThread." in caplog.messages[0]
    kept.close()
    monitor.close()
    engine.dispose()
