"""What the sidecar costs: `python -m tests.bench.sidecar` runs it as a process over an hour's worth of scrapes.

An hour has 240 scrapes at the usual 15 seconds; here they follow each other at once, which is the same work. Processor
time is the process's own, user and system, as the kernel counts it; memory is what it has resident.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pool_exporter.workers.file_writer import WorkerFiles
from tests.bench.directory import fill
from tests.bench.versions import machine
from tests.fixtures.sidecar import Sidecar, sidecar

SCRAPES: Final = 240
SIZES: Final = ((4, 1, 0), (4, 10, 0), (64, 4, 0), (512, 4, 0), (4, 1, 1_000), (4, 1, 10_000))
"""Living workers, pools of each, and workers that have ended before."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_WARM_UP: Final = 5


@contextmanager
def workers(directory: Path, living: int, pools: int, ended: int) -> Iterator[list[Any]]:
    """Keep so many workers in a directory, after so many have come and gone."""
    for _ in range(ended):
        gone = _worker(directory, pools)
        gone.mark_ended()
        gone.unmap()
    made = [_worker(directory, pools) for _ in range(living)]
    yield made
    for worker in made:
        worker.mark_ended()
        worker.unmap()


def _worker(directory: Path, pools: int) -> WorkerFiles:
    made = WorkerFiles(directory, "1")
    fill(made, pools)
    return made


def hour(directory: Path, living: int, pools: int, ended: int) -> list[float]:
    """Return CPU seconds of an hour's scrapes, milliseconds of one as its client sees it, MiB before and after."""
    with workers(directory, living, pools, ended) as made, sidecar(directory) as serving:
        for _ in range(_WARM_UP):
            serving.ask()
        cpu, memory, start = _cpu(serving), _memory(serving), time.perf_counter()
        for _ in range(SCRAPES):
            for worker in made:
                worker.write_heartbeat(time.monotonic_ns(), 0, 0)
            assert 200 == serving.ask().status
        took = (time.perf_counter() - start) / SCRAPES
        return [_cpu(serving) - cpu, took * 1e3, memory, _memory(serving)]


def _cpu(serving: Sidecar) -> float:
    fields = Path(f"/proc/{serving.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(serving: Sidecar) -> float:
    status = Path(f"/proc/{serving.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def report() -> str:
    """Return the table, measured now."""
    lines = [
        "# What the sidecar costs",
        "",
        f"`python -m tests.bench.sidecar`, {time.strftime('%Y-%m-%d')}, {machine()}.",
        f"The process over an hour's worth of scrapes ({SCRAPES}, one every 15 s), by HTTP, gzip left out.",
        "",
        "| living workers | pools of each | ended before | CPU s in the hour | ms a scrape | MiB before | MiB after |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for living, pools, ended in SIZES:
        with tempfile.TemporaryDirectory(prefix="pool_exporter_bench_", dir="/dev/shm") as place:
            (directory := Path(place) / "shared").mkdir()
            cpu, took, before, after = hour(directory, living, pools, ended)
        lines.append(f"| {living} | {pools} | {ended:,} | {cpu:.2f} | {took:.1f} | {before:.1f} | {after:.1f} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, print, and write to the file of `--output`."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sidecar", description=__doc__)
    parser.add_argument("--output", type=Path, help="the file that the report is written to")
    output: Path | None = parser.parse_args().output
    text = report()
    print(text)
    if output is not None:
        output.write_text(text)


if __name__ == "__main__":
    main()
