"""prometheus_client's directory without pool_exporter's own is explained once in the log."""

from dataclasses import replace

import pytest

from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.notices.multiprocess import MultiprocessNotice
from tests.golden import ORDERS, SNAPSHOT

OWN = Snapshot((ORDERS,))


def warnings_of(caplog: pytest.LogCaptureFixture, snapshot: Snapshot) -> list[str]:
    """Return what is logged by two scrapes."""
    notice = MultiprocessNotice(lambda: snapshot)

    assert [snapshot, snapshot] == [notice(), notice()]
    return [record.getMessage() for record in caplog.records]


def test_directory_of_prometheus_alone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The first scrape says what each scrape shows, and what to do."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/run/metrics")
    [message] = warnings_of(caplog, OWN)

    assert "PROMETHEUS_MULTIPROC_DIR is set and POOL_EXPORTER_DIR is not" in message
    assert "set POOL_EXPORTER_DIR" in message


@pytest.mark.parametrize(
    ("snapshot", "variable"),
    [(OWN, ""), (Snapshot(), "/run"), (SNAPSHOT, "/run"), (replace(OWN, transport_errors=1), "/run")],
    ids=["one-process", "no-pool", "both", "both-and-a-fault"],
)
def test_no_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, snapshot: Snapshot, variable: str
) -> None:
    """A process alone, without pools or with a directory of its own gets no warning."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", variable)

    assert [] == warnings_of(caplog, snapshot)
