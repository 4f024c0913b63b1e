"""Whatever is killed when: no counter falls, nothing is counted twice or lost, nothing grows, and no alert is false."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.postgres import PostgresServer
from tests.fixtures.sidecar import samples
from tests.soak.alerts import CRASHED, TRUE_ALERTS
from tests.soak.healthy_pools import ASYNC_LIMIT, ASYNC_POOL
from tests.soak.readings import INTEGRALS, USED_SECONDS, total
from tests.soak.servers import CALLERS, SERVERS, is_installed
from tests.soak.storm import Soak, run

_log = logging.getLogger(__name__)

SECONDS = float(os.environ.get("SOAK_SECONDS", "120"))
BUSY_SHARE = 0.7
"""The least mean use of the healthy pool. It is 0.9 where the machine has time for all callers."""
CALLERS_MAX = 12
"""No pool has more connections or callers; those of one that is killed are fewer, and most of the time idle."""
BUSY_LOOPS = int(os.environ.get("SOAK_BUSY_LOOPS", "0"))


@pytest.fixture(name="soak", scope="module")
def _soak(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, prometheus_binary: Path
) -> Iterator[Soak]:
    """One soak for all tests."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for soak in run(SECONDS, BUSY_LOOPS, tmp_path_factory.mktemp("soak"), postgres, prometheus_binary):
        log(soak)
        yield soak


def log(soak: Soak) -> None:
    """Log the figures, of a soak that passes too."""
    for each in soak.killed:
        _log.info("%s: %d confirmed, %d failed, %d kills", each.name, each.confirmed, each.failed, each.kills)
    for reading in soak.readings:
        _log.info("%d scrapes, median %.4f s", len(reading.seconds), reading.median())
        _log.info("counters that fell: %s; not zero: %s", reading.falls[:20], reading.faults)
    _log.info("descriptors and kB early and late: %s; fired: %s", soak.weights, soak.watch.fired)
    _log.info("ends of workers: %s", samples(soak.page, "pool_exporter_workers_ended_total"))
    use = total(soak.page, ASYNC_POOL, USED_SECONDS) / SECONDS / ASYNC_LIMIT
    _log.info("%d looks at the healthy service, mean use %.2f", soak.reports.looks, use)


def test_no_counter_falls(soak: Soak) -> None:
    """Neither of the two sidecars has shown a counter that was lower than before."""
    assert [[], []] == [reading.falls for reading in soak.readings]


@pytest.mark.parametrize("metric", INTEGRALS)
def test_no_time_is_too_long(soak: Soak, metric: str) -> None:
    """No time integral is more than all connections, or all callers, can have taken since the begin."""
    seconds = samples(soak.page, metric)

    assert seconds
    assert {} == {labels: value for labels, value in seconds.items() if value > (SECONDS + 120) * CALLERS_MAX}


@pytest.mark.parametrize("server", SERVERS)
def test_totals_are_the_truth(soak: Soak, server: str) -> None:
    """Each request that was answered is counted once, and nothing else but what was under way at a kill."""
    if not is_installed(server):
        pytest.skip(f"{SERVERS[server].module} is not installed; the extra reports has it")
    service = next(service for service in soak.killed if server == service.name)

    assert service.kills > 0
    assert service.confirmed > 100
    assert service.confirmed <= total(soak.page, server) <= service.confirmed + service.failed
    assert service.failed <= service.kills * CALLERS


def test_nothing_grows(soak: Soak) -> None:
    """No file of an ended worker is left, and the sidecar has no more descriptors and hardly more memory."""
    early, late = soak.weights

    assert [".crashed", ".leader", ".pools", ".reserve", ".shown", "acc.json"] == soak.files
    assert early[0] + 5 >= late[0]
    assert early[1] + 8192 >= late[1]


def test_no_fault_is_reported(soak: Soak) -> None:
    """No hook error, orphan, exhaustion, timeout or failure of the directory, at any scrape, in any pool."""
    assert [{}, {}] == [reading.faults for reading in soak.readings]


def test_no_alert_is_false(soak: Soak) -> None:
    """Only that workers crashed, and what else is true of this load, is an alert of this project's rules."""
    assert [] == soak.rule_errors
    assert 1 == soak.is_up
    assert (CRASHED, "") in soak.watch.fired
    assert {} == {alert: text for alert, text in soak.watch.fired.items() if alert not in TRUE_ALERTS}


def test_healthy_service_is_healthy(soak: Soak) -> None:
    """A pool that is used at nearly its limit, by a batch, a listener, streams and time limits, has no report."""
    assert ([], {"healthy"}) == (soak.reports.reported, soak.reports.verdicts)
    assert [] == soak.healthy_failed
    assert soak.reports.heard > 0
    assert total(soak.page, ASYNC_POOL, USED_SECONDS) > BUSY_SHARE * SECONDS * ASYNC_LIMIT
