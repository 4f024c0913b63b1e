"""prometheus_client's directory without pool_exporter's own is explained once in the log."""

from dataclasses import replace

import pytest
from sqlalchemy import create_engine

import pool_exporter
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.notices.multiprocess import MultiprocessNotice
from tests.golden import ORDERS, SNAPSHOT

OWN = Snapshot((ORDERS,))


def warnings_of(caplog: pytest.LogCaptureFixture, snapshot: Snapshot) -> list[str]:
    """Return what is logged by two scrapes."""
    notice = MultiprocessNotice(lambda: snapshot)

    assert [snapshot, snapshot] == [notice(), notice()]
    return [record.getMessage() for record in caplog.records]


def test_directory_of_prometheus_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The first scrape says what each scrape shows, and what to do."""
    [message] = warnings_of(caplog, OWN)

    assert "PROMETHEUS_MULTIPROC_DIR is set and POOL_EXPORTER_DIR is not" in message
    assert "set POOL_EXPORTER_DIR" in message


@pytest.mark.parametrize(
    "snapshot",
    [Snapshot(), SNAPSHOT, replace(OWN, transport_errors=1)],
    ids=["no-pool", "both", "both-and-a-fault"],
)
def test_no_warning(caplog: pytest.LogCaptureFixture, snapshot: Snapshot) -> None:
    """A process without pools, or with a directory of its own, gets no warning."""
    assert [] == warnings_of(caplog, snapshot)


@pytest.mark.parametrize(("variable", "expected"), [("", 0), ("/run/metrics", 1)])
def test_collector(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str, expected: int
) -> None:
    """A collector of this process warns where prometheus_client has a directory when the collector is made."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", variable)
    engine = create_engine("sqlite://")
    monitor, collector = pool_exporter.instrument(engine), pool_exporter.PoolCollector()
    list(collector.collect())
    monitor.close()

    assert expected == len([record for record in caplog.records if "PROMETHEUS_MULTIPROC_DIR" in record.getMessage()])
