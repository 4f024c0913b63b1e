"""The file is created once at a time, in a thread; who needs it waits for a moment, however long the volume takes."""

from collections.abc import Callable
from threading import Event, Thread, get_ident
from typing import cast

import pytest

from pool_exporter.hook_errors import errors
from pool_exporter.runtime.files import file_maker
from pool_exporter.runtime.files.directory_access import Created
from pool_exporter.runtime.files.file_maker import FileMaker
from pool_exporter.workers.file_writer import WorkerFiles
from pool_exporter.workers.mapped_file import MappedFile
from tests.patience import waiting

CREATED = Created(None, [])
"""The directory could not be used."""
FILES = cast("WorkerFiles", object())
FILE = cast("MappedFile", object())


class Volume:
    """A volume that hangs until it goes on."""

    def __init__(self) -> None:
        self.is_entered, self.goes_on = Event(), Event()
        self.threads: list[int] = []

    def create(self) -> Created:
        """Create something as soon as the volume goes on."""
        self.threads.append(get_ident())
        self.is_entered.set()
        self.goes_on.wait()
        return CREATED


@pytest.fixture
def volume() -> Volume:
    """Return a volume that hangs."""
    return Volume()


def test_created_in_another_thread(volume: Volume) -> None:
    """On a volume that does not hang, the file is there when `start()` returns; it is taken once."""
    volume.goes_on.set()
    maker = FileMaker(volume.create)
    maker.start()

    assert [CREATED, None] == [maker.take(), maker.take()]
    assert [get_ident()] != volume.threads
    assert 1 == len(volume.threads)


def test_volume_that_hangs(volume: Volume) -> None:
    """`start()`, and what a fork waits for, return while the volume hangs; what is created later is there later."""
    maker = FileMaker(volume.create)
    with waiting(0.001):
        for wait in (maker.start, maker.start, maker.wait_for_fork):
            wait()
        volume.is_entered.wait()
        before = maker.take()
    volume.goes_on.set()
    maker.wait(60)

    assert (None, CREATED, 1) == (before, maker.take(), len(volume.threads))


def test_end_of_a_process_whose_thread_has_not_run(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, a process may end before its thread has begun: the file is created all the same, once."""
    volume.goes_on.set()
    late = list[Callable[[], None]]()
    maker = FileMaker(volume.create)
    monkeypatch.setattr(file_maker, "start_thread", late.append)
    with waiting(0.001):
        maker.start()
    monkeypatch.undo()
    maker.finish(60)
    for run in late:
        run()

    assert [CREATED, None] == [maker.take(), maker.take()]
    assert (1, 1) == (len(late), len(volume.threads))


@pytest.mark.parametrize("is_taken", [False, True])
def test_end_of_a_process_that_needs_no_file(volume: Volume, is_taken: bool) -> None:
    """Without an event there is no file, and one that is used is not created again."""
    volume.goes_on.set()
    maker = FileMaker(volume.create)
    if is_taken:
        maker.start()
        maker.take()
    maker.finish(60)

    assert (int(is_taken), None) == (len(volume.threads), maker.take())


def test_heartbeat_does_not_wait_for_another_thread(volume: Volume) -> None:
    """While a thread creates the file, the heartbeat goes on at once; later it creates one itself."""
    maker = FileMaker(volume.create)
    creating = Thread(target=maker.run)
    creating.start()
    volume.is_entered.wait()
    maker.run()
    volume.goes_on.set()
    creating.join()
    maker.take()
    maker.run()

    assert [creating.ident, get_ident()] == volume.threads


def test_file_that_is_not_used_yet_is_the_only_one(volume: Volume) -> None:
    """No second one is created before the first was taken."""
    volume.goes_on.set()
    maker = FileMaker(volume.create)
    for _ in range(2):
        maker.run()

    assert 1 == len(volume.threads)


@pytest.mark.parametrize(
    ("created", "is_called"),
    [
        (None, False),
        (CREATED, False),
        (Created(FILES, []), True),
        (Created(FILES, [], []), False),
        (Created(FILES, [], [FILE]), True),
    ],
)
def test_registry_is_called_when_there_are_files(created: Created | None, is_called: bool) -> None:
    """By the thread that has created them, when they can be taken; not where none could be created."""
    called: list[bool] = []
    maker = FileMaker(lambda: created, lambda: called.append(maker.has_files))
    maker.run()
    before = maker.has_files
    taken = maker.take()

    assert ([True] * is_called, is_called, created, False) == (called, before, taken, maker.has_files)


def test_no_thread_can_be_started(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the heartbeat creates the file."""

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    volume.goes_on.set()
    maker = FileMaker(volume.create)
    monkeypatch.setattr(file_maker, "start_thread", refuse)
    maker.start()
    before = maker.take()
    maker.run()

    assert (None, CREATED) == (before, maker.take())


def test_error_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not end the thread that creates the file, and leaves nothing locked."""
    monkeypatch.setattr(errors, "count", 1)
    maker = FileMaker(lambda: Created(*()))  # type: ignore[call-arg]  # raises TypeError
    maker.start()
    maker.wait(60)
    counted = errors.count
    maker.start()

    assert (2, 3) == (counted, errors.count)


def test_child_forgets_what_its_parent_has_created(volume: Volume) -> None:
    """A child does not wait for a thread that it does not have, and unmaps a file that its parent did not use yet."""
    unmapped = []

    class Files:
        def unmap(self) -> None:
            unmapped.append(self)

    files = Files()
    maker = FileMaker(lambda: Created(files, []))  # type: ignore[arg-type]  # a stand-in for worker files
    maker.run()
    maker.restart_after_fork()
    hanging = FileMaker(volume.create)
    Thread(target=hanging.run, daemon=True).start()
    volume.is_entered.wait()
    hanging.restart_after_fork()
    hanging.wait(60)
    volume.goes_on.set()

    assert ([files], None) == (unmapped, maker.take())
