"""Owners: who checked out, held weakly, and asked later whether it is done."""

import asyncio
import gc
import threading
from weakref import ref

import pytest

from pool_exporter.hooks.checkout_owner import Owner, is_finished, owner_of_task, threads


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


@pytest.mark.asyncio
async def test_this_task() -> None:
    """Inside a task, the task is the owner."""
    owner = owner_of_task()

    assert asyncio.current_task() is owner()
    assert not is_finished(owner)


@pytest.mark.asyncio
async def test_task_that_ended() -> None:
    """A task is finished when it is done, by its end, an error or a cancellation."""

    async def end() -> Owner:
        return owner_of_task()

    async def fail(found: list[Owner]) -> None:
        found.append(owner_of_task())
        raise ValueError

    async def wait(found: list[Owner]) -> None:
        found.append(owner_of_task())
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
    """Outside of any task the thread is the owner, with a running loop or without."""
    found: list[Owner] = []
    loop = asyncio.new_event_loop()
    loop.call_soon(lambda: found.append(owner_of_task()))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()

    assert owner_of_task() is threads.owner is found[0]
