"""The driver: worker processes, and the loop that gives each its turn.

The machine is shared and its speed changes, so variants take turns round by round, in an order that is turned around
each time, and only one worker runs at any moment. A process may be lucky with its memory's layout; that is why each
variant is started anew several times (`GENERATIONS`). Nothing here knows what is measured.
"""

import json
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any, Final

from tests.bench.workplace import program, workplace

GENERATIONS: Final = 3


class BenchProcess:
    """One process that measures, until it is closed."""

    def __init__(self, python: str, *arguments: str) -> None:
        self._command = [program(python), "-m", "tests.bench.worker", *arguments]
        pipe, where = subprocess.PIPE, workplace(python)
        self._process = subprocess.Popen(self._command, cwd=where, stdin=pipe, stdout=pipe, text=True, bufsize=1)
        ready = self._reply()
        #: Why the variant cannot be measured; empty when it can.
        self.absent: str = ready.get("absent", "")
        self.jobs: list[str] = ready.get("jobs", [])

    def ask(self, job: str, count: int = 1) -> Any:
        """Do *job* that many times and return the measured values."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{job} {count}\n")
        return self._reply()

    def _reply(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._command} ended with code {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


class Skipped(str):
    """Why there is nothing, where that is no fault: a program is not installed."""

    __slots__ = ()


Key = tuple[str, ...]
Measured = dict[Key, dict[str, list[float]] | str]
"""By worker, what each of its jobs measured in each round; or why there is nothing."""


def interleave(workers: Mapping[Key, BenchProcess], counts: Mapping[str, int], rounds: int) -> Measured:
    """Give each worker a turn at each job of *counts* in each round."""
    measured: Measured = {}
    present: dict[Key, dict[str, list[float]]] = {}
    for key, worker in workers.items():
        if worker.absent:
            measured[key] = worker.absent
        else:
            measured[key] = present[key] = defaultdict(list)
    turns = [(key, job, count) for job, count in counts.items() for key in present if job in workers[key].jobs]
    for _ in range(rounds):
        for key, job, count in turns:
            present[key][job].append(workers[key].ask(job, count))
        turns.reverse()
    return measured


def measure(commands: Mapping[Key, Sequence[str]], counts: Mapping[str, int], rounds: int) -> Measured:
    """Start a worker for each of *commands*, a Python and its arguments, and interleave them."""
    with ExitStack() as stack:
        workers = {key: stack.enter_context(closing(BenchProcess(*command))) for key, command in commands.items()}
        return interleave(workers, counts, rounds)


def generations(commands: Mapping[Key, Sequence[str]], counts: Mapping[str, int], rounds: int) -> Measured:
    """Measure in `GENERATIONS` sets of new processes, that many *rounds* each."""
    total: Measured = {}
    for _ in range(GENERATIONS):
        for key, found in measure(commands, counts, rounds).items():
            before = total.setdefault(key, found)
            if before is not found and isinstance(before, dict) and isinstance(found, dict):
                for job, values in found.items():
                    before[job].extend(values)
    return total
