"""What docs/how-to/scale.md says of the shared directory and the sidecar is true, and fits the manifests."""

import re
import time
import tracemalloc
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import yaml
from sqlalchemy import create_engine

import pool_exporter
from grafana.rules.model import RecordingRule
from grafana.rules.recording import GROUPS
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_metrics import BUCKETS, POOL_NAME, STATES
from pool_exporter.metrics.snapshot import DirectoryFaults, Snapshot
from pool_exporter.runtime import instrumentation
from pool_exporter.state import layout
from pool_exporter.web.responses import METRICS, Request, respond
from pool_exporter.workers.dead_worker_totals import POOLS_MAX
from pool_exporter.workers.directory_snapshot import SHOWN_MAX, DirectoryReader
from pool_exporter.workers.file_format import ENTRIES_MAX, FILE_BYTES, FIRST_FILE_BYTES
from pool_exporter.workers.file_writer import WorkerFiles
from pool_exporter.workers.reports.crashed import BYTES_MAX
from tests.dashboards.boards import ROOT

MIB = 1024 * 1024
PAGE = (ROOT / "docs" / "how-to" / "scale.md").read_text()


def said(pattern: str) -> float:
    """Return the number that the page has in the place of the group."""
    found = re.findall(pattern, " ".join(PAGE.split()))

    assert 1 == len(found), pattern
    return float(found[0].replace(",", ""))


BASE, POOL, PART, TOTALS = (
    said(r"Sidecar\*\*: ([\d.]+) MiB"),
    said(r"([\d.]+) MiB for each pool on the page, living or ended"),
    said(r"([\d.]+) MiB for each pool of each worker"),
    said(r"the totals of ended workers, ([\d.]+) kB a pool") / 1000,
)


def memory(pools: int, workers: int, ended: int) -> float:
    """Return the MiB of a sidecar for so many pools in each worker, and names of ended ones."""
    return BASE + POOL * (pools + ended) + PART * pools * workers


def files(pools: int, workers: int) -> int:
    """Return how many files so many workers have."""
    return workers * -(-pools // ENTRIES_MAX)


def directory(pools: int, workers: int, ended: int) -> float:
    """Return the MiB of a directory: the files, the totals, the reserve of twice their size, and what crashed held."""
    sizes = files(pools, workers) * FILE_BYTES + workers * (FIRST_FILE_BYTES - FILE_BYTES)
    return (sizes + 2 * BYTES_MAX) / MIB + 3 * max(TOTALS * ended, 0.0625)


def mebibytes(quantity: str) -> int:
    """Return a quantity of Kubernetes, systemd or mount."""
    number, unit = re.fullmatch(r"(\d+)(Mi|M|m)", quantity).groups()  # type: ignore[union-attr]  # else it fails

    assert unit
    return int(number)


def kubernetes(pattern: str) -> list[int]:
    """Return a quantity of each component that has it."""
    texts = [path.read_text() for path in sorted((ROOT / "deploy" / "kubernetes" / "components").glob("*/*.yaml"))]
    return [mebibytes(found) for text in texts for found in re.findall(pattern, text)]


def systemd_limit() -> int:
    """Return the limit of the unit's memory."""
    unit = (ROOT / "deploy" / "systemd" / "pool-exporter.service").read_text()
    return mebibytes(re.findall(r"^MemoryMax=(\w+)$", unit, re.MULTILINE)[0])


def compose_volumes() -> list[int]:
    """Return the sizes of the volumes that services of the Compose files share."""
    texts = [(ROOT / "deploy" / "compose" / name).read_text() for name in ("compose.yaml", "sidecar.yaml")]
    return [mebibytes(found) for text in texts for found in re.findall(r"o: size=(\w+)", text)]


def compose_limit() -> int:
    """Return the limit of the memory of a sidecar for one's own Compose file."""
    sidecar = yaml.safe_load((ROOT / "deploy" / "compose" / "sidecar.yaml").read_text())
    return mebibytes(sidecar["services"]["pool-exporter"]["mem_limit"])


SIZES = ((20, 1), (220, 1), (20, 21))

LIMITS = [*kubernetes(r"limits:\n +memory: (\w+)"), systemd_limit(), compose_limit()]
VOLUMES = [*kubernetes(r"sizeLimit: (\w+)"), *compose_volumes()]


def test_every_manifest_is_found() -> None:
    """The components, the Compose files and the unit of systemd; all have the same sizes."""
    assert (6, {384}) == (len(LIMITS), set(LIMITS))
    assert (5, {64}) == (len(VOLUMES), set(VOLUMES))


def test_sizes_of_the_page_on_deployment() -> None:
    """Each row of its table has a volume and a memory that are enough for its workers and pools."""
    page = (ROOT / "docs" / "how-to" / "deploy.md").read_text()
    _, _, rows = page.partition("| workers | pools | volume | sidecar's memory |\n|---:|---:|---:|---:|\n")
    found = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.partition("\n\n")[0].splitlines()]
    cases = []
    for workers, pools, volume, limit in found:
        pairs = zip(re.findall(r"[\d,]+\d|\d", workers), re.findall(r"[\d,]+\d|\d", pools), strict=True)
        sizes = [(int(left.replace(",", "")), int(right.replace(",", ""))) for left, right in pairs]
        cases += [(*size, mebibytes(volume.split(",")[0]), mebibytes(limit.split(",")[0])) for size in sizes]

    assert 5 == len(cases)
    for workers_count, pools_count, volume_mib, limit_mib in cases:
        assert directory(pools_count, workers_count, 0) <= volume_mib
        assert memory(pools_count, workers_count, 0) <= limit_mib


