"""No error in a hook reaches the application: faults are put into every hook."""

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from pool_exporter import instrument
from pool_exporter.hook_errors import HookErrors, errors, guarded
from pool_exporter.hooks.pool_hooks import PoolHooks
from pool_exporter.runtime.instrumentation import snapshot
from pool_exporter.state import locked_pool_state
from pool_exporter.state.locked_pool_state import LockedPoolState
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.report_hooks import SlowAcquireHook
from tests.pools import Database, checked, levels, measured


class Fault(Exception):
    """What no code but this test's raises."""


def fail(*_: object, **__: object) -> Any:
    """Raise a fault, whatever is asked."""
    raise Fault


@pytest.fixture(name="_counted_afresh", autouse=True)
def _counted_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with no errors, and leave none of this test's behind."""
    monkeypatch.setattr(errors, "count", 0)


def lives(engine: Engine) -> Iterator[Callable[[], object]]:
    """Yield everything that an application can do with a pool, a step each."""
    yield lambda: engine.connect().close()

    def invalidate() -> None:
        for soft in (True, False):
            connection = engine.raw_connection()
            connection.invalidate(soft=soft)
            connection.close()

    yield invalidate

    def detach() -> None:
        connection = engine.raw_connection()
        connection.detach()
        connection.close()
        connection = engine.raw_connection()
        connection.detach()

    yield detach

    def exhaust() -> None:
        held = [engine.connect() for _ in range(2)]
        with suppress(SQLAlchemyError):
            engine.connect()
        for connection in held:
            connection.close()

    yield exhaust

    def lose() -> None:
        engine.raw_connection()
        gc.collect()

    yield lose
    yield lambda: engine.pool.recreate().connect().close()
    yield engine.dispose
    yield lambda: engine.connect().close()
    yield lambda: engine.dispose(close=False)


def live(engine: Engine) -> list[object]:
    """Do everything, and return the pool's own `status()` after each step."""
    statuses: list[object] = []
    for step in lives(engine):
        step()
        statuses.append(engine.pool.status())
    return statuses


def new_engine() -> Engine:
    """Return an engine of at most two connections; a third caller fails at once."""
    return Database().engine(pool_size=1, max_overflow=1, pool_timeout=0)


TRANSITIONS = (
    "acquire_started",
    "acquired",
    "acquire_failed",
    "acquire_abandoned",
    "opened",
    "returned",
    "released",
    "invalidated",
    "detached",
    "closed",
    "replaced",
    "end_lost_acquires",
    "set_refreshed",
    "set_lost_places",
    "exhausted",
)
MOVES = ("abandon_slots", "move_to", "add_late_stores", "leave_counters", "forget_connections")
"""What ends a monitor, begins a child's, or changes the place of the slots: no hook calls it."""
READERS = ("live_connections", "copy_slots", "fingerprint", "has_twice", "unit_holders", "unit_totals")


def breakable(patch: pytest.MonkeyPatch) -> set[str]:
    """Have each pool that is instrumented from now on fail in the transitions that are in the set, which is empty yet.

    The class is replaced by one derived from it, with the GIL and without: that of compiled code cannot be changed.
    """
    broken: set[str] = set()
    for kind in (PoolState, LockedPoolState):
        methods = {name: breakable_method(getattr(kind, name), broken) for name in TRANSITIONS}
        patch.setattr(locked_pool_state, kind.__name__, type(kind.__name__, (kind,), methods))
    return broken


def breakable_method(method: Callable[..., object], broken: set[str]) -> Callable[..., object]:
    """Return a method that raises a fault as long as the name of *method* is in *broken*."""

    def call(self: PoolState, *args: object, **kwargs: object) -> object:
        if method.__name__ in broken:
            raise Fault
        return method(self, *args, **kwargs)

    return call


