"""A counter is one row of the table, one line of the catalogue and one store: everything else follows."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pool_exporter

PACKAGE = Path(pool_exporter.__file__).parent

NOVELTIES = """NOVELTIES: Final = TABLE.counter("novelties")
MARVELS: Final = TABLE.labelled_counter("marvels", INVALIDATIONS, "marvels")
"""
METRICS = """\
    Metric(_POOL + "novelties", Kind.COUNTER, "{novelty}", "Novelties.", "novelties"),
    Metric(_POOL + "marvels", Kind.COUNTER, "{marvel}", "Marvels.", "marvels", INVALIDATIONS),
"""
ROWS = {
    "state/layout.py": ('LEAKED: Final = TABLE.counter("leaked")\n', NOVELTIES),
    "metrics/pool_metrics.py": ("POOL_METRICS = (\n", METRICS),
}
"""Two counters: where each file gets its rows, and the rows."""

LOOK = """
import json
from prometheus_client import generate_latest
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.otel.points import PointStream
from pool_exporter.state import layout
from pool_exporter.state.aggregate import added, aggregate, as_final_counters
from pool_exporter.state.decode import decode
from pool_exporter.state.pool_state import PoolState
from pool_exporter.web.prometheus_collector import PoolCollector
from pool_exporter.workers.schema_translation import SCHEMA, translator

state = PoolState(lambda: 10**9)
state.slots[layout.NOVELTIES] += 5  # The one store.
state.slots[layout.MARVELS + 1] += 7
slots = list(state.slots)
pool = decode(slots, 10**9, PoolIdentity("orders"), PoolConfig())
assert (5, {"hard": 0, "soft": 7}) == (pool.counters["novelties"], pool.counters["marvels"]), pool.counters

dead = as_final_counters(slots, 10**9)
assert (5, 7) == (dead[layout.NOVELTIES], dead[layout.MARVELS + 1])
folded = added([dead, dead])
total, now = aggregate([(slots, 10**9), (folded, layout.SECOND)])
together = decode(total, now, PoolIdentity("orders"), PoolConfig())
assert (15, 21) == (together.counters["novelties"], together.counters["marvels"]["soft"])

written = json.loads(json.dumps(SCHEMA))
assert layout.NOVELTIES == written["single"]["novelties"]
assert slots == translator(written)(slots)
assert layout.NOVELTIES in layout.COUNTER_SLOTS

class Registry:
    def collect(self):
        return PoolCollector(lambda: Snapshot((pool,))).collect()

page = generate_latest(Registry()).decode()
assert 'sqlalchemy_pool_novelties_total{db_client_connection_pool_name="orders"} 5' in page, page
assert 'sqlalchemy_pool_marvels_total{db_client_connection_pool_name="orders",kind="soft"} 7' in page, page
assert [5] == [point.value for point in PointStream(0).read(Snapshot((pool,)), 1)["sqlalchemy.pool.novelties"]]

old = json.loads(open("old.json").read())
assert 0 == translator(old)([3] * old["words"])[layout.NOVELTIES], "an old worker beside a new reader"
assert 3 == translator(old)([3] * old["words"])[layout.LEAKED]
open("new.json", "w").write(json.dumps([written, slots]))
"""

OLD_LOOK = """
import json
from pool_exporter.state import layout
from pool_exporter.workers.schema_translation import translator

schema, slots = json.loads(open("new.json").read())
slots[schema["single"]["leaked"]] = 9
assert 9 == translator(schema)(slots)[layout.LEAKED], "a new worker beside an old reader"
"""


def run(code: str, folder: Path, path: Path) -> None:
    """Run *code* in *folder* with the package that is in *path*."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(path)!r})\n{code}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={})

    assert (0, "") == (done.returncode, done.stderr)


@pytest.fixture(name="extended")
def _extended(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package that has two counters more."""
    copy = tmp_path / "copy"
    shutil.copytree(PACKAGE, copy / "pool_exporter", ignore=shutil.ignore_patterns("__pycache__"))
    for name, (place, rows) in ROWS.items():
        path = copy / "pool_exporter" / name
        before, found, behind = path.read_text().partition(place)
        assert found
        path.write_text(before + place + rows + behind)
    return copy


def test_a_counter_is_one_row(extended: Path, tmp_path: Path) -> None:
    """A counter that is added to the table is decoded, aggregated, kept after its process, in the schema and shown.

    An old worker's file is read beside it, and an old reader reads what the new one writes.
    """
    dump = "import json\nfrom pool_exporter.workers.schema_translation import SCHEMA\n"
    run(dump + 'open("old.json", "w").write(json.dumps(SCHEMA))', tmp_path, PACKAGE.parent)
    run(LOOK, tmp_path, extended)
    run(OLD_LOOK, tmp_path, PACKAGE.parent)