def test_thousand_pools_in_four_workers_fit_the_manifests() -> None:
    """With as many names of ended pools as are kept, and with the most units of work for each pool."""
    units = 1000 * said(r"in each of 4 workers takes ([\d.]+) MiB more")

    assert memory(1000, 4, POOLS_MAX) + units <= min(LIMITS)
    assert directory(1000, 4, POOLS_MAX) <= min(VOLUMES)


def test_whatever_a_volume_of_the_manifests_holds_fits_their_memory() -> None:
    """As many pools as have series, a volume full of files, and units in some of the pools."""
    units = 1000 * said(r"in each of 4 workers takes ([\d.]+) MiB more")
    entries = min(VOLUMES) * MIB // FILE_BYTES * ENTRIES_MAX

    assert BASE + POOL * SHOWN_MAX + PART * entries + units <= min(LIMITS)


@pytest.mark.parametrize("size", [16, 64])
def test_volume_holds_what_the_page_says(size: int) -> None:
    """The files, and the space that compaction needs beside them when none but a few pools has ended."""
    count = int(said(rf"{size} MiB hold ([\d,]+) files"))

    assert count * FILE_BYTES / MIB + directory(0, 0, 14) <= size
    assert (count * 1.1) * FILE_BYTES / MIB > size


@pytest.mark.parametrize(("size", "pattern"), [(16, r"one pool each they hold (\d+)"), (64, r"files, or (\d+) such")])
def test_volume_holds_so_many_workers_of_one_pool(size: int, pattern: str) -> None:
    """Each of them has one file, which is larger."""
    workers = int(said(pattern))

    assert directory(1, workers, 14) <= size < directory(1, int(workers * 1.1), 14)


def test_small_volume_holds_the_example() -> None:
    """Four workers with as many pools as the page says."""
    assert directory(int(said(r"such as 4 workers with (\d+) pools;")), 4, 14) <= 16


def test_bounds_are_as_the_page_says() -> None:
    """How many pools have series of their own, and how many names of ended pools are kept."""
    assert said(r"([\d,]+) pools, living or ended, have series of their own") == SHOWN_MAX
    assert said(r"([\d,]+) names of ended pools") == POOLS_MAX


def peak(directory: Path, pools: int, workers: int) -> float:
    """Return the MiB of the scrapes of so many pools in each worker, by a new reader."""
    directory.mkdir()
    made = [WorkerFiles(directory, "1") for _ in range(workers)]
    for worker, number in product(made, range(pools)):
        identity = PoolIdentity(f"pool-{number:05}", "postgresql", "orders", "db.example.com", "5432", "checkout")
        slots = worker.allocate(identity, PoolConfig(15, 5, {}))
        assert slots is not None
        for slot in range(layout.WAIT, layout.CHECKOUT_TIMES):
            slots[slot] = 1000 + slot  # No two numbers are one object, as small ones are.
        slots[layout.ORIGIN] = time.monotonic_ns()
    tracemalloc.start()
    reader = DirectoryReader(directory)
    statuses = [respond(Request("GET", METRICS, "", "", "gzip"), reader).status for _ in range(3)]
    _, found = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for worker in made:
        worker.unmap()

    assert [200] * 3 == statuses
    return found / MIB


def test_memory_is_as_the_page_says(tmp_path: Path) -> None:
    """What Python allocates for a pool, and for a pool of one worker more, is not more than the page says."""
    few, many, crowded = (peak(tmp_path / f"{pools}x{workers}", pools, workers) for pools, workers in SIZES)

    assert 0 < (many - few) / 200 <= POOL + PART
    assert 0 < (crowded - few) / (20 * 20) <= PART


def test_series_are_as_the_page_says(tmp_path: Path) -> None:
    """Those of a pool without units of work, and those of a sidecar without pools."""
    worker = WorkerFiles(tmp_path, "1")
    reader = DirectoryReader(tmp_path)

    def source() -> Snapshot:
        return replace(reader(), faults=DirectoryFaults({}), web_config_stale=0)

    page = [respond(Request("GET", METRICS), source).body.decode()]
    worker.allocate(PoolIdentity("orders"), PoolConfig(15, 5, {}))
    page.append(respond(Request("GET", METRICS), source).body.decode())
    worker.unmap()
    none, one = (sum(not line.startswith("#") for line in text.splitlines()) for text in page)
    buckets = page[1].count("_bucket{") - page[0].count("_bucket{")

    assert said(r"of a sidecar, besides its pools; 3 more where it pushes \| (\d+)") == none
    assert (said(r"\| a pool with a limit \| (\d+), of which"), said(r"of which (\d+) are histograms")) == (
        one - none,
        buckets,
    )


def test_series_of_a_process_are_as_the_page_says() -> None:
    """Those that a process has besides the ones of its pools."""
    with pool_exporter.instrument(create_engine("sqlite://")):
        page = respond(Request("GET", METRICS), instrumentation.snapshot).body.decode()
    own = [line for line in page.splitlines() if not line.startswith("#") and POOL_NAME.prometheus not in line]

    assert said(r"of a process, besides its pools \| (\d+)") == len(own)


def test_recorded_series_are_as_the_page_says() -> None:
    """A rule records a series for each pool, or one for each bucket or state of it."""
    sizes = {"job_pool": 1, "job_pool_state": len(STATES.values), "job_pool_le": BUCKETS}
    rules = [rule for group in GROUPS for rule in group.rules if isinstance(rule, RecordingRule)]
    levels = [rule.record.partition(":")[0] for rule in rules]

    assert said(r"for each job over all of its instances \| (\d+)") == sum(sizes.get(level, 0) for level in levels)
    assert said(r"by the rules, for each instance \| (\d+)") == levels.count("instance_pool")
