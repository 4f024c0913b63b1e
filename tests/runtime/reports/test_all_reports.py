"""The reports that belong to a process's snapshot: its own, or those of all workers of its directory."""

from pathlib import Path

import pytest

from pool_exporter.metrics.reports.process_report import ProcessReport
from pool_exporter.runtime.registry import registry
from pool_exporter.runtime.reports import all_reports as module
from pool_exporter.runtime.storage import Storage

OWN = (ProcessReport(1),)


@pytest.mark.parametrize(
    ("has_file", "shared", "expected"),
    [(False, (ProcessReport(2),), OWN), (True, None, OWN), (True, (ProcessReport(2),), (ProcessReport(2),))],
    ids=["in-memory", "unreadable", "shared"],
)
def test_reports_of_the_snapshot(
    monkeypatch: pytest.MonkeyPatch,
    has_file: bool,
    shared: tuple[ProcessReport, ...] | None,
    expected: tuple[ProcessReport, ...],
) -> None:
    """They are of the processes that the snapshot has pools of; where the directory cannot be read, of this one."""
    monkeypatch.setattr(module, "process_reports", lambda: OWN)
    monkeypatch.setattr(type(registry.storage), "has_file", property(lambda _: has_file))
    monkeypatch.setattr(registry.storage, "shared_reports", lambda: shared)

    assert expected == module.all_reports()


def test_storage_reads_its_directory(tmp_path: Path) -> None:
    """An empty directory has no reports; without a directory, or with one that cannot be read, it is None."""
    assert Storage(None).shared_reports() is None
    assert () == Storage(tmp_path).shared_reports()
    assert Storage(tmp_path / "missing").shared_reports() is None
