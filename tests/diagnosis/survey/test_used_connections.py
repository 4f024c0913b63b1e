"""What holds a connection is judged by its unit, its owner and what that does, each of which may be for another use."""

from types import CodeType
from typing import cast

import pytest

from pool_exporter.diagnosis.survey.scene import Doing, Scene, is_past
from pool_exporter.diagnosis.survey.used_connections import HolderRules
from pool_exporter.metrics.holders import EXECUTING, OWN_CODE, UNKNOWN, WAITING_FOR_POOL
from pool_exporter.state.connection import Connection, Place, frames_of
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.waiters import WaitingCaller
from pool_exporter.units import Unit
from tests.fakes import FakeScene

CODE: CodeType = compile("take()", "/srv/orders/api.py", "exec")
OTHER_CODE: CodeType = compile("serve()", "/srv/orders/app.py", "exec")
LIBRARY: CodeType = compile("wait()", "/venv/lib/python3.12/site-packages/starlette/responses.py", "exec")
PLACE: Place = ((CODE, 10),)


class Task:
    """An owner that is no thread, and has not ended."""

    def done(self) -> bool:
        """Return that it goes on."""
        return False


class Thread:
    """An owner that is a thread, and lives."""

    def is_alive(self) -> bool:
        """Return that it lives."""
        return True


def judged(
    scene: FakeScene, owner: object, unit: Unit | None = None, *, is_orphan: bool = False, is_idle: bool = False
) -> tuple[str, bool, bool]:
    """Return activity of a holder, whether it is lost, and whether it waits for this pool itself."""
    connection = Connection(PoolState(lambda: 0))
    connection.caller = (lambda: owner, "owner", unit, *frames_of(PLACE))
    rules = HolderRules(cast("Scene", scene), lambda _: is_orphan, lambda _: is_idle, 5.0)
    held = rules.held(connection, 6.0, with_awaited=True)
    return held.holder.activity, held.holder.is_lost, held.is_self


def waiting(unit: Unit | None = None) -> WaitingCaller:
    """Return a waiter that runs for *unit*."""
    return WaitingCaller(0, None, "", unit, (), None, 1)


UNIT, OTHER = Unit("request"), Unit("another request")
SELF = Doing(WAITING_FOR_POOL, is_self=True)
QUERY = Doing(EXECUTING)
WORK = Doing(OWN_CODE)


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        (FakeScene(QUERY), (EXECUTING, False, False)),
        (FakeScene(QUERY, is_young=False), (OWN_CODE, False, False)),
        (FakeScene(SELF, waiting()), (WAITING_FOR_POOL, False, True)),
        (FakeScene(SELF, waiting(), is_young=False), (WAITING_FOR_POOL, False, True)),
    ],
)
def test_task(scene: FakeScene, expected: tuple[str, bool, bool]) -> None:
    """A task does what its stack says; on several connections it executes on the youngest only."""
    assert expected == judged(scene, Task())


@pytest.mark.parametrize(
    ("scene", "unit", "expected"),
    [
        (FakeScene(SELF, waiting(), frames=((CODE, 12),)), None, True),
        (FakeScene(SELF, waiting(), frames=PLACE), None, False),
        (FakeScene(SELF, waiting(), frames=()), None, False),
        (FakeScene(SELF, waiting(UNIT)), UNIT, True),
        (FakeScene(SELF, waiting(OTHER)), UNIT, False),
        (FakeScene(SELF, waiting(OTHER), frames=((CODE, 12),)), UNIT, True),
        (FakeScene(SELF, waiting(OTHER), frames=((CODE, 12),)), None, True),
        (FakeScene(SELF, waiting(OTHER), frames=PLACE), UNIT, False),
    ],
)
def test_thread_that_waits(scene: FakeScene, unit: Unit | None, expected: bool) -> None:
    """It waits for its connection's use if it still runs the function that checked out, or for the same unit."""
    assert expected == judged(scene, Thread(), unit)[2]


