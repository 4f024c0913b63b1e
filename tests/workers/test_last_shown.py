"""The files that say what pages have shown: merged, bounded, and ignored when they are anything else."""

import json
import os
import stat
import threading
from collections.abc import Mapping
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.state.shown_pool import ShownTimes
from pool_exporter.workers import last_shown
from pool_exporter.workers.file_reader import name_of
from pool_exporter.workers.last_shown import (
    POOLS,
    SHOWN,
    note_pools_shown,
    note_shown,
    read_last_shown,
    read_pools_shown,
)

ONE, OTHER = b"a" * 16, b"b" * 16
ORDERS, USERS = PoolIdentity("orders", "postgresql"), PoolIdentity("users")


def times(ns_by_unit: Mapping[str, int], *integrals: float) -> ShownTimes:
    """Return times of a pool."""
    used, pending, saturated = integrals or (1.0, 2.0, 3.0)
    return ShownTimes((used, pending, saturated), ns_by_unit)


def pools(directory: Path) -> dict[PoolIdentity, ShownTimes]:
    """Return what a reader that begins finds."""
    return read_pools_shown(directory)


def test_latest_time_of_each_file_is_kept(tmp_path: Path) -> None:
    """Two readers note their times one after the other: the later time of each file stays."""
    both = frozenset({ONE, OTHER})
    note_shown(tmp_path, {ONE: 10, OTHER: 20}, both)
    note_shown(tmp_path, {ONE: 9, OTHER: 30}, both)

    assert {name_of(ONE): 10, name_of(OTHER): 30} == read_last_shown(tmp_path)


def test_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    """The file does not grow: a worker file that is not listed any more has no record."""
    note_shown(tmp_path, {ONE: 10, OTHER: 20}, frozenset({ONE, OTHER}))
    note_shown(tmp_path, {OTHER: 30}, frozenset({OTHER}))

    assert {name_of(OTHER): 30} == read_last_shown(tmp_path)
    assert 24 == (tmp_path / SHOWN).stat().st_size


def test_anything_else_is_ignored(tmp_path: Path) -> None:
    """Half a record and negative times say nothing; a directory or no file is as an empty one."""
    empty = read_last_shown(tmp_path)
    (tmp_path / SHOWN).write_bytes(ONE + b"\xff" * 8 + OTHER)
    garbage = read_last_shown(tmp_path)
    (tmp_path / SHOWN).unlink()
    (tmp_path / SHOWN).mkdir()
    note_shown(tmp_path, {ONE: 1}, frozenset({ONE}))

    assert [{}, {}, {}] == [empty, garbage, read_last_shown(tmp_path)]


def test_file_that_another_reader_has_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    """A reader that the scheduler has interrupted while it wrote costs the other one's note not."""
    holder = os.open(tmp_path / POOLS, os.O_RDWR | os.O_CREAT)
    flock(holder, LOCK_EX)
    other = threading.Timer(0.02, lambda: os.close(holder))
    other.start()
    note_pools_shown(tmp_path, {ORDERS: times({})}, [])
    other.join()

    assert {ORDERS: times({})} == pools(tmp_path)


def test_locked_file_is_not_waited_for(tmp_path: Path) -> None:
    """A reader that is stopped while it holds the lock keeps no other reader from its page."""
    holder = os.open(tmp_path / SHOWN, os.O_RDWR | os.O_CREAT)
    flock(holder, LOCK_EX)
    note_shown(tmp_path, {ONE: 10}, frozenset({ONE}))
    os.close(holder)

    assert {} == read_last_shown(tmp_path)


def test_highest_times_of_each_pool_are_kept(tmp_path: Path) -> None:
    """Two readers have shown the same time under different units: a third one begins with the higher of each."""
    note_pools_shown(tmp_path, {ORDERS: times({"none": 10, "a": 5}, 0.1, 2.0, 0.0)}, [])
    note_pools_shown(tmp_path, {ORDERS: times({"none": 8, "a": 7}, 0.3, 1.0, 0.0), USERS: times({})}, [])

    assert {ORDERS: times({"none": 10, "a": 7}, 0.3, 2.0, 0.0), USERS: times({})} == pools(tmp_path)


