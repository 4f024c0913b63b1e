"""The page of a process with a real pool: its size by what it has done, and what `check` finds in its engine."""

import json
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from pool_exporter import instrument
from pool_exporter.environment import Environment
from pool_exporter.metrics.snapshot import Source
from pool_exporter.web.responses import METRICS, POOLS, Request, respond
from pool_exporter.web.status.memory import Memory
from pool_exporter.web.status.own_process import own_knowledge, own_reports, own_source
from pool_exporter.web.status.pools_json import from_document
from pool_exporter.web.status.source import StatusSource
from pool_exporter.web.status.values import PoolStatus
from tests.fakes import FakeClock
from tests.pools import Database

NAME = "of_the_page"

Use: TypeAlias = Callable[[int], None]
"""Uses the pool so many times."""


class Page:
    """The page of this process, with a clock of its own for the time between two looks."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        memory = Memory(lambda: self.clock() / 1e9)
        self._statuses = StatusSource(own_reports(), memory=memory, knowledge=own_knowledge(Environment()))
        self._source: Source = own_source()

    def scrape(self) -> None:
        """Answer a scrape."""
        assert 200 == respond(Request("GET", METRICS), self._source, self._statuses).status

    def pool(self) -> PoolStatus:
        """Return what the JSON says of the pool."""
        answer = respond(Request("GET", POOLS, shows_holders=True), self._source, self._statuses)
        return next(each for each in from_document(json.loads(answer.body)).pools if each.pool.name == NAME)


@pytest.fixture(name="use")
def _use() -> Iterator[Use]:
    engine = Database().engine(pool_size=3, max_overflow=1, pool_reset_on_return=None)

    def use(times: int) -> None:
        for _ in range(times):
            engine.connect().close()

    with instrument(engine, NAME):
        yield use
    engine.dispose()


def test_first_page(use: Use) -> None:
    """The first page of a process that no Prometheus scrapes has the size since the pool was instrumented."""
    use(150)
    found = Page().pool()

    assert found.sizing is not None
    assert (150, 4, True) == (found.sizing.uses, found.sizing.size_now, found.sizing.size_recommended is not None)
    assert {"P24"} == {each.id for each in found.findings}


def test_page_after_a_scrape(use: Use) -> None:
    """After a scrape, the size is of the time since then."""
    page = Page()
    use(150)
    page.scrape()
    use(120)
    page.clock.advance(20)
    found = page.pool().sizing

    assert found is not None
    assert (120, 20.0, 6.0) == (found.uses, found.seconds, found.arrival_rate)


def test_too_few_uses(use: Use) -> None:
    """A pool that was hardly used has no size, and says why."""
    use(3)
    found = Page().pool().sizing

    assert found is not None
    assert found.size_recommended is None
    assert found.reason.startswith("No size: 3 uses ended in ")
