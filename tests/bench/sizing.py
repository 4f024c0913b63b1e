"""The sizes that `advice` computes against real pools: `python -m tests.bench.sizing` measures and writes the table.

Each case is a process of its own with one pool of five connections, to which callers come at random times. What the
formulas predict is computed from the pool's own counters, as `pool-exporter advise` does; the truth is the clock of
each caller. Cases mostly sleep, so several run side by side.
"""

import argparse
import asyncio
import json
import math
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from itertools import product
from pathlib import Path
from queue import SimpleQueue

from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool

from pool_exporter import instrument
from pool_exporter.advice.observation import Observation, of_snapshot
from pool_exporter.runtime.pool_monitor import PoolMonitor
from tests.bench.versions import machine
from tests.pools import measured

CONNECTIONS = 5
USE_SECONDS = 0.05
WARM_UP_SECONDS = 3.0
THREADS = 200
SIDE_BY_SIDE = 6
UTILISATIONS = (0.5, 0.7, 0.85)
POOLS = ("QueuePool", "AsyncAdaptedQueuePool")
NO_DIFFERENCE_SECONDS = 0.005
UTILISATION_ERROR_MAX = 0.02
OPTIONS = {"pool_size": CONNECTIONS, "max_overflow": 0, "pool_timeout": 60}

DRAWS: dict[str, Callable[[random.Random], float]] = {
    "exponential": lambda source: source.expovariate(1 / USE_SECONDS),
    "constant": lambda _: USE_SECONDS,
    "lognormal, cv 2": lambda source: source.lognormvariate(
        math.log(USE_SECONDS) - math.log(5) / 2, math.sqrt(math.log(5))
    ),
}
FACTOR_MAX = {"exponential": 2.0, "constant": 2.0, "lognormal, cv 2": 3.0}
"""How far a predicted p99 wait may be from the measured one. For the heavy tail only upwards."""


@dataclass(frozen=True)
class Result:
    """One case: what was predicted and what was measured."""

    times: str
    pool: str
    target: float
    utilisation_predicted: float
    utilisation: float
    mean_predicted: float
    mean: float
    p99_predicted: float
    p99: float
    callers: int

    @property
    def is_within(self) -> bool:
        """Whether both numbers are within their bounds."""
        if abs(self.utilisation - self.utilisation_predicted) > UTILISATION_ERROR_MAX:
            return False
        if abs(self.p99 - self.p99_predicted) <= NO_DIFFERENCE_SECONDS:
            return True
        lowest = 1.0 if "cv 2" in self.times else 1 / FACTOR_MAX[self.times]
        return lowest * self.p99 <= self.p99_predicted <= FACTOR_MAX[self.times] * self.p99


def arrivals(source: random.Random, rate: float, seconds: float) -> Iterator[float]:
    """Yield the times of a Poisson process, in seconds from its beginning."""
    now = source.expovariate(rate)
    while now < seconds:
        yield now
        now += source.expovariate(rate)


class Case:
    """One pool under load. The counters are read when the load has been steady for a while, and when it ends."""

    def __init__(self, times: str, rate: float, seconds: float, monitor: PoolMonitor) -> None:
        self.monitor = monitor
        self.waits: list[float] = []
        self._source = random.Random(1)
        self._draw = DRAWS[times]
        self._arrivals = list(arrivals(self._source, rate, WARM_UP_SECONDS + seconds))
        self._looks: list[tuple[float, int, Observation]] = []

    def jobs(self) -> Iterator[tuple[float, float]]:
        """Yield when each caller comes and how long it uses its connection, and look at the pool twice."""
        for at in self._arrivals:
            if not self._looks and at > WARM_UP_SECONDS:
                self.look()
            yield at, self._draw(self._source)
        self.look()

    def look(self) -> None:
        """Keep the pool's counters of now."""
        self._looks.append((time.perf_counter(), len(self.waits), of_snapshot(self.monitor.snapshot())))

    def result(self, times: str, pool: str, target: float) -> Result:
        """Return what was predicted of the second part, and what it was."""
        (started, first, before), (ended, _, after) = self._looks
        load = after.load_since(before, ended - started)
        waits, queue = sorted(self.waits[first:]), load.queue(CONNECTIONS)
        return Result(
            times=times,
            pool=pool,
            target=target,
            utilisation_predicted=queue.utilisation,
            utilisation=load.grown.used_seconds / load.seconds / CONNECTIONS,
            mean_predicted=queue.mean_wait_seconds,
            mean=sum(waits) / len(waits),
            p99_predicted=queue.wait_quantile_seconds(0.99),
            p99=waits[int(0.99 * len(waits))],
            callers=len(waits),
        )


