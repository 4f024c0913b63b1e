"""A page that shows only zeros, because forked workers use the pools, is explained once in the log."""

from dataclasses import replace

import pytest

from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.notices.fork_notice import ForkNotice
from tests.golden import FRESH, ORDERS, SNAPSHOT

UNUSED = Snapshot((FRESH,))


def warnings_of(caplog: pytest.LogCaptureFixture, snapshot: Snapshot, *, has_forked: bool = True) -> list[str]:
    """Return what is logged by two scrapes."""
    notice = ForkNotice(lambda: snapshot)
    notice.has_forked = has_forked
    shown = [notice(), notice()]

    assert [snapshot, snapshot] == shown
    return [record.getMessage() for record in caplog.records]


def test_zeros_after_a_fork_are_explained_once(caplog: pytest.LogCaptureFixture) -> None:
    """The first scrape after the fork logs what the page does not show, and what to do."""
    [message] = warnings_of(caplog, UNUSED)

    assert "not those of the processes that it forked" in message
    assert "set POOL_EXPORTER_DIR" in message


@pytest.mark.parametrize(
    "snapshot",
    [Snapshot(), Snapshot((FRESH, ORDERS)), Snapshot((replace(FRESH, pending=1),)), replace(SNAPSHOT, pools=(FRESH,))],
    ids=["no-pool", "one-in-use", "pending", "shared-directory"],
)
def test_other_pages_are_not_explained(caplog: pytest.LogCaptureFixture, snapshot: Snapshot) -> None:
    """A process that uses its pools, has none, or shows all processes, gets no warning."""
    assert [] == warnings_of(caplog, snapshot)


def test_zeros_without_a_fork_are_not_explained(caplog: pytest.LogCaptureFixture) -> None:
    """An application that has not used its pools yet gets no warning."""
    assert [] == warnings_of(caplog, UNUSED, has_forked=False)
