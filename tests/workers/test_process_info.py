"""The description of a process in the header, and reading another process's clock."""

import os
import time

import pytest

from pool_exporter.workers.process_info import WriterClocks, monotonic_of, this_process

DAY = 86_400 * 10**9


def test_it_is_this_process() -> None:
    """It has this process's id, the uuid that it is given, and times of now."""
    made = this_process(b"p" * 16, "1.2.3", b"u" * 16)

    assert (b"p" * 16, b"u" * 16, os.getpid()) == (made.process_uuid, made.file_uuid, made.pid)
    assert b"1.2.3".ljust(16, b"\0") == made.version
    assert 0 <= time.monotonic_ns() - made.monotonic < 10**9
    assert 0 <= time.time_ns() - made.created < 10**9
    assert made.pid_start > 0


def test_clock_of_the_same_boot_is_the_same() -> None:
    """A process of this boot and time namespace has this process's clock, whatever the wall clock says."""
    made = this_process(b"", "", b"")._replace(created=0)

    assert abs(time.monotonic_ns() - monotonic_of(made)) < 10**9


def test_clock_of_another_namespace_is_estimated() -> None:
    """Of another one, it has gone on for as long as the wall clock has since the file was made."""
    made = this_process(b"", "", b"")
    other = made._replace(time_namespace=1, monotonic=5 * DAY, created=made.created - DAY)

    assert 0 <= monotonic_of(other) - 6 * DAY < 10**9


def test_clock_never_goes_back() -> None:
    """A file from the future was made now."""
    made = this_process(b"", "", b"")
    other = made._replace(boot=b"x" * 16, monotonic=5 * DAY, created=made.created + DAY)

    assert 5 * DAY == monotonic_of(other)


class Clocks:
    """This process's two clocks, in seconds, and the reader of another one that is five days ahead."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.wall, self.own, self.reader = 1_000.0, 100.0, WriterClocks()
        patch.setattr(time, "time_ns", lambda: round(self.wall * 10**9))
        patch.setattr(time, "monotonic_ns", lambda: round(self.own * 10**9))
        self.writer = this_process(b"", "", b"u")._replace(time_namespace=1, monotonic=5 * DAY)

    def later(self, seconds: float, *, step: float = 0.0) -> None:
        """Let time go by, and set the wall clock forward by a *step*."""
        self.own += seconds
        self.wall += seconds + step

    def seen(self, heartbeat: float) -> float:
        """Return the other clock's time in seconds, without the five days, when a heartbeat of that clock is read."""
        return (self.reader.now_of(self.writer, 5 * DAY + round(heartbeat * 10**9)) - 5 * DAY) / 10**9


@pytest.fixture(name="clocks")
def _clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def test_other_clock_is_read_by_the_wall_clock_while_that_is_right(clocks: Clocks) -> None:
    """It agrees with the heartbeat, which is up to a second old."""
    clocks.later(10.5)

    assert 10.5 == clocks.seen(10.0)


@pytest.mark.parametrize("step", [-86_400.0, 86_400.0, 365 * 86_400.0])
def test_other_clock_goes_on_when_the_wall_clock_is_set(clocks: Clocks, step: float) -> None:
    """It goes as fast as this process's own, and never back."""
    clocks.later(10.5)
    shown = [clocks.seen(10.0)]
    clocks.later(15.0, step=step)
    shown.append(clocks.seen(25.0))
    clocks.later(15.0)
    shown.append(clocks.seen(40.0))

    assert [10.5, 25.5, 40.5] == shown


@pytest.mark.parametrize("step", [-86_400.0, 86_400.0])
def test_other_clock_is_read_by_the_heartbeat_if_the_wall_clock_is_wrong(clocks: Clocks, step: float) -> None:
    """It is right to a second from the first reading on, and more precise with each that comes soon after a beat."""
    clocks.later(10.5, step=step)
    shown = [clocks.seen(10.0)]
    clocks.later(15.0)
    shown.append(clocks.seen(25.3))

    assert [10.0, 25.3] == shown


def test_frozen_worker_grows_old_by_the_readers_clock(clocks: Clocks) -> None:
    """Its heartbeat stays, and the other clock goes on."""
    clocks.later(10.5, step=86_400.0)
    first = clocks.seen(10.0)
    clocks.later(60.0)

    assert (10.0, 70.0) == (first, clocks.seen(10.0))


def test_writers_of_removed_files_are_forgotten(clocks: Clocks) -> None:
    """The reader's memory is as large as the directory."""
    clocks.later(10.5)
    shown = [clocks.seen(10.0)]
    clocks.reader.keep({b"other"})
    clocks.later(15.0, step=86_400.0)
    shown.append(clocks.seen(25.0))

    assert [10.5, 25.0] == shown
