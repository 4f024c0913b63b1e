"""Threads: what each does and where it is, through real engines."""

import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from sqlalchemy import Engine, QueuePool, create_engine, event, text
from sqlalchemy.orm import Session

from pool_exporter.diagnosis import locate, stacks
from pool_exporter.diagnosis.frames import text_of
from pool_exporter.diagnosis.locate import Stacks
from tests.diagnosis.loops import look_at, names
from tests.fixtures.deadlines import until


class Scene:
    """An engine with one connection, and a thread that stands still in the middle of its work."""

    def __init__(self, path: Path) -> None:
        self.is_there = threading.Event()
        self.go_on = threading.Event()
        self.engine: Engine = create_engine(
            f"sqlite:///{path}/scene.db?check_same_thread=false", poolclass=QueuePool, pool_size=1, max_overflow=0
        )

        @event.listens_for(self.engine, "connect")
        def _(connection: Any, _record: object) -> None:
            connection.create_function("block", 0, self.stand)

    def stand(self) -> int:
        """Stand here, as if this were a slow call."""
        self.is_there.set()
        self.go_on.wait()
        return 1

    def start(self, work: Callable[["Scene"], None]) -> threading.Thread:
        """Start the thread, and return it when it stands."""
        thread = threading.Thread(target=work, args=(self,))
        thread.start()
        self.is_there.wait()
        return thread


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.go_on.set()
    scene.engine.dispose()


def call_in_connection(scene: Scene) -> None:
    """Hold a connection of Core during a call of another service."""
    with scene.engine.connect():
        scene.stand()


def query_of_core(scene: Scene) -> None:
    """Execute a slow query by Core."""
    with scene.engine.connect() as connection:
        connection.execute(text("select block()"))


def query_of_session(scene: Scene) -> None:
    """Execute a slow query by the ORM."""
    with Session(scene.engine) as session:
        session.execute(text("select block()"))


def fetch_slowly(scene: Scene) -> None:
    """Wait for the second row: SQLite computes each row when it is fetched."""
    with scene.engine.connect() as connection:
        rows = connection.execute(text("select 1 union all select block()"))
        rows.fetchone()
        rows.fetchone()


def call_in_listener(scene: Scene) -> None:
    """Call another service in a listener of a query."""

    def listener(*arguments: object) -> None:
        scene.stand()

    event.listen(scene.engine, "before_cursor_execute", listener)
    with scene.engine.connect() as connection:
        connection.execute(text("select 1"))


def open_slowly(scene: Scene) -> None:
    """Open a connection, in which a listener takes long."""
    event.listen(scene.engine, "connect", lambda *_: scene.stand())
    with scene.engine.connect():
        pass


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (call_in_connection, ("own_code", ["stand", "call_in_connection"])),
        (query_of_core, ("executing", ["query_of_core"])),
        (query_of_session, ("executing", ["query_of_session"])),
        (fetch_slowly, ("executing", ["fetch_slowly"])),
        (call_in_listener, ("own_code", ["stand", "listener", "call_in_listener"])),
        (open_slowly, ("opening", ["open_slowly"])),
    ],
)
def test_thread(scene: Scene, work: Callable[[Scene], None], expected: tuple[str, list[str]]) -> None:
    """A thread that holds a connection is found in its own code, or in the call of its driver."""
    thread = scene.start(work)
    found = look_at(thread)
    scene.go_on.set()
    thread.join()

    assert expected == (found.activity, names(found.now))


def test_thread_that_waits_for_the_pool(scene: Scene) -> None:
    """A thread without a connection yet waits for the pool."""
    with scene.engine.connect():
        thread = threading.Thread(target=call_in_connection, args=(scene,))
        thread.start()
        until("waiting_for_pool", lambda: look_at(thread).activity)
        found = look_at(thread)
        scene.go_on.set()
    thread.join()

    assert ["call_in_connection"] == names(found.now)


def test_line(scene: Scene) -> None:
    """The line is the one that the thread is at."""
    thread = scene.start(call_in_connection)
    found = look_at(thread)
    scene.go_on.set()
    thread.join()
    line = call_in_connection.__code__.co_firstlineno + 3

    assert f"diagnosis/test_locate_threads.py:{line} in call_in_connection" == text_of(found.now[1])


