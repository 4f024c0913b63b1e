"""Of each checkout the first two frames of the application are known, however SQLAlchemy was called."""

import asyncio
import contextlib
import gc
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from weakref import ref

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool
from sqlmodel import Session as SqlmodelSession
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession as AsyncSqlmodelSession

import pool_exporter
from pool_exporter.hooks.callers import place as place_module
from pool_exporter.hooks.callers.place import ARMED_SECONDS, PlaceRecorder, recorder
from pool_exporter.hooks.pool_binding import binding_of
from pool_exporter.state.connection import Place


@pytest.fixture
def engine() -> Iterator[Engine]:
    """Return an instrumented engine on a database in memory."""
    engine = create_engine("sqlite://", poolclass=QueuePool, connect_args={"check_same_thread": False})
    with pool_exporter.instrument(engine):
        yield engine


@pytest.fixture(autouse=True)
def learned_anew() -> Iterator[None]:
    """Let each test begin without a learned depth, and leave the recorder as it was."""
    recorder._depths.clear()
    recorder.pairs_without_second.clear()
    yield
    recorder.configure("always")


def names(place: Place) -> list[str]:
    """Return the names of the functions of a place."""
    return [code.co_name for code, _ in place]


def used(engine: Engine | AsyncEngine) -> list[Place]:
    """Return the place of each connection that is checked out."""
    pool = engine.pool
    binding = binding_of(pool)
    assert binding is not None

    return [each.place for each in binding.state.live_connections() if each.is_used]


def outer(inner: Callable[[], object]) -> object:
    """Call a function of the application."""
    return inner()


def test_core(engine: Engine) -> None:
    """`engine.connect()` is at the function that calls it, and at that one's caller."""

    def checkout() -> object:
        return engine.connect()

    kept = outer(checkout)

    assert ["checkout", "outer"] == names(*used(engine))
    del kept


def test_waiter_at_the_pool_itself() -> None:
    """A caller that waits is at the function that calls `pool.connect()`, as its checkout would be."""
    engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0)

    def checkout() -> object:
        return engine.pool.connect()

    with pool_exporter.instrument(engine) as monitor:
        kept = outer(checkout)
        with pytest.raises(PoolTimeoutError):
            outer(checkout)
        del kept
        (report,) = monitor.diagnoses
    (waiter,) = report.waiters

    assert ["checkout", "outer"] == re.findall(r"(\w+)(?: < |$)", waiter.place)


def test_line(engine: Engine) -> None:
    """The instruction of the first frame is the call itself."""

    def checkout() -> object:
        before = 1
        kept = engine.connect()
        return before, kept

    kept = checkout()
    ((code, instruction), _) = used(engine)[0]
    line = next(line for start, end, line in code.co_lines() if start <= instruction < end)

    assert checkout.__code__ is code
    assert line == code.co_firstlineno + 2
    del kept


@pytest.mark.parametrize("order", [("core", "session", "raw"), ("session", "raw", "core"), ("raw", "core", "session")])
def test_each_way_whatever_was_learned_before(engine: Engine, order: tuple[str, ...]) -> None:
    """Core, ORM and a bare pool have different numbers of frames of SQLAlchemy; each is found after any other."""

    def core() -> object:
        return engine.connect()

    def session() -> object:
        found = Session(engine)
        found.execute(text("select 1"))
        return found

    def raw() -> object:
        return engine.pool.connect()

    ways: dict[str, Callable[[], object]] = {"core": core, "session": session, "raw": raw}
    found = []
    for name in order * 2:
        kept = outer(ways[name])
        found += [names(each) for each in used(engine)]
        kept.close()  # type: ignore[attr-defined]  # each of the three has it

    assert [[name, "outer"] for name in order * 2] == found


def test_helper_of_contextlib_is_no_place(engine: Engine) -> None:
    """A context manager that checks out is the helper of the function that enters it."""

    @contextlib.contextmanager
    def helper() -> Iterator[object]:
        with engine.connect() as connection:
            yield connection

    def work() -> list[Place]:
        with helper():
            return used(engine)

    assert ["work", "outer"] == names(outer(work)[0])  # type: ignore[index]  # what `work` returns


