"""A thread goes on by itself if it still runs what has checked out; else another thread of its unit may have to."""

import threading
from types import CodeType
from typing import cast

import pytest

from pool_exporter.diagnosis.survey.independence import is_independent
from pool_exporter.diagnosis.survey.scene import Doing, Scene
from pool_exporter.metrics.holders import EXECUTING, OWN_CODE, UNKNOWN, WAITING_FOR_POOL
from pool_exporter.state.connection import Connection, Place, frames_of
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.waiters import WaitingCaller
from pool_exporter.units import Unit
from tests.fakes import FakeScene

CODE: CodeType = compile("take()", "/srv/orders/api.py", "exec")
PLACE: Place = ((CODE, 10),)
IN_PLACE: Place = ((CODE, 12),)
JOIN: Place = ((compile("join()", threading.__file__, "exec"), 0), *IN_PLACE)
CLIENT: Place = (
    (compile("wait()", threading.__file__, "exec"), 0),
    (compile("send()", "/venv/lib/python3.12/site-packages/client.py", "exec"), 0),
    *IN_PLACE,
)
UNIT = Unit("batch")
IDENT = UNIT.thread_id


class Thread:
    """An owner that is a thread, by default not the one in which the unit began."""

    def __init__(self, ident: int = 0) -> None:
        self.ident = ident

    def is_alive(self) -> bool:
        """Return that it lives."""
        return True


class AnyioThread(Thread):
    """A worker thread of anyio."""


AnyioThread.__module__ = "anyio._backends._asyncio"
WORKER, OTHER_WORKER = AnyioThread(), AnyioThread()


class Greenlet:
    """A greenlet."""

    gr_frame = None


def independent(scene: FakeScene, owner: object) -> bool:
    """Return whether *owner* goes on alone with a connection of UNIT."""
    connection = Connection(PoolState(lambda: 0))
    connection.caller = (lambda: owner, "owner", UNIT, *frames_of(PLACE))
    return is_independent(cast("Scene", scene), connection, owner, scene.doing, is_followed=True)


def runs(
    frames: Place = IN_PLACE,
    activity: str = OWN_CODE,
    last_unit: object = UNIT,
    workers: list[object] | None = None,
    waiting_thread: int | None = None,
) -> FakeScene:
    """Return a scene in which a thread has this stack, and the unit's tasks wait for these workers of anyio."""
    waiter = None if waiting_thread is None else WaitingCaller(0, None, "", UNIT, (), None, waiting_thread)
    doing = Doing(activity)
    return FakeScene(doing, waiter, is_unit_waiting=True, frames=frames, last_unit=last_unit, workers=workers)


@pytest.mark.parametrize(
    ("scene", "thread", "expected"),
    [
        (runs(), Thread(), True),
        (runs(activity=EXECUTING), Thread(), True),
        (runs(frames=()), Thread(), True),
        (runs(activity=UNKNOWN), Thread(), False),
        (runs(last_unit=Unit("next")), Thread(), False),
        (runs(JOIN), Thread(), True),
        (runs(JOIN), Thread(IDENT), False),
        (runs(IN_PLACE), Thread(IDENT), True),
        (runs(CLIENT), Thread(IDENT), True),
        (runs(activity=WAITING_FOR_POOL, waiting_thread=7), Thread(7), False),
        (runs(activity=WAITING_FOR_POOL, waiting_thread=8), Thread(7), True),
    ],
)
def test_thread(scene: FakeScene, thread: Thread, expected: bool) -> None:
    """Only the thread in which the unit began waits for the others, and only where its stack shows that."""
    assert expected == independent(scene, thread)


@pytest.mark.parametrize(
    ("scene", "thread", "expected"),
    [
        (runs(workers=[]), Thread(), True),
        (runs(frames=(), workers=[]), Thread(), False),
        (runs(workers=[WORKER]), WORKER, True),
        (runs(workers=[OTHER_WORKER]), WORKER, False),
        (runs(workers=[]), WORKER, False),
        (runs(), WORKER, True),
        (runs(frames=()), WORKER, False),
    ],
)
def test_thread_of_a_request(scene: FakeScene, thread: Thread, expected: bool) -> None:
    """A thread of anyio runs for the request if a task of the request waits for it, and no longer."""
    assert expected == independent(scene, thread)


def test_greenlet() -> None:
    """The greenlet in which the unit began may wait for the others: gevent does not show that."""
    greenlet, unit = Greenlet(), Unit("batch")
    connection = Connection(PoolState(lambda: 0))
    connection.caller = (lambda: greenlet, "owner", unit, *frames_of(PLACE))
    scene = cast("Scene", FakeScene(Doing(OWN_CODE)))

    assert is_independent(scene, connection, greenlet, Doing(OWN_CODE), is_followed=True)

    unit.thread_id = id(greenlet)

    assert not is_independent(scene, connection, greenlet, Doing(OWN_CODE), is_followed=True)
    assert is_independent(scene, connection, greenlet, Doing(EXECUTING), is_followed=True)
