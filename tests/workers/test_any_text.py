"""A text of a file that no output can encode costs one character: the pool, its labels and its units are shown."""

from pathlib import Path

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.state import layout
from pool_exporter.state.shown_pool import ShownTimes
from pool_exporter.web.responses import METRICS, Request, respond
from pool_exporter.workers.compaction import Compactor
from pool_exporter.workers.dead_worker_totals import TOTALS_FILE, Totals, save
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_reader import scan
from pool_exporter.workers.file_writer import WorkerFiles
from pool_exporter.workers.last_shown import POOLS, note_pools_shown

HALF = rb'"\ud800"'
"""Half a surrogate pair in JSON, of as many bytes as `"orders"`."""


def damage(path: Path) -> None:
    """Write HALF in the place of each text `orders` of a file."""
    path.write_bytes(path.read_bytes().replace(b'"orders"', HALF))


def shown(directory: Path) -> tuple[PoolSnapshot, ...]:
    """Return the pools of a scrape that is answered."""
    reader = DirectoryReader(directory)
    assert 200 == respond(Request("GET", METRICS), reader).status
    return reader().pools


def test_worker_file(tmp_path: Path) -> None:
    """It is the pool's name and a label of its configuration; before compaction, and after."""
    worker = WorkerFiles(tmp_path, "1")
    slots = worker.allocate(PoolIdentity("orders"), PoolConfig(3, 2, {"driver": "orders"}))
    assert slots is not None
    slots[layout.CONNECTS] = 7
    [path] = tmp_path.glob("w-*")
    damage(path)
    [living] = shown(tmp_path)
    worker.unmap()
    Compactor(tmp_path).compact(scan(tmp_path))
    [ended] = shown(tmp_path)

    assert ("?", 7, {"driver": "?"}) == (living.name, living.connects, living.config.labels)
    assert ("?", 7) == (ended.name, ended.connects)


def test_totals(tmp_path: Path) -> None:
    """It is the name of an ended pool, and of a unit."""
    orders, slots = PoolIdentity("orders"), [0] * layout.SLOT_COUNT
    slots[layout.USE_SUM] = 3 * layout.SECOND
    save(tmp_path, Totals({orders: slots}, units={orders: {"orders": layout.SECOND}}))
    damage(tmp_path / TOTALS_FILE)
    [found] = shown(tmp_path)

    assert ("?", 1.0) == (found.name, found.unit_used_seconds["?"])


def test_what_was_shown(tmp_path: Path) -> None:
    """It is the name of a unit of which another reader has shown a time."""
    orders, slots = PoolIdentity("pool"), [0] * layout.SLOT_COUNT
    slots[layout.USE_SUM] = 3 * layout.SECOND
    save(tmp_path, Totals({orders: slots}))
    note_pools_shown(tmp_path, {orders: ShownTimes((3.0, 0.0, 0.0), {"none": 0, "orders": layout.SECOND})}, [orders])
    damage(tmp_path / POOLS)
    [found] = shown(tmp_path)

    assert 1.0 == found.unit_used_seconds["?"]
