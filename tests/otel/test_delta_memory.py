"""A restarted sidecar pushes as deltas only what came since the last push that arrived: issue 10, item 8."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.pool_snapshot import Histogram
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.otel.delta_memory import DeltaMemory
from pool_exporter.otel.points import GROWING, PointStream
from tests.golden import ORDERS


def snapshot(waits: int, hook_errors: int = 0) -> Snapshot:
    """Return one pool with so many waits in the first bucket."""
    buckets = (waits, *(0,) * (len(ORDERS.wait_time.buckets) - 1))
    return Snapshot((replace(ORDERS, wait_time=Histogram(buckets, 0.0)),), hook_errors)


def deltas(stream: PointStream, shown: Snapshot, now: int) -> tuple[int, float, int]:
    """Return the waits and hook errors of the next push, and since when the waits count."""
    points = stream.read(shown, now)
    [waits] = points["db.client.connection.wait_time"]
    [errors] = points["pool_exporter.hook_errors"]
    assert isinstance(waits.value, Histogram)
    assert isinstance(errors.value, int)
    return waits.value.count, errors.value, waits.start


def restarted(directory: Path, target: str = "collector") -> PointStream:
    """Return the stream of a sidecar that has just begun."""
    stream = PointStream(1_000, frozenset({Kind.COUNTER, Kind.HISTOGRAM}))
    DeltaMemory(directory, target).restore(stream)
    return stream


def test_restarted_sidecar_goes_on(tmp_path: Path) -> None:
    """What arrived before the restart is not pushed again; what came since is, and it counts since then."""
    first = restarted(tmp_path)
    found = [deltas(first, snapshot(11, 2), 2_000)]
    DeltaMemory(tmp_path, "collector").save(snapshot(11, 2), 2_000)
    found.append(deltas(restarted(tmp_path), snapshot(14, 3), 3_000))

    assert [(11, 2, 1_000), (3, 1, 2_000)] == found


def test_counters_that_began_anew_are_pushed_whole(tmp_path: Path) -> None:
    """A pool with lower counters than the stored ones is another pool, and all its counts are new."""
    DeltaMemory(tmp_path, "collector").save(snapshot(11), 2_000)

    assert 5 == deltas(restarted(tmp_path), snapshot(5), 3_000)[0]


def test_each_target_has_its_own(tmp_path: Path) -> None:
    """What one collector got, another has not."""
    DeltaMemory(tmp_path, "collector").save(snapshot(11), 2_000)

    assert 11 == deltas(restarted(tmp_path, "another"), snapshot(11), 3_000)[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"at": "x", "pools": [], "exporter": {}}',
        '{"at": 1, "pools": [[1, 2]], "exporter": {}}',
        "[" * 9999,
    ],
)
def test_damaged_file_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Whatever the file holds, the pushes go on, with one warning."""
    DeltaMemory(tmp_path, "collector").save(snapshot(11), 2_000)
    [path] = tmp_path.iterdir()
    path.write_text(text)
    with caplog.at_level(logging.WARNING, logger="pool_exporter"):
        stream = restarted(tmp_path)

    assert 11 == deltas(stream, snapshot(11), 3_000)[0]
    assert 1 == len(caplog.messages)


def test_directory_that_cannot_be_written_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A push that arrived is no failure because it cannot be noted."""
    memory = DeltaMemory(tmp_path / "missing", "collector")
    with caplog.at_level(logging.WARNING, logger="pool_exporter"):
        memory.save(snapshot(1), 1)
        memory.save(snapshot(2), 2)

    assert 1 == len(caplog.messages)


def test_restored_stream_commits_as_any_other(tmp_path: Path) -> None:
    """After the first push of the restarted sidecar the next one counts since that."""
    DeltaMemory(tmp_path, "collector").save(snapshot(11), 2_000)
    stream = restarted(tmp_path)
    deltas(stream, snapshot(12), 3_000)
    stream.commit(3_000)

    assert (4, 0, 3_000) == deltas(stream, snapshot(16), 4_000)
    assert stream.deltas == GROWING