def test_helpers_around_a_helper(engine: Engine) -> None:
    """A helper that enters a helper is none of the two frames, nor is one that calls the function that enters it."""

    @contextlib.contextmanager
    def helper() -> Iterator[object]:
        with engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def nested() -> Iterator[object]:
        with helper() as connection:
            yield connection

    def work(entered: Callable[[], contextlib.AbstractContextManager[object]]) -> list[Place]:
        with entered():
            return used(engine)

    @contextlib.contextmanager
    def calling() -> Iterator[list[Place]]:
        yield work(helper)

    def entering() -> list[Place]:
        with calling() as found:
            return found

    found = [outer(call)[0] for call in (lambda: work(nested), entering, entering)]  # type: ignore[index]  # as above

    assert [["work", "<lambda>"], ["work", "entering"], ["work", "entering"]] == [names(each) for each in found]


def test_thread(engine: Engine) -> None:
    """In a thread the walk ends with its target: there is one frame."""
    found: list[Place] = []

    def target() -> None:
        with engine.connect():
            found.extend(used(engine))

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()

    assert [["target"]] == [names(each) for each in found]


def test_library_only(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all frames are a library's, these are the place."""
    recorder.configure("always", ("tests",))
    kept = engine.connect()

    assert "test_library_only" == names(*used(engine))[0]
    kept.close()


def test_skipped_module(engine: Engine) -> None:
    """A function of a skipped module does not count: its caller does."""
    source = "def get(engine):\n    return engine.connect()\n"
    space: dict[str, Callable[[Engine], object]] = {}
    exec(compile(source, place_module.__file__.replace("place.py", "skipped_helper.py"), "exec"), space)  # noqa: S102  # a module of the package's own, as a skipped one, counts for nothing

    kept = outer(lambda: space["get"](engine))

    assert ["<lambda>", "outer"] == names(*used(engine))
    del kept


@pytest.mark.asyncio
async def test_asynchronous_core() -> None:
    """The coroutines that await SQLAlchemy's greenlet are the place."""
    engine = create_async_engine("sqlite+aiosqlite://")

    async def inner() -> list[Place]:
        async with engine.connect():
            return used(engine)

    async def middle() -> list[Place]:
        return await inner()

    with pool_exporter.instrument(engine):
        found = [await middle() for _ in range(3)]

    assert [["inner", "middle"]] * 3 == [names(*each) for each in found]
    await engine.dispose()


@pytest.mark.asyncio
async def test_asynchronous_session_and_run_sync() -> None:
    """A function under `run_sync` is a frame of the application inside the greenlet; its awaiter is the second."""
    engine = create_async_engine("sqlite+aiosqlite://")

    def inside(session: Session) -> list[Place]:
        session.execute(text("select 1"))
        return used(engine)

    async def plain() -> list[Place]:
        async with AsyncSession(engine) as session:
            await session.execute(text("select 1"))
            return used(engine)

    async def run_sync() -> list[Place]:
        async with AsyncSession(engine) as session:
            return await session.run_sync(inside)

    with pool_exporter.instrument(engine):
        found = [await plain(), await run_sync(), await plain()]

    test = "test_asynchronous_session_and_run_sync"
    assert [["plain", test], ["inside", "run_sync"], ["plain", test]] == [names(*each) for each in found]
    await engine.dispose()


@pytest.mark.asyncio
async def test_walk_ends_at_the_loop() -> None:
    """What runs the event loop has not asked for the connection of a task."""
    engine = create_async_engine("sqlite+aiosqlite://")

    async def task() -> list[Place]:
        async with engine.connect():
            return used(engine)

    with pool_exporter.instrument(engine):
        found = await asyncio.create_task(task())

    assert [["task"]] == [names(each) for each in found]
    await engine.dispose()


async def _in_task(engine: AsyncEngine) -> list[Place]:
    async with engine.connect():
        return used(engine)


async def _in_coroutine_of_task(engine: AsyncEngine) -> list[Place]:
    return await _in_task(engine)


async def _in_transaction(engine: AsyncEngine) -> list[Place]:
    async with engine.begin():
        return used(engine)


async def _in_session(engine: AsyncEngine) -> list[Place]:
    async with AsyncSession(engine) as session:
        await session.execute(text("select 1"))
        return used(engine)


async def _in_session_of_a_library(engine: AsyncEngine) -> list[Place]:
    async with AsyncSqlmodelSession(engine) as session:
        await session.exec(select(1))
        return used(engine)


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the frames at which a walk begins from now on."""
    found: list[str] = []
    walk = place_module._walked

    def noted(frame: FrameType | None) -> Place:
        found.append("" if frame is None else frame.f_code.co_name)
        return walk(frame)

    monkeypatch.setattr(place_module, "_walked", noted)
    return found


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "work", [_in_task, _in_coroutine_of_task, _in_transaction, _in_session, _in_session_of_a_library]
)
async def test_stack_of_a_task_that_is_known_is_not_walked(
    work: Callable[[AsyncEngine], Coroutine[None, None, list[Place]]], walked: list[str]
) -> None:
    """After a few checkouts only the frames around the application are looked at: a walk costs ten times as much.

    The coroutine of a task has only the event loop as its caller.
    """
    engine = create_async_engine("sqlite+aiosqlite://")
    with pool_exporter.instrument(engine):
        for _ in range(4):
            await asyncio.create_task(work(engine))
        walked.clear()
        found = await asyncio.create_task(work(engine))

    assert ([], work.__name__) == (walked, names(*found)[-1])
    await engine.dispose()


def _by_core(engine: Engine) -> list[Place]:
    with engine.connect():
        return used(engine)


def _by_transaction(engine: Engine) -> list[Place]:
    with engine.begin():
        return used(engine)


def _by_session(engine: Engine) -> list[Place]:
    with Session(engine) as session:
        session.execute(text("select 1"))
        return used(engine)


def _by_session_of_a_library(engine: Engine) -> list[Place]:
    with SqlmodelSession(engine) as session:
        session.exec(select(1))
        return used(engine)


WAYS = (_by_core, _by_transaction, _by_session, _by_session_of_a_library)


@pytest.mark.parametrize("work", WAYS)
def test_stack_that_is_known_is_not_walked(
    engine: Engine, work: Callable[[Engine], list[Place]], walked: list[str]
) -> None:
    """The stack of a way that is known is not walked, though all synchronous ways are in use."""
    for each in WAYS * 2:
        outer(lambda each=each: each(engine))  # type: ignore[misc]  # the default binds the value
    walked.clear()
    found = outer(lambda: work(engine))

    assert ([], [work.__name__, "<lambda>"]) == (walked, names(*found))  # type: ignore[misc]  # what `work` returns


def test_listener_of_sqlalchemy(engine: Engine) -> None:
    """A checkout in a listener of the application is at the listener."""
    found: list[list[str]] = []

    @event.listens_for(engine, "engine_connect")
    def listener(_: object) -> None:
        if not found:
            found.append([])
            with engine.connect():
                found[0] += names(used(engine)[-1])

    with engine.connect():
        pass

    assert "listener" == found[0][0]


def test_off_records_nothing(engine: Engine) -> None:
    """With places off, a checkout has none."""
    recorder.configure("off")
    kept = engine.connect()

    assert [()] == used(engine)
    kept.close()


def test_armed_records_for_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An armed recorder is on from the first evidence, and off again after ten minutes."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    armed, seen = PlaceRecorder("armed"), []
    for step in (armed.arm, armed.disarm_if_over):
        seen.append(armed.is_on)
        step()
    now[0] += ARMED_SECONDS + 1
    seen.append(armed.is_on)
    armed.disarm_if_over()
    seen.append(armed.is_on)

    assert [False, True, True, False] == seen


def test_nothing_of_the_caller_is_kept(engine: Engine) -> None:
    """A place keeps no frame: the locals of the function that checked out are freed with its return."""

    class Local:
        pass

    def checkout() -> tuple[object, ref[Local]]:
        local = Local()
        return engine.connect(), ref(local)

    gc.collect()
    kept, reference = checkout()

    assert reference() is None
    del kept