def test_own_thread() -> None:
    """The calling thread is in its own code; the frames of this package are left out."""
    found = look_at(threading.current_thread())

    assert "own_code" == found.activity
    assert ["look_at", "test_own_thread"] == names(found.now)[:2]
    assert not any("pool_exporter/diagnosis" in code.co_filename for code, _ in found.frames)


def test_ended_thread() -> None:
    """A thread that has ended is ended."""
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()

    assert "ended" == look_at(thread).activity


def test_thread_that_has_not_begun() -> None:
    """A thread that was not started has no stack."""
    found = look_at(threading.Thread(target=int))

    assert ("ended", ()) == (found.activity, found.frames)


def test_object_of_an_unknown_kind() -> None:
    """An owner that raises whatever is read of it is unknown."""

    class Odd:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

    assert "unknown" == look_at(Odd()).activity


def test_idle_worker(scene: Scene) -> None:
    """A worker that waits for work is unknown: it is not in the code of any job."""
    with ThreadPoolExecutor(1) as executor:
        thread = executor.submit(threading.current_thread).result()
        until("unknown", lambda: look_at(thread).activity)
        found = look_at(thread)

    assert () == found.now
    assert "_worker" == names(found.frames)[0]


def test_threads_are_read_once(scene: Scene) -> None:
    """All threads of one report are seen at the same moment."""
    thread = scene.start(call_in_connection)
    with Stacks() as report:
        before = report.of_thread(threading.get_ident())
        scene.go_on.set()
        thread.join()
        assert thread.ident is not None
        found = report.of_thread(thread.ident)

    assert ["stand", "call_in_connection"] == names(found.now)
    assert "test_threads_are_read_once" in names(before.now)


class Local:
    """A local variable of the application."""


def test_nothing_is_kept_alive() -> None:
    """What the functions of a thread refer to is freed when they return, while the report and its result go on."""
    is_there, go_on = threading.Event(), threading.Event()
    made: list[ref[Local]] = []

    def work() -> None:
        local = Local()
        made.append(ref(local))
        is_there.set()
        go_on.wait()

    thread = threading.Thread(target=work)
    gc.collect()
    gc.disable()
    try:
        thread.start()
        is_there.wait()
        with Stacks() as report:
            found = report.of(thread), report.of(threading.current_thread())
            go_on.set()
            thread.join()

            assert made[0]() is None

        assert {"own_code"} == {each.activity for each in found}
        assert [] == [each for each in gc.garbage if isinstance(each, Local)]
    finally:
        gc.enable()


def test_own_frame_is_in_no_cycle() -> None:
    """The function that makes a report frees its own variables when it returns, without the garbage collector."""

    def report() -> "ref[Local]":
        local = Local()
        look_at(threading.current_thread())
        return ref(local)

    gc.collect()
    gc.disable()
    try:
        assert report()() is None
    finally:
        gc.enable()


def test_without_the_gil(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a build without the GIL the calling thread is read, and no other one."""
    for module in (locate, stacks):
        monkeypatch.setattr(module, "has_gil", lambda: False)
    thread = scene.start(call_in_connection)
    other, own = look_at(thread), look_at(threading.current_thread())
    scene.go_on.set()
    thread.join()

    assert ("unknown", ()) == (other.activity, other.frames)
    assert "test_without_the_gil" in names(own.now)


@pytest.mark.parametrize(("has_gil", "expected"), [(True, ["wait"]), (False, [])])
def test_greenlet(has_gil: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A suspended greenlet has its own stack; without the GIL another thread may run it, so it is unknown."""
    greenlet = pytest.importorskip("greenlet")

    def wait() -> None:
        greenlet.getcurrent().parent.switch()

    for module in (locate, stacks):
        monkeypatch.setattr(module, "has_gil", lambda: has_gil)
    suspended = greenlet.greenlet(wait)
    suspended.switch()
    found = look_at(suspended)
    suspended.switch()

    assert expected == names(found.now)
    assert "ended" == look_at(suspended).activity
