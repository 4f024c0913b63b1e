"""The description of a process in the header, and reading another process's clock."""

import os
import time
from dataclasses import replace

from pool_exporter.workers.process_info import monotonic_of, this_process

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
    made = replace(this_process(b"", "", b""), created=0)

    assert abs(time.monotonic_ns() - monotonic_of(made)) < 10**9


def test_clock_of_another_namespace_is_estimated() -> None:
    """Of another one, it has gone on for as long as the wall clock has since the file was made."""
    made = this_process(b"", "", b"")
    other = replace(made, time_namespace=1, monotonic=5 * DAY, created=made.created - DAY)

    assert 0 <= monotonic_of(other) - 6 * DAY < 10**9


def test_clock_never_goes_back() -> None:
    """A file from the future was made now."""
    made = this_process(b"", "", b"")
    other = replace(made, boot=b"x" * 16, monotonic=5 * DAY, created=made.created + DAY)

    assert 5 * DAY == monotonic_of(other)
