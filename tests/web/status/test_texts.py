"""Texts of the page and of `top`: what is not shown is counted."""

from dataclasses import replace

import pytest

from pool_exporter.diagnosis.texts.holder_groups import groups, heading
from pool_exporter.diagnosis.texts.wording import unit_text
from pool_exporter.metrics.holders import ACTIVITIES, TRANSACTIONS, Holder
from pool_exporter.web.page.pools import article
from pool_exporter.web.status.groups import holder_groups
from pool_exporter.web.status.texts import NOTHING, activities, clock, exhausted, holder_facts
from pool_exporter.web.status.values import HolderGroup, PoolStatus, SizingStatus, Status
from tests.fixtures.incidents import ORDERS


@pytest.mark.parametrize(
    ("count", "pids", "expected"), [(9, 5, "1, 2, 3, 4, 5 and 4 more"), (5, 5, "1, 2, 3, 4, 5"), (9, 2, "1, 2")]
)
def test_server_pids(count: int, pids: int, expected: str) -> None:
    """Of many server processes some are named, and the others are counted; those that are unknown are not."""
    group = HolderGroup(count, 1.0, server_pids=tuple(range(1, pids + 1)))

    assert ("server pid", expected) in holder_facts(group)[-1]


def test_moment_that_no_calendar_has() -> None:
    """A server may say anything, and `top` shows all that it can."""
    assert ("00:00:01 UTC", NOTHING) == (clock(1.0), clock(1e15))


SIZED = PoolStatus(ORDERS, sizing=SizingStatus("Keep it.", size_now=5))


def test_one_process_of_several_is_exhausted() -> None:
    """The page says so in words, because the sum of all processes does not; and that a time is a sum, too."""
    pool = PoolStatus(ORDERS, used=17, limit=30, pending=3, processes=2, exhausted_processes=1, exhausted_pids=(41,))
    page = article(pool, Status(0.0))

    assert exhausted(pool).startswith("In 1 of 2 processes (process 41) every connection of the pool is used")
    assert f'<p class="alarm">{exhausted(pool)}</p>' in page
    assert "since start in 2 processes together" in page
    assert "" == exhausted(PoolStatus(ORDERS, used=17, limit=30, pending=3, processes=2))
    assert "<h3>Size in each of 2 processes: " in article(replace(SIZED, processes=2), Status(0.0))
    assert "<h3>Size: " in article(SIZED, Status(0.0))


def test_unit_that_is_not_known_yet() -> None:
    """A use that is younger than the last heartbeat is not said to be without a unit."""
    texts = [unit_text(*each) for each in (("GET /a", ""), ("", "a.py:1 in f"), ("", ""))]

    assert ["GET /a", "(no unit)", "(unit unknown)"] == texts


@pytest.mark.parametrize("activity", ACTIVITIES)
@pytest.mark.parametrize("transaction", TRANSACTIONS)
def test_words_of_the_report(activity: str, transaction: str) -> None:
    """The page and top say of what a holder does what the report in the log says."""
    (group,) = holder_groups([(7, Holder(1.0, activity=activity, transaction=transaction))])
    (alike,) = groups([Holder(1.0, activity=activity, transaction=transaction)])

    assert heading(alike).endswith(f"1.0 s, {activities(group)}")