@pytest.mark.parametrize("is_of_unit", [True, False])
def test_worker_of_anyio_that_waits_in_another_unit(is_of_unit: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit inside of the request waits, or the thread runs the same function for the next request."""
    monkeypatch.setattr(Thread, "__module__", "anyio._backends._asyncio")
    worker = Thread()
    scene = FakeScene(SELF, waiting(OTHER), frames=((CODE, 12),), workers=[worker] if is_of_unit else [])

    assert is_of_unit == judged(scene, worker, UNIT)[2]


@pytest.mark.parametrize(
    ("scene", "owner", "expected"),
    [
        (FakeScene(WORK, is_unit_waiting=True), Task(), (OWN_CODE, False, False)),
        (FakeScene(WORK, is_unit_waiting=True, may_follow=False), Task(), (WAITING_FOR_POOL, False, True)),
        (FakeScene(Doing(UNKNOWN), is_unit_waiting=True), Task(), (WAITING_FOR_POOL, False, True)),
        (FakeScene(QUERY, is_unit_waiting=True, may_follow=False), Task(), (EXECUTING, False, False)),
        (FakeScene(QUERY, is_unit_waiting=True), Thread(), (WAITING_FOR_POOL, False, True)),
        (FakeScene(Doing(UNKNOWN), of_unit=QUERY), Thread(), (EXECUTING, False, False)),
        (FakeScene(WORK, of_unit=QUERY), Task(), (OWN_CODE, False, False)),
    ],
)
def test_unit_that_runs(scene: FakeScene, owner: object, expected: tuple[str, bool, bool]) -> None:
    """A task of which all is known goes on; what a thread is done with, the unit's tasks go on with."""
    assert expected == judged(scene, owner, UNIT)


@pytest.mark.parametrize(
    ("doing", "expected"),
    [(WORK, "api.py"), (Doing(OWN_CODE, ((LIBRARY, 0),)), "api.py"), (Doing(OWN_CODE, ((OTHER_CODE, 0),)), "app.py")],
)
@pytest.mark.parametrize("is_waiting", [True, False])
def test_task_that_only_waits(doing: Doing, expected: str, is_waiting: bool) -> None:
    """A task with only libraries on its stack is where the unit's other tasks are; one of the application is shown."""
    connection = Connection(PoolState(lambda: 0))
    owner = Task()
    connection.caller = (lambda: owner, "owner", UNIT, *frames_of(PLACE))
    scene = FakeScene(doing, is_unit_waiting=is_waiting, of_unit=Doing(OWN_CODE, PLACE))
    rules = HolderRules(cast("Scene", scene), lambda _: False, lambda _: False, 5.0)

    held = rules.held(connection, 6.0, with_awaited=True)

    assert [expected] == [text.split(":")[0].rpartition("/")[2] for text in held.holder.now]
    assert not held.is_in_libraries


def test_task_in_a_library() -> None:
    """Where no task of the unit is in the application, the holder is known to be in a library."""
    connection = Connection(PoolState(lambda: 0))
    owner = Task()
    connection.caller = (lambda: owner, "owner", UNIT, *frames_of(PLACE))
    scene = FakeScene(Doing(OWN_CODE, ((LIBRARY, 0),)))
    rules = HolderRules(cast("Scene", scene), lambda _: False, lambda _: False, 5.0)

    assert rules.held(connection, 6.0, with_awaited=True).is_in_libraries


def test_lost() -> None:
    """An orphan is lost, and so is what an idle thread of a pool has left; never a running unit's."""
    assert ("ended", True, False) == judged(FakeScene(WORK), Thread(), is_orphan=True)
    assert ("ended", True, False) == judged(FakeScene(WORK), Thread(), is_idle=True)
    assert ("own_code", False, False) == judged(FakeScene(WORK), Thread(), UNIT, is_idle=True)


def test_long_unit_is_never_lost() -> None:
    """What was declared long is in no count while it runs."""
    assert not judged(FakeScene(WORK), Task(), Unit("listener", is_long=True), is_orphan=True)[1]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [((), False), (PLACE, False), (((CODE, 12),), True), (((CODE, 10), (CODE, 12)), True)],
)
def test_past_the_checkout(frames: Place, expected: bool) -> None:
    """The function that checked out is further on; at the same instruction it may be another call of it."""
    assert expected == is_past(PLACE, frames)