def run_threads(times: str, rate: float, seconds: float) -> Case:
    """Let threads use a QueuePool."""
    engine = create_engine("sqlite://", poolclass=QueuePool, connect_args={"check_same_thread": False}, **OPTIONS)
    case = Case(times, rate, seconds, measured(instrument(engine, name="case")))
    queue: SimpleQueue[float] = SimpleQueue()

    def work() -> None:
        while True:
            use = queue.get()
            asked = time.perf_counter()
            with engine.connect():
                case.waits.append(time.perf_counter() - asked)
                time.sleep(use)

    for _ in range(THREADS):
        threading.Thread(target=work, daemon=True).start()
    started = time.perf_counter()
    for at, use in case.jobs():
        time.sleep(max(0.0, started + at - time.perf_counter()))
        queue.put(use)
    return case


def run_tasks(times: str, rate: float, seconds: float) -> Case:
    """Let tasks use an AsyncAdaptedQueuePool."""
    return asyncio.run(_run_tasks(times, rate, seconds))


async def _run_tasks(times: str, rate: float, seconds: float) -> Case:
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=AsyncAdaptedQueuePool, **OPTIONS)
    case = Case(times, rate, seconds, measured(instrument(engine, name="case")))

    async def call(use: float) -> None:
        asked = time.perf_counter()
        async with engine.connect():
            case.waits.append(time.perf_counter() - asked)
            await asyncio.sleep(use)

    started, tasks = time.perf_counter(), set()
    for at, use in case.jobs():
        await asyncio.sleep(max(0.0, started + at - time.perf_counter()))
        tasks.add(asyncio.create_task(call(use)))
    await asyncio.gather(*tasks)
    await engine.dispose()
    return case


RUNS = {"QueuePool": run_threads, "AsyncAdaptedQueuePool": run_tasks}


def measure(case: tuple[str, str, float], seconds: float) -> Result:
    """Run one case in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.sizing", "--case", json.dumps(case), "--seconds", str(seconds)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return Result(**json.loads(answer.stdout))


def run_case(case: tuple[str, str, float], seconds: float) -> Result:
    """Run one case in this process."""
    times, pool, target = case
    run = RUNS[pool](times, target * CONNECTIONS / USE_SECONDS, seconds)
    return run.result(times, pool, target)


HEADINGS = (
    *("use times", "pool", "utilisation predicted", "measured", "mean wait ms predicted", "measured"),
    *("p99 wait ms predicted", "measured", "callers", "within"),
)


def render(results: Iterable[Result], where: str, seconds: float) -> str:
    """Return the page of the documentation."""
    rows = [
        (
            *(each.times, each.pool, f"{each.utilisation_predicted:.3f}", f"{each.utilisation:.3f}"),
            *(f"{value * 1000:.1f}" for value in (each.mean_predicted, each.mean, each.p99_predicted, each.p99)),
            *(str(each.callers), "yes" if each.is_within else "**no**"),
        )
        for each in results
    ]
    table = "\n".join("| " + " | ".join(row) + " |" for row in (HEADINGS, ("---",) * len(HEADINGS), *rows))
    return f"""# Benchmarks of sizes

Written by `make bench` (`tests/bench/sizing.py`); not to be edited.

- {datetime.now(timezone.utc).date()}, {where}

What `pool-exporter advise` predicts of a pool of {CONNECTIONS} connections, from the pool's own counters, and what
its callers measured in {seconds:g} seconds of random arrivals. A use takes {USE_SECONDS * 1000:g} ms on average.

Within: the utilisation is within {UTILISATION_ERROR_MAX}, and the p99 wait within a factor of 2 or within
{NO_DIFFERENCE_SECONDS * 1000:g} ms. For the lognormal times, which have a heavy tail, it is within a factor of 3 and
not too short.

{table}
"""


def main() -> int:
    """Return 0 when every prediction is within its bounds, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sizing", description=__doc__)
    # In less, the heavy tail of the lognormal times leaves the p99 of a pool at 0.85 to chance.
    parser.add_argument("--seconds", type=float, default=120.0, help="how long each case runs")
    parser.add_argument("--output", type=Path, help="the file that the page is written to")
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(asdict(run_case(arguments.case, arguments.seconds))))
        return 0
    cases = list(product(DRAWS, POOLS, UTILISATIONS))
    with ThreadPoolExecutor(SIDE_BY_SIDE) as processes:
        results = list(processes.map(lambda case: measure(case, arguments.seconds), cases))
    page = render(results, machine(), arguments.seconds)
    print(page)
    if arguments.output is not None:
        arguments.output.write_text(page)
    return 0 if all(each.is_within for each in results) else 1


if __name__ == "__main__":
    sys.exit(main())