def test_pools_of_workers_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    """A reader that shows each worker by itself leaves nothing of those that are not listed; a sum of workers stays."""
    worker = PoolIdentity("orders", instance="abc")
    note_pools_shown(tmp_path, {ORDERS: times({}), worker: times({})}, [worker])
    both = set(pools(tmp_path))
    note_pools_shown(tmp_path, {}, [])

    assert [{ORDERS, worker}, {ORDERS}] == [both, set(pools(tmp_path))]


def test_file_of_pools_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools beyond its size are left out, whole."""
    monkeypatch.setattr(last_shown, "POOLS_BYTES_MAX", 150)
    note_pools_shown(tmp_path, {PoolIdentity(f"p{number}"): times({"a": number}) for number in range(9)}, [])

    assert (tmp_path / POOLS).stat().st_size <= 150
    assert {PoolIdentity("p0"): times({"a": 0}), PoolIdentity("p1"): times({"a": 1})} == pools(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        '[["users", "", "", "", "", "", ""], {"a": 1}, [1.0, 2.0',
        '[["users"], {"a": 1}, [1.0, 2.0, 3.0]]',
        '[["users", 1, "", "", "", "", ""], {"a": 1}, [1.0, 2.0, 3.0]]',
        '[["users", "", "", "", "", "", ""], {"a": -1}, [1.0, 2.0, 3.0]]',
        '[["users", "", "", "", "", "", ""], {"a": 1.5}, [1.0, 2.0, 3.0]]',
        '[["users", "", "", "", "", "", ""], [1], [1.0, 2.0, 3.0]]',
        '[["users", "", "", "", "", "", ""], {"a": 1}, [1.0, 2.0]]',
        '[["users", "", "", "", "", "", ""], {"a": 1}, [1.0, 2.0, -1.0]]',
        '[["users", "", "", "", "", "", ""], {"a": 1}, [1.0, 2.0, NaN]]',
        '[["users", "", "", "", "", "", ""], {"a": 1}, [1.0, 2.0, Infinity]]',
        f'[["users", "", "", "", "", "", ""], {{"a": {2**62}}}, [1.0, 2.0, 3.0]]',
        "[" * 100_000,
        "\x00",
        "7",
    ],
)
def test_line_without_sense_costs_no_other(tmp_path: Path, line: str) -> None:
    """Half a line, other types and impossible numbers are ignored."""
    good = json.dumps([ORDERS.values(), {"a": 1}, [1.0, 2.0, 3.0]])
    (tmp_path / POOLS).write_text(f"{line}\n{good}\n")

    assert {ORDERS: times({"a": 1})} == pools(tmp_path)


def test_nothing_shown_no_file(tmp_path: Path) -> None:
    """A reader makes no file by reading, or where nothing differs; a directory of that name is as no file."""
    note_pools_shown(tmp_path, {}, [ORDERS])
    empty = pools(tmp_path), list(tmp_path.iterdir())
    (tmp_path / POOLS).mkdir()
    note_pools_shown(tmp_path, {ORDERS: times({})}, [])

    assert ({}, []) == empty
    assert {} == pools(tmp_path)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_files_have_the_mode_that_is_given(tmp_path: Path, mode: int) -> None:
    """They name units of work: the permissions hold for them too, whatever the umask is, and after a change of it."""
    (tmp_path / SHOWN).touch(0o660)
    before = os.umask(0o027)
    try:
        note_shown(tmp_path, {ONE: 1}, frozenset({ONE}), mode)
        note_pools_shown(tmp_path, {ORDERS: times({"checkout": 1})}, [], mode)
    finally:
        os.umask(before)

    assert [mode] * 2 == [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in (SHOWN, POOLS)]
