"""SQLAlchemy's methods are replaced while a pool is instrumented, look the same, and are put back afterwards."""

import gc
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from sqlalchemy.pool import AssertionPool, NullPool, Pool, QueuePool, SingletonThreadPool, StaticPool
from sqlalchemy.pool.base import _ConnectionFairy, _ConnectionRecord

from pool_exporter import instrument, instrument_all
from pool_exporter.hook_errors import errors
from pool_exporter.hooks.lifecycle_patches import PATCH_FACTORIES
from pool_exporter.hooks.method_patches import PatchSet
from pool_exporter.hooks.pool_binding import ATTRIBUTE
from pool_exporter.hooks.sqlalchemy_private import replaced_methods
from pool_exporter.runtime.degraded import DegradedMonitor
from pool_exporter.runtime.instrumentation import monitors
from tests.pools import Database, checked, uninstrument_all

CLASSES = [QueuePool, NullPool, SingletonThreadPool, StaticPool, AssertionPool]


def methods() -> dict[str, Any]:
    """Return every method that is patched, and the attribute, as they are now."""
    replaced = {method for cls in CLASSES for method in replaced_methods(cls)}
    found = {f"{cls.__name__}.{name}": cls.__dict__[name] for cls, name in replaced}
    for cls in (Pool, _ConnectionRecord, _ConnectionFairy):
        found[cls.__name__] = cls.__dict__.get(ATTRIBUTE, "nothing")
    return found


@pytest.fixture(name="bare")
def _bare() -> Iterator[dict[str, Any]]:
    """Return the methods as SQLAlchemy made them."""
    uninstrument_all()
    yield methods()
    gc.collect()


def test_bare_methods_are_sqlalchemy_s(bare: dict[str, Any]) -> None:
    """The other tests start from SQLAlchemy's own functions."""
    functions = [value for value in bare.values() if callable(value)]

    assert len(functions) > len(PATCH_FACTORIES)
    assert {"sqlalchemy"} == {function.__module__.partition(".")[0] for function in functions}
    assert not any(hasattr(function, "__wrapped__") for function in functions)


def test_patched_while_one_is_instrumented(bare: dict[str, Any]) -> None:
    """The first instrumented pool opens them, the last one that is closed puts everything back."""
    first, second = instrument(Database().engine(NullPool)), instrument(pool := QueuePool(Database().connect))

    assert bare["Pool.connect"] is not Pool.__dict__["connect"]

    first.close()

    assert bare["Pool.connect"] is not Pool.__dict__["connect"]

    second.close()

    assert bare == methods()
    assert pool.connect().is_valid


def test_closed_with_the_last_pool_dropped(bare: dict[str, Any]) -> None:
    """An engine that is merely dropped leaves nothing either, from the moment that it is freed."""
    engine = Database().engine()
    instrument(engine)
    engine.connect().close()

    assert bare != methods()

    del engine
    gc.collect()

    assert bare == methods()


def test_open_for_everywhere(bare: dict[str, Any]) -> None:
    """instrument_all() keeps them open while nothing is instrumented yet."""
    with instrument_all():
        for monitor in monitors():
            monitor.close()

        assert bare != methods()

    assert bare == methods()


