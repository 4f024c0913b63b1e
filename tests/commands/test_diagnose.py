"""`pool-exporter diagnose`: its arguments and its outputs; what it reads is tested with the reader."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pool_exporter.cli import main
from pool_exporter.diagnosis.outside.set_aside import ADVICE
from pool_exporter.diagnosis.texts.cures import CURES
from pool_exporter.diagnosis.verdict import VERDICTS
from tests.workers.reports.test_directory_reports import HOLDER, Worker


@pytest.fixture(name="worker")
def _worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    worker.hold()
    worker.write(replace(HOLDER, seconds=8.0), verdict="leak")
    yield worker
    worker.files.unmap()


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return what the command prints."""
    assert 0 == main(["diagnose", *map(str, arguments)])
    return capsys.readouterr().out


@pytest.mark.usefixtures("worker")
def test_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pool of the living worker, with its holder."""
    shown = printed(capsys, "--dir", tmp_path)

    assert shown.startswith('pool "orders": leak')
    assert HOLDER.place in shown


@pytest.mark.parametrize("verdict", VERDICTS)
def test_explain(verdict: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a verdict means, its cause and its cure are printed, without a directory."""
    texts, shown = CURES[verdict], " ".join(printed(capsys, "--explain", verdict).split())

    assert f"{verdict} {texts.meaning[:1].upper()}{texts.meaning[1:]}. CAUSE {texts.cause} DO {texts.cure}" == shown


@pytest.mark.usefixtures("worker")
def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for scripts."""
    found = json.loads(printed(capsys, "--dir", tmp_path, "--json"))
    [process] = found["processes"]
    [holder] = process["pools"][0]["holders"]

    assert (1, "living", HOLDER.place) == (found["schema"], process["state"], holder["place"])


@pytest.mark.usefixtures("worker")
def test_one_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the pool of that name is shown."""
    assert 1 == printed(capsys, "--dir", tmp_path, "--pool", "orders").count('pool "')


@pytest.mark.usefixtures("worker")
def test_unknown_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that no pool has is an error with those that there are, and not a pool that holds nothing."""
    code = main(["diagnose", "--dir", str(tmp_path), "--pool", "odrers"])
    message = capsys.readouterr().err

    assert (2, True) == (code, "--pool" in message and "odrers" in message and "it has orders" in message)


def test_directory_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without one, and with wrong URLs, one message names both, and the exit code is 2."""
    code = main(["diagnose", "--database-url", "oracle://x"])
    message = capsys.readouterr().err

    assert (2, True, True) == (code, "--dir" in message, "--database-url" in message)


def test_missing_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory that cannot be read is one line."""
    code = main(["diagnose", "--dir", str(tmp_path / "missing")])

    assert (2, 1) == (code, capsys.readouterr().err.count("\n"))


def test_nothing_is_changed(worker: Worker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It only reads: a dead worker's file stays until it is compacted."""
    worker.files.mark_ended()
    before = sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.iterdir())
    printed(capsys, "--dir", tmp_path)

    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.iterdir())


@pytest.mark.usefixtures("worker")
def test_damaged_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a worker file that cannot be used, which one it is, why, and what to do are said beside what is shown."""
    (tmp_path / "w-a.pool").write_text("nonsense")
    shown = " ".join(printed(capsys, "--dir", tmp_path).split())

    assert HOLDER.place in shown
    assert "1 worker file could not be used: what its process may hold is not shown." in shown
    assert "w-a.pool: it has 8 bytes, too few for a worker file (irregular)" in shown
    assert shown.endswith(f"DO {ADVICE['irregular']}")


def test_only_a_damaged_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no worker file can be used, no screen says that no process has a pool."""
    (tmp_path / "w-a.pool").write_text("nonsense")
    shown = printed(capsys, "--dir", tmp_path)

    assert shown.startswith("1 worker file could not be used")


@pytest.mark.usefixtures("worker")
def test_damaged_file_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for scripts, as `dump` has it."""
    (tmp_path / "w-a.pool").write_text("nonsense")
    found = json.loads(printed(capsys, "--dir", tmp_path, "--json"))

    fault = "it has 8 bytes, too few for a worker file"
    assert [{"path": f"{tmp_path}/w-a.pool", "reason": "irregular", "fault": fault}] == found["set_aside"]
