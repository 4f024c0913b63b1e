"""The findings of a page: kept for a minute, bounded in time, and without a check for a scrape."""

from dataclasses import replace

from pool_exporter.advice.checks.finding import Finding
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.responses import METRICS, POOLS, Request, respond
from pool_exporter.web.status.findings import AGAIN_SECONDS, PAGE_SECONDS, Check, FindingsMemory, snapshot_checker
from pool_exporter.web.status.source import Knowledge, StatusSource, knowledge_without
from tests.fixtures.incidents import pool

FINDING = Finding("P99", "warning", "It is wrong.", "Mend it.", "a book")
POOLS_OF_FOUR = Snapshot(tuple(pool(PoolIdentity(name)) for name in "abcd"))


class Checks:
    """A checker of which each check takes *seconds* of its own clock."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.now, self._seconds = 100.0, seconds
        self.checked: list[str] = []

    def __call__(self, _: Snapshot) -> Check:
        """Return the check."""
        return self._check

    def _check(self, found: PoolSnapshot) -> tuple[Finding, ...]:
        self.checked.append(found.name)
        self.now += self._seconds
        if found.name == "c":
            raise ValueError(found.name)
        return (FINDING,)


def names(memory: FindingsMemory, snapshot: Snapshot = POOLS_OF_FOUR) -> str:
    """Return the names of the pools of which something was found."""
    return "".join(sorted(identity.name for identity, found in memory.of(snapshot).items() if found))


def test_a_pool_is_checked_once_a_minute() -> None:
    """A page that refreshes itself has the findings of the first one until they are a minute old."""
    checks = Checks()
    memory = FindingsMemory(checks, lambda: checks.now)
    found = [names(memory), names(memory)]
    checks.now += AGAIN_SECONDS
    found.append(names(memory))

    assert ["abd", "abd", "abd"] == found
    assert [*"abcd", *"abcd"] == checks.checked


def test_a_page_checks_for_a_bounded_time() -> None:
    """Of many pools each page checks some, and the next one goes on with those that were not reached."""
    checks = Checks(PAGE_SECONDS / 2)
    memory = FindingsMemory(checks, lambda: checks.now)
    found = [names(memory), names(memory), names(memory)]

    assert ["ab", "abd", "abd"] == found
    assert [*"abcd"] == checks.checked


def test_a_pool_that_ends_is_forgotten() -> None:
    """No more is kept than the pools of the last page."""
    checks = Checks()
    memory = FindingsMemory(checks, lambda: checks.now)
    memory.of(POOLS_OF_FOUR)

    assert "a" == names(memory, Snapshot(POOLS_OF_FOUR.pools[:1]))
    assert 1 == len(memory._kept)


def test_a_scrape_checks_nothing() -> None:
    """Only a page that shows findings has pools checked: no scrape, and no page that may not show them."""
    checks = Checks()
    statuses = StatusSource(knowledge=Knowledge(checks))
    for path, shows in ((METRICS, True), (POOLS, False)):
        respond(Request("GET", path, shows_holders=shows), lambda: POOLS_OF_FOUR, statuses)
    before = list(checks.checked)
    respond(Request("GET", POOLS, shows_holders=True), lambda: POOLS_OF_FOUR, statuses)

    assert ([], [*"abcd"]) == (before, checks.checked)


def test_a_snapshot_alone_tells_settings() -> None:
    """Without an engine, a rule about the pool's settings still finds something."""
    labels = {"pool_class": "QueuePool", "dialect": "postgresql", "pool_size": "5", "max_overflow": "-1"}
    found = replace(pool(PoolIdentity("orders", "postgresql", "shop", "db1")), config=PoolConfig(labels=labels))
    checked = snapshot_checker(Snapshot())(found)
    without = knowledge_without(["P02"]).checker(Snapshot())(found)

    assert {"P02", "P12"} == {each.id for each in checked}
    assert {"P12"} == {each.id for each in without}
