"""Other libraries that patch the same methods, mock the driver or break what the hooks read change no number."""

import functools
import gc
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool, QueuePool

from pool_exporter import Monitor, instrument
from pool_exporter.hook_errors import errors
from pool_exporter.hooks.compatibility import TESTED_VERSIONS, incompatibilities, self_test
from pool_exporter.hooks.method_patches import patches
from pool_exporter.hooks.server_pids import server_pid
from pool_exporter.hooks.sqlalchemy_private import RECORD, replaced_methods, verify
from tests.pools import Database, checked, closes, uninstrument_all


class OtherPatches:
    """What a tracing library does to all methods that are patched: a wrapper of each, all by one factory."""

    def __init__(self) -> None:
        self._before = {method: vars(method[0])[method[1]] for method in replaced_methods(QueuePool)}
        for (cls, name), method in self._before.items():
            setattr(cls, name, self._traced(method))

    @staticmethod
    def _traced(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def traced(*arguments: Any, **options: Any) -> Any:
            return method(*arguments, **options)

        return traced

    def remove(self) -> None:
        """Put back what was there, whatever has been put over it since."""
        for (cls, name), method in self._before.items():
            setattr(cls, name, method)


@pytest.fixture(name="_bare", autouse=True)
def _bare() -> Iterator[None]:
    """Leave the methods as SQLAlchemy made them."""
    uninstrument_all()
    bare = {method: vars(method[0])[method[1]] for method in replaced_methods(QueuePool)}
    yield
    uninstrument_all()
    for (cls, name), method in bare.items():
        setattr(cls, name, method)
    patches._shadowed.clear()
    patches._has_warned = False


def work(engine: Engine) -> None:
    """Check out seven times, invalidate one connection and detach another."""
    for _ in range(5):
        engine.connect().close()
    for act in ("invalidate", "detach"):
        connection = engine.connect()
        getattr(connection, act)()
        connection.close()


def counted(monitor: Monitor) -> tuple[int, int, int, int, dict[str, int]]:
    """Return the checkouts, uses, connects and invalidations, and the close reasons."""
    pool = checked(monitor)
    return pool.checkouts, pool.use_time.count, pool.connects, pool.invalidations["hard"], closes(monitor)


RIGHT = (7, 7, 2, 1, {"invalidate": 1, "detached": 1})


@pytest.mark.parametrize("is_first", [True, False], ids=["other first", "other last"])
def test_patched_by_another_library(is_first: bool) -> None:  # a parameter
    """Whichever patches first, each thing is counted once."""
    other = OtherPatches() if is_first else None
    monitor = instrument(engine := Database().engine())
    other = other or OtherPatches()

    work(engine)

    assert RIGHT == counted(monitor)


def test_closed_under_another_library_and_instrumented_again() -> None:
    """A patch that could not be removed counts nothing beside the new one, however often, and is gone in the end."""
    for _ in range(3):
        instrument(Database().engine()).close()
        first = instrument(Database().engine())
        OtherPatches()
        first.close()
        second = instrument(engine := Database().engine())

        work(engine)

        assert RIGHT == counted(second)

        second.close()


def test_uncovered_patch_is_removed() -> None:
    """When the other library has gone, nothing of either is left."""
    bare = {method: vars(method[0])[method[1]] for method in replaced_methods(QueuePool)}
    first = instrument(Database().engine())
    other = OtherPatches()
    first.close()
    other.remove()
    second = instrument(engine := Database().engine())

    work(engine)

    assert RIGHT == counted(second)

    second.close()

    assert bare == {method: vars(method[0])[method[1]] for method in replaced_methods(QueuePool)}


@pytest.mark.parametrize("is_under", [True, False], ids=["patched before", "only saved before"])
@pytest.mark.parametrize("is_read", [True, False], ids=["snapshot", "instrumented again"])
def test_library_puts_back_what_it_has_saved(caplog: pytest.LogCaptureFixture, is_under: bool, is_read: bool) -> None:
    """Nothing would be counted any more: one warning says so, the methods are replaced again, all counts once."""
    bare = {method: vars(method[0])[method[1]] for method in replaced_methods(QueuePool)}
    other = OtherPatches()
    if not is_under:
        other.remove()
    monitor = instrument(engine := Database().engine())
    other.remove()

    assert all(bare[place] is vars(place[0])[place[1]] for place in bare)

    for _ in range(2):
        if is_read:
            monitor.snapshot()
        else:
            monitor = instrument(engine)
    work(engine)

    assert RIGHT == counted(monitor)
    assert 1 == caplog.text.count("another library has put back Pool.connect")

    monitor.close()
    gc.collect()

    assert bare == {method: vars(method[0])[method[1]] for method in replaced_methods(QueuePool)}


def test_library_puts_back_a_patch_of_before() -> None:
    """A removed patch, which counts nothing, comes back in the place of the present one: that is found as well."""
    first = instrument(Database().engine())
    other = OtherPatches()
    first.close()
    second = instrument(engine := Database().engine())
    other.remove()
    second.snapshot()

    work(engine)

    assert RIGHT == counted(second)


@pytest.mark.parametrize("is_put_back", [True, False])
def test_library_puts_back_a_connect_on_the_pool(is_put_back: bool) -> None:
    """It removes its own `connect` from the pool, or puts it back over the replacement: each acquire counts once."""
    engine = Database().engine()
    own, plain = functools.partial(type(engine.pool).connect, engine.pool), engine.pool
    plain.connect = own  # type: ignore[method-assign]  # as a library does it
    monitor = instrument(engine)
    if is_put_back:
        plain.connect = own  # type: ignore[method-assign]  # likewise
    else:
        del plain.connect
    monitor.snapshot()

    work(engine)

    assert RIGHT == counted(monitor)


def test_wrapper_over_a_patch_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """A method that a library has replaced, and that calls the replacement, is not replaced again at a snapshot."""
    monitor = instrument(engine := Database().engine())
    OtherPatches()
    connect = vars(Pool)["connect"]
    monitor.snapshot()

    work(engine)

    assert (connect, RIGHT, "") == (vars(Pool)["connect"], counted(monitor), caplog.text)


def test_one_wrapper_on_several_methods() -> None:
    """Close reasons are right although the wrappers of all methods share their code."""
    with mock.patch.object(RECORD, "get_connection", OtherPatches._traced(vars(RECORD)["get_connection"])):
        OtherPatches()
        engine = Database().engine(pool_size=1, max_overflow=1)
        monitor = instrument(engine)
        engine.connect().close()
        engine.pool._recycle = 0
        engine.connect().close()
        engine.pool._recycle = -1
        with engine.connect() as connection:
            connection.invalidate()
        engine.connect().close()
        engine.dispose()

    assert {"recycle": 1, "invalidate": 1, "dispose": 1} == closes(monitor)


def test_mocked_connection_sees_no_call() -> None:
    """A test double of the driver's connection records nothing but what SQLAlchemy calls."""
    connection = mock.Mock()
    pool = QueuePool(lambda: connection, reset_on_return=None)
    instrument(pool)

    pool.connect().close()

    assert [] == connection.mock_calls


class Slow:
    """A connection of no known driver, with a method of the same name."""

    def thread_id(self) -> int:
        """Fail, if it is ever called."""
        raise AssertionError("called")


def test_server_pid_is_read_from_known_drivers_only() -> None:
    """What is no driver's connection is not called; a driver's is, by the driver's own method."""
    driver = type("Connection", (), {"__module__": "pymysql.connections", "thread_id": lambda _: 42})
    own = type("Own", (driver,), {"__module__": "shop.database", "thread_id": Slow.thread_id})
    proxy = type("Proxy", (), {"__wrapped__": None})()
    proxy.__wrapped__ = driver()

    assert [0, 42, 42, 42, 0] == [server_pid(each) for each in (Slow(), driver(), own(), proxy, None)]


def test_installed_sqlalchemy_fits() -> None:
    """What the tests run on passes every check, as a version that CI has not run too."""
    assert [] == verify()
    assert [] == self_test.failures()
    assert [] == incompatibilities("2.99.0")


def test_self_test_is_seen_by_no_listener() -> None:
    """Listeners of every pool are not called, and nothing is patched, logged as an error, or left."""
    seen: list[str] = []
    names = ("connect", "first_connect", "checkout", "checkin", "reset", "close", "close_detached", "detach")
    listeners = {name: lambda *_, name=name: seen.append(name) for name in (*names, "invalidate", "soft_invalidate")}
    before = {method: vars(method[0])[method[1]] for method in replaced_methods(QueuePool)}
    for name, listener in listeners.items():
        event.listen(Pool, name, listener)
    try:
        self_test.failures()
    finally:
        for name, listener in listeners.items():
            event.remove(Pool, name, listener)
    gc.collect()

    assert [] == seen
    assert before == {method: vars(method[0])[method[1]] for method in replaced_methods(QueuePool)}
    assert not any(cls.__name__.startswith("SelfTest") for cls in QueuePool.__subclasses__())
    assert 0 == errors.count


def test_self_test_finds_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that works in another way is found, of a version that CI has not run only."""
    monkeypatch.setattr(QueuePool, "dispose", lambda _: None)

    assert any("after recreate() and dispose()" in found for found in self_test.failures())
    assert incompatibilities("2.99.0")
    assert [] == incompatibilities(next(iter(TESTED_VERSIONS)))


def test_self_test_is_quick() -> None:
    """It takes a millisecond or so; the bound is for a busy machine."""
    began = time.process_time()
    self_test.failures()

    assert time.process_time() - began < 0.25
