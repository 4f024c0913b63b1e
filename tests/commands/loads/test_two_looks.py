"""Two looks at a shared directory or at a page of metrics: also what a pool's holders do is read."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pool_exporter.advice.present import Present
from pool_exporter.commands.http_page import HttpPage, PageError
from pool_exporter.commands.loads.argument_page import ArgumentPage
from pool_exporter.commands.loads.two_looks import look_at_directory, look_at_page
from pool_exporter.metrics.holders import Holder
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport
from pool_exporter.state import layout
from pool_exporter.state.layout import SECOND
from pool_exporter.web.prometheus_collector import PoolCollector
from pool_exporter.web.status.pools_json import to_document
from pool_exporter.workers.file_writer import WorkerFiles
from tests.fixtures.incidents import leak

ORDERS = PoolIdentity("orders", "postgresql")


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Iterator[Path]:
    """A directory with one worker, which holds one connection in its own code, and has said `leak`."""
    files = WorkerFiles(tmp_path, "1")
    slots = files.allocate(ORDERS, PoolConfig(3, 2))
    assert slots is not None
    slots[layout.ORIGIN], slots[layout.OPEN_COUNT] = time.monotonic_ns() - 10 * SECOND, 1
    slots[layout.CHECKOUT_TIMES] = SECOND
    holder = Holder(8.0, "a.py:1 in f", "GET /a", activity="own_code")
    report = PoolReport(ORDERS, (holder,), verdict="leak", verdict_at=time.time())
    files.write_holders([(slots, 9 * SECOND, report)], time.time())
    files.write_heartbeat(time.monotonic_ns(), 0)
    yield tmp_path
    files.unmap()


def test_directory(directory: Path) -> None:
    """The files of the workers have what the holders do, and the verdicts."""
    [pool] = look_at_directory(directory)().values()
    present = pool.present or Present()

    assert (("leak",), 1, 0, 1, "GET /a, taken at a.py:1 in f") == (
        present.verdicts,
        present.held,
        present.executing,
        present.elsewhere,
        present.culprit,
    )
    assert present.is_elsewhere


@pytest.mark.parametrize("has_state", [True, False])
def test_page(monkeypatch: pytest.MonkeyPatch, has_state: bool) -> None:
    """What the page of metrics does not have is read from `/-/pools.json` of the same server, where that is."""
    incident = leak()
    status, registry = incident.status(), CollectorRegistry()
    registry.register(PoolCollector(lambda: incident.snapshot))

    def get(page: HttpPage, path: str | None = None, _: str = "*/*") -> bytes:
        if path is None:
            return generate_latest(registry)
        if not has_state:
            raise PageError("it answers with status 404", 404)
        return json.dumps(to_document(status)).encode()

    monkeypatch.setattr(HttpPage, "get", get)
    [pool] = look_at_page(ArgumentPage("--url", "http://localhost/metrics", {}))().values()

    assert (status.pools[0].present if has_state else None) == pool.present
    assert ("leak",) == (status.pools[0].present or Present()).verdicts
