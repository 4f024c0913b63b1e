"""What `check` finds for a report: on the watchdog's thread, under no lock, once a minute, and never at its cost."""

from collections.abc import Iterator, Mapping
from functools import partial

import pytest

import pool_exporter
from pool_exporter.hook_errors import errors
from pool_exporter.runtime.checking.pool_findings import findings_by_rule
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.runtime.watchdog.pool_examiner import CHECK_SECONDS, PoolExaminer
from pool_exporter.runtime.watchdog.watchdog import TICK_SECONDS, Watchdog, watchdog
from tests.pools import Database, measured


class Checks:
    """A watchdog of a clock of its own, and what it has checked."""

    def __init__(self, *, fails: bool = False) -> None:
        self.now, self.checked, self._fails = 100.0, list[object](), fails
        self.watchdog = Watchdog(lambda: self.now)
        self.watchdog.check = self.check
        self.was_locked = False

    def check(self, monitor: object) -> Mapping[str, str]:
        """Note the call, and whether a lock was held meanwhile."""
        self.checked.append(monitor)
        self.was_locked |= not self.watchdog.lock.acquire(blocking=False)
        self.watchdog.lock.release()
        if self._fails:
            raise RuntimeError("no settings")
        return {"P31": "Check P31: nested."}

    def reports(self, monitor: Monitor) -> PoolExaminer:
        """Return reports on the monitor's pool that are due."""
        hooks = measured(monitor)._hooks()
        assert hooks is not None
        reports = PoolExaminer(hooks, measured(monitor), self.watchdog)
        reports._is_report_due = True
        return reports


@pytest.fixture(name="monitor")
def _monitor() -> Iterator[Monitor]:
    engine = Database().engine(pool_size=1)
    with pool_exporter.instrument(engine) as monitor:
        yield monitor
    engine.dispose()


def test_a_look_checks_before_the_report_and_under_no_lock(monitor: Monitor) -> None:
    """The findings are there when the report is made, and reports of other pools do not wait for them."""
    checks = Checks()
    reports = checks.reports(monitor)
    reports.look()
    found = reports._examined()

    assert [monitor] == checks.checked
    assert not checks.was_locked
    assert found is not None
    assert {"P31": "Check P31: nested."} == found.findings


def test_a_pool_is_checked_once_a_minute(monitor: Monitor) -> None:
    """Looks that follow have the findings of the first one."""
    checks = Checks()
    reports = checks.reports(monitor)
    for seconds in (0.0, 1.0, CHECK_SECONDS - 1.5, 1.0):
        checks.now += seconds
        reports._is_report_due = True
        reports.look()

    assert 2 == len(checks.checked)


def test_one_pool_at_each_tick(monitor: Monitor) -> None:
    """Of a thousand pools that are exhausted at once, a tick checks one, so that the looks at all are in time."""
    checks = Checks()
    pools = [checks.reports(monitor) for _ in range(5)]
    for reports in pools:
        reports.look()
    checks.now += 2 * TICK_SECONDS
    pools[-1]._is_report_due = True
    pools[-1].look()

    assert 2 == len(checks.checked)


def test_a_quiet_pool_is_not_checked(monitor: Monitor) -> None:
    """While no caller waits and no report is due, a look costs nothing, and a caller of `diagnose()` checks nothing."""
    checks = Checks()
    reports = checks.reports(monitor)
    reports._is_report_due = False
    reports.look()
    reports.diagnose()

    assert [] == checks.checked


def test_a_check_that_fails_harms_no_report(monitor: Monitor) -> None:
    """The report is made without findings; the error is counted."""
    checks = Checks(fails=True)
    reports = checks.reports(monitor)
    with errors.collected() as found:
        reports.look()

    assert ["no settings"] == [str(error) for error in found]
    assert "healthy" == reports.diagnose().verdict
    assert () == reports.diagnose().explained_by


def test_the_process_checks_its_pools(monitor: Monitor) -> None:
    """Instrumenting has prepared it: nothing is imported in an incident."""
    assert isinstance(watchdog.check, partial)
    assert findings_by_rule is watchdog.check.func
