"""Each task of Celery is a unit, under the task's name, whichever context it runs in."""

from collections.abc import Iterator
from contextvars import Context
from typing import Any

import pytest
from celery import Celery, signals

import pool_exporter
from pool_exporter.units import Unit, current_unit


class Tasks:
    """An application with tasks that note the unit."""

    def __init__(self) -> None:
        self.units: dict[str, Unit | None] = {}
        self.app = app = Celery("shop", set_as_current=False)
        app.conf.task_always_eager = True
        app.conf.task_eager_propagates = False

        @app.task(name="shop.inner")  # type: ignore[untyped-decorator]  # Celery has no types
        def inner() -> None:
            self.note("inner")

        @app.task(name="shop.outer")  # type: ignore[untyped-decorator]  # Celery has no types
        def outer() -> None:
            self.note("before")
            inner.apply()
            self.note("after")

        @app.task(name="shop.broken", autoretry_for=(ValueError,), max_retries=0)  # type: ignore[untyped-decorator]  # likewise
        def broken() -> None:
            self.note("broken")
            raise LookupError

        self.inner, self.outer, self.broken = inner, outer, broken

    def note(self, what: str) -> None:
        """Note the current unit."""
        self.units[what] = current_unit.get()

    def names(self) -> dict[str, str]:
        """Return the name of each unit that was noted."""
        return {what: "" if unit is None else unit.name for what, unit in self.units.items()}


@pytest.fixture(name="tasks")
def _tasks() -> Iterator[Tasks]:
    pool_exporter.CeleryUnits().install()
    yield Tasks()
    for signal in (signals.task_prerun, signals.task_postrun):
        signal.disconnect(dispatch_uid="pool_exporter")


def test_task_is_a_unit(tasks: Tasks) -> None:
    """The unit has the task's name and function, and ends with the task."""
    tasks.inner.delay()
    (unit,) = tasks.units.values()

    assert unit is not None
    assert ("shop.inner", True, None) == (unit.name, unit.is_done, current_unit.get())
    assert "inner" == getattr(unit.code, "co_name", None)


def test_task_that_is_called_in_a_task(tasks: Tasks) -> None:
    """The inner task is a unit of its own, after which the outer one goes on."""
    tasks.outer.delay()

    assert {"before": "shop.outer", "inner": "shop.inner", "after": "shop.outer"} == tasks.names()
    assert tasks.units["before"] is tasks.units["after"]
    assert current_unit.get() is None


def test_name_of_a_task_is_not_masked(tasks: Tasks) -> None:
    """A task's name that looks like a name and its password stays as the application declares it."""

    @tasks.app.task(name="token:refresh")  # type: ignore[untyped-decorator]  # Celery has no types
    def refresh() -> None:
        tasks.note("refresh")

    refresh.delay()

    assert {"refresh": "token:refresh"} == tasks.names()


def test_task_that_fails(tasks: Tasks) -> None:
    """An error ends the unit; the function is found behind what Celery puts around it."""
    tasks.broken.delay()
    (unit,) = tasks.units.values()

    assert unit is not None
    assert ("shop.broken", True) == (unit.name, unit.is_done)
    assert "broken" == getattr(unit.code, "co_name", None)


def test_unit_around_an_eager_task_comes_back(tasks: Tasks) -> None:
    """A task that runs in the caller is inside of the caller's unit."""
    with pool_exporter.unit("caller"):
        tasks.inner.delay()
        after = current_unit.get()

    assert (after is not None, "shop.inner") == (True, tasks.names()["inner"])
    assert "caller" == getattr(after, "name", "")


def test_install_twice_is_once(tasks: Tasks) -> None:
    """A second call connects nothing more."""
    before = len(signals.task_prerun.receivers)
    pool_exporter.CeleryUnits().install()

    assert before == len(signals.task_prerun.receivers)


def send(signal: Any, task: Any, task_id: str) -> None:
    """Send a signal of a worker."""
    signal.send(sender=task, task_id=task_id, task=task, args=(), kwargs={})


def test_task_that_was_interrupted_leaves_nothing(tasks: Tasks) -> None:
    """The next task of a worker's thread has no unit around it, though the last one never said that it ended."""

    def run() -> tuple[str, Unit | None]:
        send(signals.task_prerun, tasks.outer, "1")
        send(signals.task_prerun, tasks.inner, "2")
        unit = current_unit.get()
        send(signals.task_postrun, tasks.inner, "2")
        return "" if unit is None else unit.name, current_unit.get()

    assert ("shop.inner", None) == Context().run(run)


def test_end_of_another_task_changes_nothing(tasks: Tasks) -> None:
    """A signal for a task that is not the current one is ignored."""

    def run() -> Unit | None:
        send(signals.task_prerun, tasks.inner, "1")
        send(signals.task_postrun, tasks.outer, "2")
        return current_unit.get()

    unit = Context().run(run)

    assert unit is not None
    assert ("shop.inner", False) == (unit.name, unit.is_done)


def test_task_that_leaves_a_unit_open(tasks: Tasks) -> None:
    """A task ends although a unit inside of it, of a generator that is kept, has not been left."""
    kept: list[Iterator[None]] = []

    @tasks.app.task(name="shop.keeping")  # type: ignore[untyped-decorator]  # Celery has no types
    def keeping() -> None:
        def steps() -> Iterator[None]:
            with pool_exporter.unit("steps"):
                yield

        tasks.note("task")
        kept.append(steps())
        next(kept[0])

    Context().run(keeping.apply)
    task = tasks.units["task"]

    assert task is not None
    assert task.is_done
