"""Threads: nothing is lost between them, and instrumenting and closing while they work does not disturb them."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import Pool, QueuePool, SingletonThreadPool, StaticPool

from pool_exporter import instrument, instrument_all
from pool_exporter.hook_errors import errors
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.runtime.instrumentation import snapshot
from tests.pools import Database, checked, levels, measured

THREADS = 8
ROUNDS = 400


@pytest.fixture(name="_switching")
def _switching() -> Iterator[None]:
    """Let the interpreter switch between threads whenever it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(work: Callable[[], object], threads: int = THREADS) -> list[BaseException]:
    """Do *work* in many threads at once, and return what it raised."""
    raised: list[BaseException] = []
    start = threading.Barrier(threads)

    def run() -> None:
        start.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # the test says what may be raised
            raised.append(error)

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return raised


@pytest.mark.usefixtures("_switching")
@pytest.mark.parametrize("size", [1, THREADS // 2, THREADS])
def test_no_lost_update(size: int) -> None:
    """Eight threads that check out and return have every checkout, wait and use counted, exactly."""
    engine = Database().engine(pool_size=size, max_overflow=0)
    monitor = instrument(engine)

    def work() -> None:
        for _ in range(ROUNDS):
            engine.raw_connection().close()

    assert [] == together(work)
    snapshot = checked(monitor)
    assert THREADS * ROUNDS == snapshot.checkouts == snapshot.wait_time.count == snapshot.use_time.count
    assert (0, 0) == (snapshot.used, snapshot.pending)
    assert snapshot.used_seconds == snapshot.use_time.sum
    assert 1 <= snapshot.used_peak <= size


@pytest.mark.usefixtures("_switching")
def test_no_lost_open_or_close() -> None:
    """Opening, overflow, invalidation, detaching and timeouts of eight threads are all counted, exactly."""
    database = Database()
    engine = database.engine(pool_size=1, max_overflow=3, pool_timeout=0.0001)
    monitor = instrument(engine)
    counted: dict[str, list[int]] = {"granted": [], "timeout": [], "invalidated": [], "detached": []}

    def work() -> None:
        for number in range(ROUNDS // 4):
            try:
                connection = engine.raw_connection()
            except PoolTimeoutError:
                counted["timeout"].append(1)
                continue
            counted["granted"].append(1)
            if number % 5 == 0:
                counted["invalidated"].append(1)
                connection.invalidate()
            elif number % 7 == 0:
                counted["detached"].append(1)
                connection.detach()
            connection.close()

    assert [] == together(work)
    snapshot = checked(monitor)
    assert len(counted["granted"]) == snapshot.checkouts == snapshot.use_time.count
    assert len(counted["timeout"]) == snapshot.timeouts
    assert len(counted["invalidated"]) == snapshot.closes["invalidate"] == snapshot.invalidations["hard"]
    assert len(counted["detached"]) == snapshot.closes["detached"]
    assert database.open == snapshot.open == snapshot.idle
    assert snapshot.connects == snapshot.create_time.count


@pytest.mark.usefixtures("_switching")
@pytest.mark.filterwarnings("ignore:Double checkin attempted")  # It is SQLAlchemy's own, of this pool between threads.
def test_one_connection_for_all_threads() -> None:
    """A StaticPool hands one connection to all threads at once: it is used or idle, and never counted below nothing."""
    engine = Database().engine(StaticPool)
    monitor = instrument(engine)
    engine.connect().close()  # Several threads that are the first open several connections.

    def work() -> None:
        for _ in range(ROUNDS):
            engine.raw_connection().close()

    assert [] == together(work)
    assert (0, 1) == levels(monitor)
    assert THREADS * ROUNDS + 1 == checked(monitor).checkouts
    assert 1 == checked(monitor).used_peak
    assert checked(monitor).used_seconds == checked(monitor).use_time.sum
    held = engine.raw_connection()
    assert (1, 0) == levels(monitor)
    held.close()


@pytest.mark.usefixtures("_switching")
def test_connections_closed_by_other_threads() -> None:
    """A SingletonThreadPool closes the connections that other threads are using; each is closed once."""
    database = Database()
    engine = database.engine(SingletonThreadPool, pool_size=2)
    monitor = instrument(engine)

    def work() -> None:
        for _ in range(ROUNDS // 8):
            with suppress(AttributeError, AssertionError, KeyError):  # SQLAlchemy's own, of this pool between threads.
                engine.raw_connection().close()

    together(work)
    snapshot = measured(monitor).snapshot()

    assert 0 == errors.count
    assert snapshot.connects - sum(snapshot.closes.values()) == snapshot.open


EVENTS = (
    "connect",
    "close",
    "invalidate",
    "soft_invalidate",
    "detach",
    "close_detached",
    "checkout",
    "checkin",
    "reset",
)


def everything(pool: Pool) -> None:
    """Make each of a pool's events happen."""
    first = pool.connect()
    first.invalidate(soft=True)
    first.close()
    second = pool.connect()
    second.detach()
    second.close()
    third = pool.connect()
    third.invalidate()


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("change", ["instrument", "close"])
def test_listeners_are_running(name: str, change: str) -> None:
    """While a listener of the application's own runs, instrumenting or closing in another thread disturbs nothing."""
    pool = QueuePool(Database().connect)
    monitor = instrument(pool) if change == "close" else None
    running, go_on = threading.Event(), threading.Event()
    heard: list[str] = []

    def first(*_: object) -> None:
        heard.append("first")
        running.set()
        go_on.wait()

    event.listen(pool, name, first)
    event.listen(pool, name, lambda *_: heard.append("second"))
    raised: list[BaseException] = []

    def work() -> None:
        try:
            everything(pool)
        except BaseException as error:  # noqa: BLE001  # none is the property
            raised.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    running.wait()
    if monitor is None:
        monitor = instrument(pool)
    else:
        monitor.close()
    go_on.set()
    worker.join()

    assert [] == raised
    assert ["first", "second"] * (len(heard) // 2) == heard
    assert 0 == errors.count
    monitor.close()


@pytest.mark.usefixtures("_switching")
@pytest.mark.parametrize(("attach", "times"), [(instrument, 10), (lambda _: instrument_all(), 2)], ids=["one", "all"])
def test_instrumenting_and_closing_again_and_again(attach: Callable[[Engine], Any], times: int) -> None:
    """Seven threads work while the eighth instruments and closes: nothing is raised, and the pool ends as it began."""
    database = Database()
    engine = database.engine(pool_size=3, max_overflow=3)
    for name in EVENTS:
        event.listen(engine, name, lambda *_: None)
    done = threading.Event()
    turns = iter(range(THREADS))

    def work() -> None:
        if next(turns) == 0:
            change()
        else:
            while not done.is_set():
                everything(engine.pool)

    def change() -> None:
        try:
            for _ in range(times):
                instrumented = attach(engine)
                snapshot()
                instrumented.close()
        finally:
            done.set()

    assert [] == together(work)
    assert 0 == errors.count
    assert {"connect", "_return_conn"}.isdisjoint(vars(engine.pool))
    assert isinstance(engine.pool, QueuePool)
    assert 0 == engine.pool.checkedout()

    monitor = instrument(engine)
    engine.connect().close()
    assert database.open == checked(monitor).open


@pytest.mark.usefixtures("_switching")
def test_reading_while_they_work() -> None:
    """A snapshot that is taken at any moment is possible: nothing negative, nothing above the limit."""
    engine = Database().engine(pool_size=3, max_overflow=1)
    monitor = instrument(engine)
    done = threading.Event()
    turns = iter(range(THREADS))
    seen: list[PoolSnapshot] = []

    def work() -> None:
        if next(turns) == 0:
            seen.extend(measured(monitor).snapshot() for _ in range(300))
            done.set()
        else:
            while not done.is_set():
                everything(engine.pool)

    assert [] == together(work)
    assert max(snapshot.used for snapshot in seen) <= 4
    assert max(snapshot.pending for snapshot in seen) <= THREADS
    checkouts = [snapshot.checkouts for snapshot in seen]
    assert sorted(checkouts) == checkouts
