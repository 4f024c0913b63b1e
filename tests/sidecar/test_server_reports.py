"""The sidecar's reports with a probe: a server is asked while callers wait, and not for each page."""

import threading
from dataclasses import replace

import pytest

from pool_exporter.metrics.backend_activity import BackendActivity
from pool_exporter.metrics.holders import Holder, Waiter
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport, ProcessReport
from pool_exporter.probe.target import parse_targets
from pool_exporter.sidecar import server_reports
from pool_exporter.sidecar.server_reports import AGAIN_SECONDS, STALE_SECONDS, ServerReports

TARGETS = parse_targets(["postgresql+asyncpg://monitor@db:5432/shop"])
POOL = PoolReport(
    PoolIdentity("orders", "postgresql", "shop", "db", "5432"),
    (Holder(1.0, server_pid=7),),
    (Waiter(3.0),),
    verdict="slow_queries",
)
WAITED_FOR = (ProcessReport(4711, pools=(POOL,)),)
QUIET = (ProcessReport(4711, pools=(replace(POOL, waiters=()),)),)


class Servers:
    """Stands in for the query: it keeps when it was called."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[float] = []

    def query(self, *_: object, **__: object) -> dict[object, dict[int, BackendActivity]]:
        """Answer as a server with one backend."""
        self.asked.append(self.now)
        return {TARGETS[0].identity: {7: BackendActivity(7, "active", 3.0)}}


@pytest.fixture(name="servers")
def _servers(monkeypatch: pytest.MonkeyPatch) -> Servers:
    servers = Servers()
    monkeypatch.setattr(server_reports, "query_servers", servers.query)
    return servers


def ask(reports: ServerReports, servers: Servers, seconds: float = 0.0) -> str:
    """Return what the second of two pages, *seconds* later, has of the server; the first one has it asked."""
    reports()
    reports._query.wait(60)
    servers.now += seconds
    [report] = reports()
    return report.pools[0].holders[0].server


def test_holders_have_what_the_server_says(servers: Servers) -> None:
    """The first page has it asked, and those that follow have the answer."""
    reports = ServerReports(lambda: WAITED_FOR, TARGETS, clock=lambda: servers.now)
    [first] = reports()

    assert "active for 3.0 s" == ask(reports, servers)
    assert first.pools[0].holders[0].server in ("", "active for 3.0 s")


def test_no_query_while_nothing_waits(servers: Servers) -> None:
    """A page that is kept open costs the server nothing."""
    assert QUIET == ServerReports(lambda: QUIET, TARGETS, clock=lambda: servers.now)()
    assert [] == servers.asked


def test_one_query_for_many_pages(servers: Servers) -> None:
    """The answer is used again for AGAIN_SECONDS."""
    reports = ServerReports(lambda: WAITED_FOR, TARGETS, clock=lambda: servers.now)
    for _ in range(3):
        ask(reports, servers, AGAIN_SECONDS / 2)

    assert [100.0, 100.0 + AGAIN_SECONDS] == servers.asked


def test_old_answer_is_not_shown(servers: Servers) -> None:
    """What the server said half a minute ago may be wrong by now."""
    reports = ServerReports(lambda: WAITED_FOR, TARGETS, clock=lambda: servers.now)

    assert "active for 3.0 s" == ask(reports, servers, AGAIN_SECONDS / 2)
    reports._query._began_at += 10 * STALE_SECONDS  # As if it were being asked.
    assert "" == ask(reports, servers, STALE_SECONDS)


def test_page_does_not_wait_for_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer costs no page its time, and is asked by one thread at a time."""
    release, asked = threading.Event(), list[int]()

    def hang(*_: object, **__: object) -> dict[object, object]:
        asked.append(1)
        release.wait(60)
        return {}

    monkeypatch.setattr(server_reports, "query_servers", hang)
    now = [100.0]
    reports = ServerReports(lambda: WAITED_FOR, TARGETS, clock=lambda: now[0])
    shown = [reports()]
    now[0] += 10 * AGAIN_SECONDS
    shown.append(reports())
    release.set()
    reports._query.wait(60)

    assert [WAITED_FOR, WAITED_FOR] == shown
    assert [1] == asked