def test_every_transition_is_listed() -> None:
    """A transition that is added is put to the test below."""
    public = {name for name in dir(PoolState) if not name.startswith("_") and callable(getattr(PoolState, name))}

    assert public == {*TRANSITIONS, *READERS, *MOVES}


@pytest.mark.parametrize("name", TRANSITIONS)
def test_fault_in_a_transition(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whichever transition fails, the application notices nothing, each fault is counted, and no caller stays pending.

    Without `acquire_abandoned` itself, which ends a caller in every such case, one does; but not with a lock, where the
    caller's token is seen to be lost.
    """
    bare = live(new_engine())
    engine = new_engine()
    broken = breakable(monkeypatch)
    broken.add(name)
    monitor = instrument(engine)

    assert bare == live(engine)

    monitor.snapshot()

    assert errors.count > 0

    broken.clear()
    state = measured(monitor)._state
    is_pending = name == "acquire_abandoned" and not isinstance(state, LockedPoolState)
    assert is_pending == (state.pending > 0)
    monitor.close()


@pytest.mark.parametrize("sentinel", [(), None])
def test_fault_in_the_patched_method_itself(sentinel: Any) -> None:
    """What a patched method raises itself, and no function that it calls, is counted, too.

    Compiled, that error has no frame.
    """
    bare, engine = live(new_engine()), new_engine()
    monitor = instrument(engine)
    measured(monitor)._state.sentinel = sentinel

    assert bare == live(engine)
    assert errors.count > 10

    monitor.close()


def test_methods_outlive_the_patches() -> None:
    """A patched method that is called after the patches were removed does what SQLAlchemy's does."""
    engine = new_engine()
    monitor = instrument(engine)
    connect = engine.pool.connect
    held = connect()
    give_back = engine.pool._return_conn
    monitor.close()
    connect().close()
    record = held._connection_record
    assert record is not None
    give_back(record)

    assert 0 == errors.count


HANDLERS = [name for name, value in vars(PoolHooks).items() if hasattr(value, "__wrapped__")]


def test_handlers_are_found() -> None:
    """What lifecycle_patches.py calls is guarded, and put to the test below."""
    assert {
        "opening",
        "not_opened",
        "opened",
        "invalidated",
        "closing",
        "not_closed",
        "closed",
        "detaching",
        "detached_closed",
        "pool_recreated",
        "activate_recreated_pool",
        "refresh",
    } == {*HANDLERS}


@pytest.mark.parametrize("name", [*HANDLERS, "adopt", "_track", "_tracked", "_close_detached"])
def test_fault_in_a_handler(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever a handler stumbles over, the application notices nothing, and it is counted."""
    bare = live(new_engine())
    engine = new_engine()
    wrapped = getattr(getattr(PoolHooks, name), "__wrapped__", None)
    monkeypatch.setattr(PoolHooks, name, fail if wrapped is None else guarded(fail))
    monitor = instrument(engine)

    assert bare == live(engine)

    monkeypatch.undo()
    assert 0 == measured(monitor)._state.pending
    monitor.close()


@pytest.mark.parametrize(
    "where",
    [
        "pool_exporter.hooks.pool_hooks.close_reason",
        "pool_exporter.hooks.pool_hooks.is_dispose",
        "pool_exporter.hooks.pool_hooks.limit_of",
        "pool_exporter.hooks.pool_hooks.pool_of",
        "pool_exporter.hooks.lifecycle_patches.pool_of",
        "pool_exporter.hooks.lifecycle_patches.pool_of_proxied",
        "pool_exporter.hooks.pool_hooks.record_of",
        "pool_exporter.hooks.pool_hooks.has_terminate",
        "pool_exporter.hooks.corrections.is_orphan",
        "pool_exporter.hooks.corrections.has_back",
        "pool_exporter.hooks.checkout_patches.failure_type",
        "pool_exporter.hooks.checkout_owner.threading.current_thread",
    ],
)
def test_fault_below(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """What the hooks read from SQLAlchemy, threads and tasks may be other than they think."""
    bare = live(new_engine())
    engine = new_engine()
    monitor = instrument(engine)
    monkeypatch.setattr(where, fail)
    monkeypatch.setattr("pool_exporter.hooks.checkout_patches.threads", object())

    assert bare == live(engine)

    monkeypatch.undo()
    assert 0 == measured(monitor)._state.pending
    monitor.close()


@pytest.mark.parametrize("times", range(12))
def test_fault_of_the_clock(times: int) -> None:
    """A clock that fails now and then costs no checkout, and pending does not stick."""
    bare = live(new_engine())
    engine = new_engine()
    monitor = instrument(engine)
    clock, reads = measured(monitor)._state.clock, iter(range(10**6))

    def failing() -> int:
        if next(reads) % 12 == times:
            raise Fault
        return clock()

    measured(monitor)._state.clock = failing

    assert bare == live(engine)
    assert errors.count > 0

    measured(monitor)._state.clock = clock
    assert 0 == measured(monitor)._state.pending == measured(monitor).snapshot().pending


def test_fault_of_the_callback_of_slow_acquires() -> None:
    """A callback that raises changes no acquire, whether that is granted or fails, nor does one that is missing."""
    bare = live(new_engine())
    failing = SlowAcquireHook(0, fail)
    missing = SlowAcquireHook(0, None)  # type: ignore[arg-type]  # no callback at all
    for slow_acquire in (failing, missing):
        engine = new_engine()
        monitor = instrument(engine)
        errors.count = 0
        measured(monitor)._state.slow_acquire = slow_acquire

        assert bare == live(engine)
        assert errors.count > 5

        assert 0 == measured(monitor)._state.pending
        monitor.close()


def test_fault_in_a_finalizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is collected while the machine is broken says nothing, not even on the error stream."""
    broken = breakable(monkeypatch)
    engine = new_engine()
    monitor = instrument(engine)
    engine.connect().close()
    broken.add("closed")

    engine.dispose(close=False)
    gc.collect()

    broken.clear()
    monitor.close()


def test_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a fault is over, what is counted is right again."""
    broken = breakable(monkeypatch)
    engine = new_engine()
    monitor = instrument(engine)
    broken.update({"acquired", "returned"})
    engine.connect().close()
    broken.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(errors, "count", 0)
        with engine.connect():
            assert (1, 0) == levels(monitor)

        assert (0, 1) == levels(monitor)
        assert isinstance(engine.pool, QueuePool)
        assert engine.pool.checkedin() == checked(monitor).idle


def test_keyboard_interrupt_passes() -> None:
    """A KeyboardInterrupt inside a hook is not an error of the hook's, and goes on."""

    @guarded
    def hook() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hook()

    assert 0 == errors.count


def test_guarded_looks_the_same() -> None:
    """SQLAlchemy reads a listener's signature and name, which the guard leaves as they are."""

    @guarded
    def hook(dbapi_connection: object, record: object) -> None:
        """Say what it does."""

    assert "hook" == hook.__name__
    assert "Say what it does." == hook.__doc__


def test_the_first_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The first error is logged with its traceback, the later ones are only counted."""
    counted = HookErrors()

    for _ in range(3):
        counted.report(Fault("reported once"))

    assert 3 == counted.count
    assert ["pool_exporter"] == [record.name for record in caplog.records]
    assert "reported once" in caplog.text


def test_logging_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger that raises does not reach the application either."""
    monkeypatch.setattr(logging.getLogger("pool_exporter"), "error", fail)
    counted = HookErrors()

    counted.report(Fault())

    assert 1 == counted.count


def test_one_count_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors of all pools are one number, which stands in every snapshot of the process."""
    breakable(monkeypatch).add("acquire_started")
    for _ in range(2):
        engine = new_engine()
        instrument(engine)
        engine.connect().close()

    assert 2 == errors.count == snapshot().hook_errors
