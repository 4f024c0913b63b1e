"""A page that shows one of several workers by chance is explained once in the log."""

from dataclasses import replace

import pytest

from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.notices import shared_port
from pool_exporter.web.notices.shared_port import LOOKS_MAX, SharedPortNotice
from tests.golden import ORDERS, SNAPSHOT

OWN = Snapshot((ORDERS,))


class Looks:
    """Stands for `sharing_a_port`: the others at each look; none at the later ones."""

    def __init__(self, *others: list[int]) -> None:
        self.others, self.count = list(others), 0

    def __call__(self) -> list[int]:
        """Return what the next look finds."""
        self.count += 1
        return self.others.pop(0) if self.others else []


def scraped(monkeypatch: pytest.MonkeyPatch, looks: Looks, snapshot: Snapshot = OWN, times: int = 10) -> None:
    """Scrape a page."""
    monkeypatch.setattr(shared_port, "sharing_a_port", looks)
    notice = SharedPortNotice(lambda: snapshot)

    assert [snapshot] * times == [notice() for _ in range(times)]


def test_workers_without_a_directory(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The first scrape that finds other workers says what each scrape shows, and what to do; no later one looks."""
    looks = Looks([], [7, 8, 9], [7])
    scraped(monkeypatch, looks)
    [message] = [record.getMessage() for record in caplog.records]

    assert 2 == looks.count
    assert "and 3 other processes accept requests on the same port: each scrape shows one of them by chance" in message
    assert "set POOL_EXPORTER_DIR" in message


def test_process_alone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It looks a few times, and then never again."""
    looks = Looks()
    scraped(monkeypatch, looks)

    assert (LOOKS_MAX, []) == (looks.count, caplog.records)


def test_forked_worker_looks_for_itself(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What a process has found does not keep its child from looking."""
    monkeypatch.setattr(shared_port, "sharing_a_port", Looks([7], [8]))
    notice = SharedPortNotice(lambda: OWN)
    notice()
    monkeypatch.setattr("os.getpid", lambda: 8)
    notice()

    assert 2 == len(caplog.records)


@pytest.mark.parametrize(
    "snapshot",
    [Snapshot(), replace(OWN, transport_errors=1), SNAPSHOT],
    ids=["no-pool", "directory-fails", "directory"],
)
def test_no_look(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, snapshot: Snapshot) -> None:
    """A process without pools or with a directory looks for no other: the directory has its own warnings."""
    looks = Looks([7])
    scraped(monkeypatch, looks, snapshot)

    assert (0, []) == (looks.count, caplog.records)
