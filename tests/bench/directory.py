"""What a scrape of many workers costs: reading, adding up and printing; and prometheus_client's multiprocess mode.

Both sides have the same workers with the same pools, series and values, in files that their own writers made, in a
directory in memory. This process writes all files, which makes no difference to the reader: the package's files are
locked, and so alive, for as long as they are mapped.
"""

import atexit
import gc
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, Final

from tests.bench.worker import Job

BUDGET: Final = (512, 4, 0)
"""The size that has a budget: workers, pools of each, and workers that have ended before."""
SIZES: Final = (
    *((workers, pools, 0) for workers in (4, 64, 512) for pools in (1, 10)),
    BUDGET,
    *((4, 1, ended) for ended in (100, 1000)),
)
_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # a directory of its own is made in it


def jobs(side: str, workers: str, pools: str, dead: str = "0") -> dict[str, Job]:
    """Return what one scrape of so many *workers* with *pools* each takes, in nanoseconds, and how many samples it has.

    *dead* is how many workers have come and gone before.
    """
    place = tempfile.TemporaryDirectory(prefix="pool_exporter_bench_", dir=_MEMORY if _MEMORY.is_dir() else None)
    atexit.register(place.cleanup)
    make = {"pool_exporter": worker_files, "multiprocess": multiprocess}[side]
    scrape = make(Path(place.name), int(workers), int(pools), int(dead))
    scrape()
    return {"scrape": partial(_timed, scrape), "samples": lambda _: scrape().count(b"\n") - scrape().count(b"\n#")}


def _timed(scrape: Callable[[], bytes], count: int) -> float:
    gc.collect()
    start = time.thread_time_ns()
    for _ in repeat(None, count):
        scrape()
    return (time.thread_time_ns() - start) / count


def worker_files(directory: Path, workers: int, pools: int, dead: int) -> Callable[[], bytes]:
    """Return the sidecar's scrape: everything but the socket."""
    from pool_exporter.web.responses import Request, respond
    from pool_exporter.workers.directory_snapshot import DirectoryReader
    from pool_exporter.workers.file_writer import WorkerFiles

    reader, asked = DirectoryReader(directory), Request("GET", "/metrics")
    for _ in range(dead):
        gone = WorkerFiles(directory, "1")
        fill(gone, pools)
        gone.mark_ended()
        gone.unmap()
    living = [WorkerFiles(directory, "1") for _ in range(workers)]
    for worker in living:
        fill(worker, pools)
        worker.write_heartbeat(time.monotonic_ns(), 0)
    return lambda: respond(asked, reader).body if living else b""


def fill(worker: Any, pools: int) -> None:  # imported where it is used
    """Give a worker so many pools with numbers in them."""
    from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
    from pool_exporter.state import layout

    for number in range(pools):
        slots = worker.allocate(
            PoolIdentity(f"pool-{number}", "postgresql", "shop", "db", "5432", "api"), PoolConfig(15, 5)
        )
        slots[layout.ORIGIN] = time.monotonic_ns()
        slots[layout.OPEN_COUNT], slots[layout.CONNECTS], slots[layout.LIMIT] = 5, 7, 15
        for at in range(layout.WAIT, layout.CHECKOUT_TIMES):
            slots[at] = at


def multiprocess(directory: Path, workers: int, pools: int, dead: int) -> Callable[[], bytes]:
    """Return prometheus_client's scrape; a dead worker's files stay, but for those of its gauges."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    from prometheus_client import CollectorRegistry, generate_latest, values
    from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

    for pid in range(1, workers + dead + 1):
        values.ValueClass = values.MultiProcessValue(lambda pid=pid: pid)  # type: ignore[no-untyped-call]  # as it is
        _write(pools)
        if pid <= dead:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]  # as it is
    gc.collect()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # as it is
    return lambda: generate_latest(registry)


def _write(pools: int) -> None:
    """Write what `fill` writes, as the metrics of the package's catalogue."""
    from prometheus_client import Counter, Gauge, Histogram

    from pool_exporter.metrics.metric import Kind
    from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, POOL_METRICS

    labels = {
        "pool": "",
        "system": "postgresql",
        "namespace": "shop",
        "address": "db",
        "port": "5432",
        "service": "api",
    }
    for metric in POOL_METRICS:
        own = None if metric.label is None else metric.label.prometheus
        names = [*labels, *filter(None, [own])]
        made: Counter | Histogram | Gauge
        if metric.kind is Kind.COUNTER:
            made = Counter(metric.family, metric.help, names, registry=None)
        elif metric.kind is Kind.HISTOGRAM:
            made = Histogram(metric.family, metric.help, names, buckets=BOUNDS_SECONDS, registry=None)
        else:
            name = metric.family.replace("_count", "_n")  # It refuses what ends as a histogram's series do.
            made = Gauge(name, metric.help, names, multiprocess_mode="livesum", registry=None)
        for number in range(pools):
            for value in metric.label.values if metric.label else [""]:
                child: Any = made.labels(**{**labels, "pool": f"pool-{number}", **({own: value} if own else {})})
                (child.observe if metric.kind is Kind.HISTOGRAM else child.inc)(number + 1)
