"""Owners: the thread or task that checked out, weakly referenced, which says later whether it is done."""

import asyncio
import gc
import sys
import threading
from collections.abc import Callable
from weakref import ref

import pytest

from pool_exporter.hooks.callers import waiting
from pool_exporter.hooks.callers.waiting import current_caller
from pool_exporter.hooks.checkout_owner import (
    Owner,
    is_finished,
    loops_with_tasks,
    name_of,
    new_threads,
    task_owner,
    up_to_date,
)
from tests.fixtures.deadlines import until

threads = new_threads()


def own() -> Owner:
    """Return the current task as an owner."""
    owner = task_owner()
    assert owner is not None
    return owner


def owner_elsewhere() -> tuple[Owner, threading.Event, threading.Thread]:
    """Return the owner that another thread is, what ends that thread, and the thread."""
    found: list[Owner] = []
    known, go_on = threading.Event(), threading.Event()

    def run() -> None:
        found.append(threads.owner)
        known.set()
        go_on.wait()

    thread = threading.Thread(target=run)
    thread.start()
    known.wait()
    return found[0], go_on, thread


def test_this_thread() -> None:
    """A thread is its own owner, the same every time, and not finished while it runs."""
    owner = threads.owner

    assert threading.current_thread() is owner()
    assert threads.owner is owner
    assert not is_finished(owner)


def test_thread_that_ended() -> None:
    """A thread is finished when it has ended, also after it was collected."""
    owner, go_on, thread = owner_elsewhere()

    assert not is_finished(owner)

    go_on.set()
    thread.join()

    assert is_finished(owner)

    del thread
    gc.collect()

    assert owner() is None
    assert is_finished(owner)


def test_thread_not_started_by_threading() -> None:
    """A thread that Python did not start, as a C library's, is an owner like any other."""
    import _thread

    found: list[Owner] = []
    done = threading.Event()

    def run() -> None:
        found.append(threads.owner)
        done.set()

    _thread.start_new_thread(run, ())
    done.wait()

    assert found[0]() is not threading.current_thread()

    until(True, lambda: is_finished(found[0]))  # It ends some instructions after `run`.


class Nameless:
    """An owner of a kind that nothing is known of."""


class Broken:
    """An owner that raises whatever it is asked."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


@pytest.mark.parametrize("kind", [Nameless, Broken])
def test_odd_owner(kind: type) -> None:
    """An owner that says nothing has no name, and is not said to have ended while it exists."""
    found = kind()
    owner = ref(found)

    assert ("", False) == (name_of(owner), is_finished(owner))

    del found

    assert ("", True) == (name_of(owner), is_finished(owner))


def test_names() -> None:
    """A name may be anything: it is made text."""
    thread = threading.Thread(name="file-\udc80")
    thread.daemon = True

    assert "file-\udc80" == name_of(ref(thread))


def test_patched_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """What knows the current thread is made anew when `threading` has got another `local`."""

    class Local(threading.local):
        pass

    before = new_threads()

    assert before is up_to_date(before)

    monkeypatch.setattr(threading, "local", Local)

    assert isinstance(up_to_date(before), Local)
    assert threading.current_thread() is up_to_date(before).owner()


@pytest.mark.asyncio
async def test_this_task() -> None:
    """Inside a task, the task is the owner."""
    owner = own()

    assert asyncio.current_task() is owner()
    assert not is_finished(owner)


@pytest.mark.asyncio
async def test_task_that_ended() -> None:
    """A task is finished when it is done, by its end, an error or a cancellation."""

    async def end() -> Owner:
        return own()

    async def fail(found: list[Owner]) -> None:
        found.append(own())
        raise ValueError

    async def wait(found: list[Owner]) -> None:
        found.append(own())
        await asyncio.Event().wait()

    found: list[Owner] = []
    tasks = [asyncio.create_task(fail(found)), asyncio.create_task(wait(found))]
    ended = await asyncio.create_task(end())
    await asyncio.sleep(0)

    assert not is_finished(found[1])

    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert [True, True, True] == [is_finished(owner) for owner in (ended, *found)]


@pytest.mark.asyncio
async def test_task_is_not_held() -> None:
    """An owner keeps no task alive."""
    task = asyncio.create_task(asyncio.sleep(0))
    reference, owner = ref(task), ref(task)
    await task
    del task
    await asyncio.sleep(0)

    assert reference() is None
    assert is_finished(owner)


def test_no_task() -> None:
    """Outside of any task there is no task that is the owner, with a running loop or without."""
    found: list[Owner | None] = []
    loop = asyncio.new_event_loop()
    loop.call_soon(lambda: found.append(task_owner()))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()

    assert [None, None] == [task_owner(), *found]


def _task_found() -> object:
    """Return the task that is the owner of a checkout here; None where it is the thread."""
    owner, *_ = current_caller(None, threads)
    found = None if owner is None else owner()
    return None if isinstance(found, threading.Thread) else found


async def _tasks() -> tuple[object, object]:
    return asyncio.current_task(), _task_found()


def _in_thread(call: Callable[[], object]) -> object:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.asyncio
async def test_caller_is_this_task() -> None:
    """In a task, that is the owner of a checkout."""
    assert asyncio.current_task() is _task_found()


@pytest.mark.asyncio
async def test_no_task_beside_a_task() -> None:
    """A thread without a loop is the owner while another thread runs a task."""
    assert _in_thread(_task_found) is None


@pytest.mark.asyncio
async def test_two_loops_at_once() -> None:
    """Where two threads run a task each, both find their own."""
    there = asyncio.new_event_loop()
    found = _in_thread(lambda: there.run_until_complete(_tasks()))
    there.close()
    assert isinstance(found, tuple)
    expected, other = found

    assert (asyncio.current_task(), expected) == (_task_found(), other)
    assert expected is not None


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="asyncio itself notices a fork")
@pytest.mark.asyncio
async def test_loop_of_the_parent_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fork inside a task, asyncio says whether a loop runs: the parent's task still seems to run."""
    monkeypatch.setattr(waiting, "reasons_to_ask", ["a fork"])
    monkeypatch.setattr(waiting, "_get_running_loop", lambda: None)

    assert _task_found() is None


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="asyncio is asked always")
def test_loop_of_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a loop does not say in which thread it runs, as uvloop's, asyncio is asked from then on."""
    reasons = list[str]()
    monkeypatch.setattr(waiting, "reasons_to_ask", reasons)
    assert not loops_with_tasks
    monkeypatch.setitem(loops_with_tasks, object(), object())  # type: ignore[misc]  # not such a loop

    assert _task_found() is None
    assert ["'object' object has no attribute '_thread_id'"] == reasons


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="asyncio is asked always")
def test_task_that_ends_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another thread's loop has no task any more when its task is looked up, asyncio is asked, this time only."""
    reasons = list[str]()
    monkeypatch.setattr(waiting, "reasons_to_ask", reasons)

    class EndingLoop:
        @property
        def _thread_id(self) -> int:
            loops_with_tasks.clear()
            return threading.get_ident()

    loops_with_tasks[EndingLoop()] = asyncio.current_task  # type: ignore[index,assignment]  # neither a loop nor a task

    assert _task_found() is None
    assert ([], {}) == (reasons, loops_with_tasks)