def test_closed_after_a_failure(bare: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """An instrument() that fails leaves nothing replaced, and the pool's public count."""
    monkeypatch.setattr(
        "pool_exporter.hooks.pool_hooks.open_records", mock.Mock(side_effect=RuntimeError("no records"))
    )
    engine = Database().engine()

    monkeypatch.setattr(errors, "count", 0)
    monitor = instrument(engine)
    gc.collect()

    assert 1 == errors.count
    assert ATTRIBUTE not in vars(engine.pool)
    assert isinstance(monitor, DegradedMonitor)
    monitor.close()
    assert bare == methods()


@pytest.mark.parametrize("poolclass", CLASSES)
def test_replaced_methods_look_the_same(bare: dict[str, Any], poolclass: type[Pool]) -> None:
    """Name, signature and documentation are those of SQLAlchemy's own, also of the method of one object."""
    pool = poolclass(Database().connect)
    signature = inspect.signature(pool.connect)
    instrument(pool)
    for cls, name in replaced_methods(poolclass):
        method, replaced = bare[f"{cls.__name__}.{name}"], cls.__dict__[name]

        assert method is not replaced
        assert inspect.signature(method) == inspect.signature(replaced)
        assert (method.__name__, method.__qualname__) == (replaced.__name__, replaced.__qualname__)
        assert (method.__doc__, method.__module__) == (replaced.__doc__, replaced.__module__)

    assert signature == inspect.signature(pool.connect)
    assert pool.connect.__self__ is pool  # type: ignore[attr-defined]  # a method has it


def test_instrumented_pool_has_no_method_of_its_own() -> None:
    """An instrumented pool differs from another one by one attribute only."""
    engine = Database().engine()
    before = set(vars(engine.pool))
    instrument(engine)

    assert {ATTRIBUTE} == set(vars(engine.pool)) - before


def test_class_can_be_patched() -> None:
    """A replacement of another library on the class is called for instrumented pools; once removed, it is gone."""
    engine, called = Database().engine(), list[Pool]()
    monitor = instrument(engine)

    def connect_of_library(pool: Pool) -> None:
        called.append(pool)

    with mock.patch.object(Pool, "connect", connect_of_library):
        engine.pool.connect()
    with mock.patch.object(Pool, "connect") as connect:
        engine.pool.connect()
    engine.connect().close()

    connect.assert_called_once_with()
    assert [engine.pool] == called
    assert 1 == checked(monitor).checkouts


@pytest.mark.pure("`autospec` passes the object only to what is a function of Python; compiled.md says so")
def test_class_can_be_patched_by_a_specified_mock() -> None:
    """A mock with the signature of the replacement gets the pool, too."""
    engine = Database().engine()
    instrument(engine)
    with mock.patch.object(Pool, "connect", autospec=True) as connect:
        engine.pool.connect()

    connect.assert_called_once_with(engine.pool)


def test_patched_class_is_left_alone(bare: dict[str, Any]) -> None:
    """Another library's replacement over a patch stays and works after close(); later pools are counted once."""
    first = instrument(early := Database().engine())
    inner: Callable[[Any], Any] = Pool.connect
    said: list[str] = []

    def other(self: Pool) -> Any:
        said.append("other")
        return inner(self)

    Pool.connect = other  # type: ignore[method-assign]  # as a library does it
    try:
        second = instrument(late := Database().engine())
        for engine in (early, late):
            with engine.connect() as connection:
                connection.invalidate()

        assert ["other"] * 2 == said
        for monitor in (first, second):
            assert (1, 1) == (checked(monitor).checkouts, checked(monitor).connects)
            assert 1 == checked(monitor).invalidations["hard"] == checked(monitor).closes["invalidate"]

        first.close()
        second.close()

        assert other is Pool.__dict__["connect"]

        early.connect().close()

        assert 3 == len(said)
    finally:
        Pool.connect = bare["Pool.connect"]  # type: ignore[method-assign]  # as it was


class Outer(QueuePool):
    """A user's own pool with methods that call those of its parent."""

    def connect(self) -> Any:
        """Pass on."""
        return super().connect()

    def recreate(self) -> Any:
        """Pass on."""
        return super().recreate()

    def _return_conn(self, record: Any) -> None:
        super()._return_conn(record)


def test_overridden_methods_are_passed_once(bare: dict[str, Any]) -> None:
    """A class with methods of its own is replaced too, and what passes through both is counted once."""
    own = dict(vars(Outer))
    engine = Database().engine(Outer)
    with instrument(engine) as monitor:
        assert own["connect"] is not vars(Outer)["connect"]

        for _ in range(2):
            engine.connect().close()
            engine.dispose()

        assert (2, 2) == (checked(monitor).checkouts, checked(monitor).connects)
        assert 2 == checked(monitor).closes["dispose"] == checked(monitor).use_time.count

    assert own == dict(vars(Outer))
    assert bare == methods()


class Alone(NullPool):
    """A user's own pool with a `connect` that does not call its parent's."""

    def connect(self) -> Any:
        """Connect as the parent does."""
        return _ConnectionFairy._checkout(self)


def test_own_connect_alone() -> None:
    """A `connect` that never comes to its parent's is counted as well."""
    engine = Database().engine(Alone)
    monitor = instrument(engine)

    engine.connect().close()

    assert 1 == checked(monitor).checkouts == checked(monitor).wait_time.count


def test_removed_twice(bare: dict[str, Any]) -> None:
    """Removing what is removed does nothing."""
    patches = PatchSet()
    patches.open(QueuePool, PATCH_FACTORIES)
    patches.remove()
    patches.remove()

    assert bare == methods()


def test_opened_and_closed_under_way(bare: dict[str, Any]) -> None:
    """Callers of a bare pool notice nothing while methods are patched and put back."""
    engine = Database().engine(pool_size=2, max_overflow=2)
    other = Database().engine()
    failures: list[Exception] = []
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            try:
                engine.connect().close()
            except Exception as error:  # noqa: BLE001  # any would be the package's
                failures.append(error)
                return

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(300):
        instrument(other).close()
    is_over.set()
    for thread in threads:
        thread.join()

    assert [] == failures
    assert bare == methods()
