"""The demo with workers and a sidecar, as processes."""

import os
import re
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.pool_metrics import POOL_METRICS
from tests.fixtures.deadlines import until
from tests.fixtures.sidecar import samples
from tests.test_demo_end_to_end import Demo, running

WORKERS = 3
COUNTERS = tuple(metric.prometheus for metric in POOL_METRICS if metric.kind is Kind.COUNTER) + tuple(
    f"{metric.family}{part}" for metric in POOL_METRICS if metric.kind is Kind.HISTOGRAM for part in ("_count", "_sum")
)


@pytest.fixture(name="demo")
def _demo(tmp_path: Path) -> Iterator[Demo]:
    """A demo with clients that keep every connection used."""
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH")]))
    arguments = ("--scene", "slow", "--workers", str(WORKERS), "--sidecar")
    with running(tmp_path, *arguments, PYTHONPATH=path) as demo:
        demo.wait_for(lambda: demo.scene == "slow")
        demo.wait_for(lambda: used(sidecar_of(demo)) >= WORKERS)
        yield demo
        if demo.process.poll() is None:
            demo.stop(signal.SIGTERM)


def line_of(demo: Demo, name: str) -> str:
    """Return a line of the banner."""
    [line] = [line for line in demo.lines if line.startswith(f"  {name} ")]
    return line


def pids_of(demo: Demo) -> list[int]:
    """Return the workers' process ids, as the banner has them."""
    return [int(pid) for pid in re.findall(r"\d+", line_of(demo, "kill"))]


def sidecar_of(demo: Demo) -> str:
    """Scrape the sidecar."""
    [url] = re.findall(r"http://\S+", line_of(demo, "sidecar"))
    with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310  # of the banner
        return str(response.read().decode())


def used(page: str) -> float:
    """Return the number of used connections on the page."""
    return sum(
        value for labels, value in samples(page, "db_client_connection_count").items() if 'state="used"' in labels
    )


def age(page: str) -> float:
    """Return the age of the oldest checkout."""
    return max(samples(page, "sqlalchemy_pool_oldest_use_seconds").values())


def counters(page: str) -> dict[str, float]:
    """Return everything on the page that may never fall."""
    return {f"{name}{{{labels}}}": value for name in COUNTERS for labels, value in samples(page, name).items()}


def test_every_worker_frozen(demo: Demo) -> None:
    """With every worker stopped by SIGSTOP the sidecar responds, counts them as frozen, and shows ages that grow."""
    for pid in pids_of(demo):
        os.kill(pid, signal.SIGSTOP)
    ages = [age(sidecar_of(demo))]
    for _ in range(3):
        until(True, lambda: age(sidecar_of(demo)) > ages[-1] + 0.3)
        ages.append(age(sidecar_of(demo)))
    frozen = {'state="living"': 0.0, 'state="frozen"': float(WORKERS)}
    until(frozen, lambda: samples(sidecar_of(demo), "pool_exporter_workers"))

    assert sorted(ages) == ages
    for pid in pids_of(demo):
        os.kill(pid, signal.SIGCONT)
    until(
        frozen['state="living"'] + WORKERS, lambda: samples(sidecar_of(demo), "pool_exporter_workers")['state="living"']
    )


def test_every_worker_killed(demo: Demo, tmp_path: Path) -> None:
    """After `kill -9` of all workers no counter has fallen, no gauge is left, and the demo ends with nothing left.

    A worker has crashed if it used a connection when it was killed, and is lost if it used none: both occur under load.
    """
    before = counters(sidecar_of(demo))
    for pid in pids_of(demo):
        os.kill(pid, signal.SIGKILL)
    until(0.0, lambda: used(sidecar_of(demo)))
    pages = [counters(sidecar_of(demo)) for _ in range(3)]
    ended = samples(sidecar_of(demo), "pool_exporter_workers_ended_total")
    demo.stop(signal.SIGTERM)

    assert [] == [name for page in pages for name, value in before.items() if page[name] < value]
    assert (0.0, float(WORKERS)) == (ended['end="stopped"'], ended['end="crashed"'] + ended['end="lost"'])
    assert (0, True, []) == (demo.process.returncode, demo.is_gone(), list(tmp_path.iterdir()))


def test_workers_end_when_the_demo_is_killed(demo: Demo) -> None:
    """Nothing is left of a demo that was killed, not even its workers, which hold the port."""
    pids = pids_of(demo)
    demo.process.kill()

    until([], lambda: [pid for pid in pids if Path(f"/proc/{pid}/stat").exists()])
    shutil.rmtree(line_of(demo, "workers").split()[-1])
