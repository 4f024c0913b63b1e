"""A note describes the holders of the timeout: a report on others is made again, and else it is dated."""

from collections.abc import Iterator
from typing import Final

import pytest
from sqlalchemy import Connection, Engine

import pool_exporter
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.metrics.holders import Uses
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.runtime.watchdog import pool_examiner
from pool_exporter.runtime.watchdog.pool_examiner import PoolExaminer
from pool_exporter.runtime.watchdog.watchdog import Watchdog
from pool_exporter.state.layout import SECOND
from pool_exporter.state.waiters import WaitingCaller
from tests.pools import Database, measured

TOKEN: Final = 7


class Case:
    """A pool of one connection, and a watchdog with a clock of its own."""

    def __init__(self, monitor: Monitor, engine: Engine) -> None:
        self.now, self.engine = 100.0, engine
        hooks = measured(monitor)._hooks()
        assert hooks is not None
        self.state = hooks.state
        self.reports = PoolExaminer(hooks, measured(monitor), Watchdog(lambda: self.now))
        #: The report of each note, and how many of its holders had ended.
        self.notes: list[tuple[Diagnosis, int]] = []

    def time_out(self, after_seconds: float = 0.0) -> Diagnosis:
        """Let a caller time out so much later; return the report that its note is made of."""
        self.now += after_seconds
        since = self.state.clock() - self.state.origin - 5 * SECOND
        self.state.waiters.granted_at = since
        self.state.waiters.by_token[TOKEN] = WaitingCaller(since, None, "caller", None, (), None, 0)
        self.reports.on_timeout(TOKEN, TimeoutError())
        del self.state.waiters.by_token[TOKEN]
        return self.notes[-1][0]

    def add_note(self, _: BaseException, made: Diagnosis, uses: Uses) -> None:
        """Keep what a note is made of."""
        self.notes.append((made, len(made.uses - uses)))


@pytest.fixture(name="case")
def _case(monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    engine = Database().engine(pool_size=1, max_overflow=0)
    with pool_exporter.instrument(engine) as monitor:
        case = Case(monitor, engine)
        monkeypatch.setattr(pool_examiner, "add_note", case.add_note)
        yield case
    engine.dispose()


def hold(engine: Engine) -> Connection:
    """Check out at one place."""
    return engine.connect()


def ship(engine: Engine) -> Connection:
    """Check out at another place."""
    return engine.connect()


def test_same_holders(case: Case) -> None:
    """While the connections are used by the same holders, the report of the episode is true."""
    with hold(case.engine):
        made = case.time_out()

        assert made is case.time_out(3)
        assert 0 == case.notes[-1][1]
    assert (made,) == case.reports.kept


def test_other_holders(case: Case) -> None:
    """After they have returned their connections, a caller that times out gets a report on those that hold now."""
    with hold(case.engine):
        case.time_out()
    with ship(case.engine):
        made = case.time_out(3)

    assert " in ship" in made.holders[0].place
    assert [" in hold", " in ship"] == [each.holders[0].place.partition(" <")[0][-8:] for each in case.reports.kept]


def test_other_holders_at_once(case: Case) -> None:
    """Within a second no further report is made: the note says that the holders of the last one have ended."""
    with hold(case.engine):
        made = case.time_out()
    with ship(case.engine):
        assert made is case.time_out(0.5)
    assert 1 == case.notes[-1][1]


def test_same_place_again(case: Case) -> None:
    """Other uses of the same code get a report for their note, and no further report counts."""
    made = []
    for after_seconds in (0, 3):
        with hold(case.engine):
            made.append(case.time_out(after_seconds))

    assert made[0].uses.isdisjoint(made[1].uses)
    assert (made[0],) == case.reports.kept


def test_again_after_a_calm(case: Case) -> None:
    """When no caller has waited for some seconds, a report counts again, also on the same code."""
    with hold(case.engine):
        case.time_out()
        made = case.time_out(8)

    assert made is case.reports.kept[-1]
    assert 2 == len(case.reports.kept)
