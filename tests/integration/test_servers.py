"""The helpers of the other tests work: waiting gives up, processes end, servers restart, wrong numbers are noticed."""

import asyncio
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pool_exporter import instrument
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.runtime.pool_monitor import PoolMonitor
from tests.fixtures.deadlines import eventually, until
from tests.fixtures.mariadb import mariadb_server
from tests.fixtures.processes import Process, free_port, is_listening, running
from tests.fixtures.prometheus import prometheus_server
from tests.integration.instrumented import faults, faults_at_rest
from tests.integration.sampler import fallen, sampled
from tests.pools import measured

SLEEPER = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]


def snapshot() -> PoolSnapshot:
    """Return the numbers of a real pool that has been used."""
    engine = sa.create_engine("sqlite://", poolclass=sa.QueuePool)
    with instrument(engine) as monitor, engine.connect():
        return measured(monitor).snapshot()


def test_until_looks_until_it_is_so() -> None:
    """It returns as soon as the value is as expected."""
    values = iter(range(10))
    until(3, lambda: next(values))

    assert 4 == next(values)


def test_until_gives_up() -> None:
    """After the deadline it fails, with the last value."""
    with pytest.raises(AssertionError, match="1 == 2"):
        until(1, lambda: 2, seconds=0.05)


@pytest.mark.asyncio
async def test_eventually_lets_the_loop_run() -> None:
    """What it waits for may be done by a task of the same loop; it gives up as well."""
    task = asyncio.ensure_future(asyncio.sleep(0))
    await eventually(True, task.done)
    with pytest.raises(AssertionError, match="1 == 2"):
        await eventually(1, lambda: 2, seconds=0.05)


@pytest.mark.parametrize("is_failing", [False, True], ids=["passing", "failing"])
def test_process_ends_with_its_block(tmp_path: Path, is_failing: bool) -> None:
    """However the block ends, the process has ended after it."""
    log = tmp_path / "log"
    with suppress(ZeroDivisionError), running(SLEEPER, log, lambda: log.read_text() == "here\n") as process:
        assert process.is_running
        assert 1 / (not is_failing)

    assert not process.is_running


def test_process_that_will_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ignores SIGTERM is killed after a while."""
    monkeypatch.setattr("tests.fixtures.processes.END_SECONDS", 0.2)
    deaf = ["sh", "-c", "trap '' TERM; echo here; while :; do sleep 1; done"]
    log = tmp_path / "log"
    with running(deaf, log, lambda: log.read_text() == "here\n") as process:
        pass

    assert not process.is_running


def test_process_that_ends_at_once_says_why(tmp_path: Path) -> None:
    """A program that ends before it is ready is an error with its output."""
    process = Process([sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path / "log")
    with pytest.raises(RuntimeError, match="no such thing"):
        process.wait_until(lambda: False)


def test_mariadb_starts_again() -> None:
    """Stopped and started, it keeps its port and its data, and the application reaches it."""
    with mariadb_server() as server:
        server.admin("create table app.kept (n int)")
        server.stop()
        assert not is_listening(server.port)

        server.start()
        engine = sa.create_engine(server.url("pymysql"), poolclass=sa.NullPool)
        with engine.connect() as connection:
            assert 0 == connection.scalar(sa.text("select count(*) from kept"))


def test_prometheus_reports_a_dead_target_and_a_bad_query(prometheus_binary: Path) -> None:
    """A target that does not answer is down, with a reason; a query that is wrong is an error."""
    with prometheus_server(prometheus_binary, {"absent": free_port()}) as server:
        until(["down"], lambda: [target["health"] for target in server.targets()])
        assert "refused" in server.targets()[0]["lastError"]
        with pytest.raises(ValueError, match="parse error"):
            server.value("rate(")
        assert 0 == server.value("up")


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"counters": {**snapshot().counters, "connects": 3}}, "3 connects - 0 closes are not 1 open + 0 detached"),
        ({"accounting_drift": -1}, "drift -1"),
        ({"used": 16, "idle": -15}, "idle must be finite and not negative"),
    ],
    ids=["connects", "drift", "negative"],
)
def test_what_cannot_be_is_noticed(wrong: dict[str, Any], fault: str) -> None:
    """A snapshot that no pool can have is refused when it is built, or by the look at its numbers."""
    own = snapshot()
    try:
        found = faults(replace(own, **wrong))
    except ValueError as error:
        found = [str(error)]

    assert [] == faults_at_rest(own)
    assert [True] == [fault in text for text in found]


def test_use_that_is_lost_is_noticed() -> None:
    """A checkout that is neither used nor has been is noticed once the pool is at rest."""
    assert ["1 checkouts are not 0 uses"] == faults_at_rest(replace(snapshot(), used=0, idle=1))


def test_counter_that_falls_is_noticed() -> None:
    """The numbers that may only grow are compared one by one."""
    before = snapshot()

    assert [] == fallen(before, before)
    assert ["connects fell from 1 to 0"] == fallen(before, replace(before, counters={**before.counters, "connects": 0}))


def test_sampler_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faults that the thread has found are raised at the end of its block."""
    engine = sa.create_engine("sqlite://", poolclass=sa.QueuePool)
    with instrument(engine) as monitor:
        wrong = replace(measured(monitor).snapshot(), accounting_drift=1)
        monkeypatch.setattr(PoolMonitor, "snapshot", lambda _: wrong)
        with pytest.raises(AssertionError, match="drift 1"), sampled(monitor) as sampler:
            until(True, lambda: bool(sampler.faults))

    assert not sampler.is_alive()
