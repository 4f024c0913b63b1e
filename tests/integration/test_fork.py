"""Forked processes: each counts its own connections from its beginning, and the sum is what is open."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool, QueuePool

from pool_exporter import Monitor, instrument, instrument_all
from pool_exporter.hook_errors import errors
from pool_exporter.runtime.instrumentation import snapshot
from pool_exporter.runtime.registry import registry
from pool_exporter.state.layout import Slots
from pool_exporter.state.pool_state import PoolState
from tests.pools import Database, checked, levels, measured

Numbers = dict[str, Any]

# Python warns of each fork of a process that has threads; here it is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def numbers(monitor: Monitor) -> Numbers:
    """Return the numbers of a pool in this process."""
    found = measured(monitor).snapshot()
    return {
        "used": found.used,
        "idle": found.idle,
        "checkouts": found.checkouts,
        "connects": found.connects,
        "closes": sum(found.closes.values()),
        "pending": found.pending,
        "peak": found.used_peak,
        "errors": errors.count,
    }


ZERO: Numbers = dict.fromkeys(("used", "idle", "checkouts", "connects", "closes", "pending", "peak", "errors"), 0)


def in_child(work: Callable[[], Any]) -> Any:
    """Do *work* in a forked child, and return what it returned there."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest-timeout's handler would not end it.
        signal.alarm(30)  # A child that waits for ever is ended.
        answer = "null"
        try:
            answer = json.dumps(work())
        finally:
            os.write(write, answer.encode())
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return json.loads(said)


def test_child_starts_at_zero() -> None:
    """A forked child reports nothing of what its parent has done or holds."""
    engine = Database().engine()
    monitor = instrument(engine)
    held = engine.connect()
    engine.connect().close()

    assert ZERO == in_child(lambda: numbers(monitor))
    assert (1, 1) == levels(monitor)
    held.close()


def test_child_counts_its_own() -> None:
    """After the documented dispose(close=False), the child counts its own connection, and only that."""
    engine = Database().engine()
    monitor = instrument(engine)
    held = engine.connect()

    def work() -> list[Numbers]:
        engine.dispose(close=False)
        said = [numbers(monitor)]
        with engine.connect():
            said.append(numbers(monitor))
        said.append(numbers(monitor))
        return said

    own = ZERO | {"checkouts": 1, "connects": 1, "peak": 1}
    assert [ZERO, own | {"used": 1}, own | {"idle": 1}] == in_child(work)
    assert 1 == checked(monitor).checkouts
    held.close()


def test_child_that_uses_what_it_inherited() -> None:
    """A child that wrongly goes on with its parent's pool counts what it uses, and nothing else."""
    engine = Database().engine()
    monitor = instrument(engine)
    engine.connect().close()

    def work() -> Numbers:
        with engine.connect():
            return numbers(monitor)

    assert ZERO | {"used": 1, "checkouts": 1, "connects": 1, "peak": 1} == in_child(work)


def test_child_returns_what_its_parent_holds() -> None:
    """The child's copy of a checkout that the parent has made ends nothing and is no leak."""
    engine = Database().engine()
    monitor = instrument(engine)
    held = engine.connect()

    def work() -> Numbers:
        held.close()
        return numbers(monitor)

    assert ZERO == in_child(work)
    assert (1, 0) == levels(monitor)
    held.close()


def test_sum_over_the_processes() -> None:
    """What parent and children report together is what is open in all of them."""
    engine = Database().engine()
    monitor = instrument(engine)
    held = [engine.connect() for _ in range(2)]

    def work(count: int) -> Numbers:
        engine.dispose(close=False)
        own = [engine.connect() for _ in range(count)]
        said = numbers(monitor)
        for connection in own:
            connection.close()
        return said

    said = [in_child(lambda count=count: work(count)) for count in (1, 2, 3)]  # type: ignore[misc]  # bound at once

    assert [1, 2, 3] == [one["used"] for one in said]
    assert 2 + 1 + 2 + 3 == numbers(monitor)["connects"] + sum(one["connects"] for one in said)
    for connection in held:
        connection.close()


def test_grandchild() -> None:
    """A child's child starts at zero as well."""
    engine = Database().engine()
    monitor = instrument(engine)

    def work() -> list[Numbers]:
        engine.connect().close()
        return [in_child(lambda: numbers(monitor)), numbers(monitor)]

    own = ZERO | {"idle": 1, "checkouts": 1, "connects": 1, "peak": 1}
    assert [ZERO, own] == in_child(work)


