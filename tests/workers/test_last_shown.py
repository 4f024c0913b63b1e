"""The file that says until when each living worker was shown: merged, bounded, and ignored when it is anything else."""

import os
from fcntl import LOCK_EX, flock
from pathlib import Path

from pool_exporter.workers.file_reader import name_of
from pool_exporter.workers.last_shown import SHOWN, note_shown, read_last_shown

ONE, OTHER = b"a" * 16, b"b" * 16


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


def test_locked_file_is_not_waited_for(tmp_path: Path) -> None:
    """A reader that is stopped while it holds the lock keeps no other reader from its page."""
    holder = os.open(tmp_path / SHOWN, os.O_RDWR | os.O_CREAT)
    flock(holder, LOCK_EX)
    note_shown(tmp_path, {ONE: 10}, frozenset({ONE}))
    os.close(holder)

    assert {} == read_last_shown(tmp_path)
