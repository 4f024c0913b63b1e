"""A leak that the garbage collector returned is one line, with place and unit, once per place and minute."""

import logging

import pytest

from pool_exporter.runtime.watchdog.leak_log import LeakLog
from pool_exporter.state.connection import Place
from pool_exporter.state.layout import SECOND
from pool_exporter.state.report_hooks import Leak
from pool_exporter.units import Unit

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

    assert "The place where it was taken is unknown. Close it" in caplog.messages[0]


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
    leaks.write()

    assert caplog.messages[0].isprintable()