def test_errors_start_at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child does not report its parent's hook errors."""
    monkeypatch.setattr(errors, "count", 3)

    assert 0 == in_child(lambda: snapshot().hook_errors)


def test_one_pool_that_cannot_be_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while one pool is restarted in a child is counted, and leaves the parent and the other pools right."""
    engines = [Database().engine() for _ in range(2)]
    monitors = [instrument(engine) for engine in engines]
    for engine in engines:
        engine.connect().close()
    new_state, failures = registry._new_state, iter([True])

    def failing(limit: int, slots: Slots) -> PoolState:
        if next(failures, False):
            raise MemoryError
        return new_state(limit, slots)

    monkeypatch.setattr(registry, "_new_state", failing)

    def use_them() -> list[int]:
        for engine in engines:
            engine.dispose(close=False)
            engine.connect().close()
        return [errors.count, measured(monitors[1]).snapshot().checkouts]

    assert [1, 1] == in_child(use_them)
    assert [1, 1] == [monitor.snapshot().checkouts for monitor in monitors]


def test_lock_that_is_never_released() -> None:
    """A fork while another thread is instrumenting leaves the child able to instrument, close and connect."""
    engine = Database().engine()
    instrument(engine)
    taken, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        hooks = vars(engine.pool)["_pool_exporter"].hooks
        with registry._lock.lock, hooks._lock.lock:
            taken.set()
            go_on.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()

    def work() -> list[int]:
        other = Database().engine()
        monitor = instrument(other, "beside a held lock")  # Of this name no ended pool has counted.
        other.connect().close()
        engine.dispose()
        engine.connect().close()
        instrument(engine).close()
        return [measured(monitor).snapshot().checkouts]

    try:
        assert [1] == in_child(work)
    finally:
        go_on.set()
        thread.join()


def test_parent_is_not_disturbed() -> None:
    """Whatever the child does, the parent's numbers stay as they were."""
    engine = Database().engine()
    monitor = instrument(engine)
    with engine.connect():
        before = numbers(monitor)
        in_child(monitor.close)

        assert before == numbers(monitor)
    assert (0, 1) == levels(monitor)


def test_everywhere_goes_on_in_the_child() -> None:
    """Pools that the child makes are instrumented when its parent called instrument_all()."""

    def work() -> list[Any]:
        engine = Database().engine(logging_name="in the child")
        engine.connect().close()
        monitor = instrument(engine)
        return [monitor.identity.name, monitor.snapshot().checkouts]

    with instrument_all():
        assert ["in the child", 1] == in_child(work)


def of_a_new_process(_: int) -> Numbers:
    """Instrument and use an engine, in the process of the caller."""
    engine = create_engine("sqlite://", poolclass=QueuePool)
    monitor = instrument(engine)
    with engine.connect():
        return numbers(monitor)


_module_engine: Engine = create_engine("sqlite://", poolclass=NullPool)
instrument(_module_engine)


def of_the_module(_: int) -> Numbers:
    """Use the engine that this module has made when it was imported."""
    with _module_engine.connect():
        return numbers(instrument(_module_engine))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("work", [of_a_new_process, of_the_module])
def test_multiprocessing(method: str, work: Callable[[int], Numbers]) -> None:
    """However multiprocessing starts its workers, each counts its own connections from zero."""
    instrument(_module_engine)  # Another test may have closed what the module began.
    with _module_engine.connect():
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            said = pool.submit(work, 0).result(60)

    assert ZERO | {"used": 1, "checkouts": 1, "connects": 1, "peak": 1} == said


def test_nothing_is_installed_before_it_is_needed() -> None:
    """Importing the package registers nothing at fork; the first instrumented pool does, once."""
    code = (
        "import os; found = []; os.register_at_fork = lambda **hooks: found.extend(hooks.values())\n"
        "import pool_exporter, sqlalchemy as sa\n"
        "def own(): return len([hook for hook in found if hook.__module__.startswith('pool_exporter')])\n"
        "print(own())\n"
        "engines = [sa.create_engine('sqlite://') for _ in range(3)]\n"
        "[pool_exporter.instrument(engine) for engine in engines]; print(own())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    # Before 3.12, one more: the running loop is known without a system call.
    assert ["0", "4" if sys.version_info < (3, 12) else "3"] == done.stdout.split()
