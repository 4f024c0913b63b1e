"""Where words are placed: in the directory while it can be used, in memory otherwise, with one warning."""

import logging
from pathlib import Path

import pytest

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.runtime.storage import Storage
from pool_exporter.state import layout
from pool_exporter.workers.file_format import CLOSED, OPEN
from pool_exporter.workers.file_reader import scan

POOL = (PoolIdentity("orders"), PoolConfig())


def test_without_a_directory_words_are_in_memory() -> None:
    """Nothing is shared, and a beat has nothing to say."""
    transport = Storage(None)
    slots = transport.place(*POOL)
    transport.free(slots)

    assert [0] * layout.SLOT_COUNT == slots
    assert (False, True, 0) == (transport.is_shared, transport.beat(), transport.errors)


def test_words_are_in_the_directory(tmp_path: Path) -> None:
    """They are a pool of this process's file, until they are freed."""
    transport = Storage(tmp_path)
    slots = transport.place(*POOL)
    states = [scan(tmp_path).files[0].file.entries[0].state]
    transport.free(slots)
    transport.free(slots)
    states.append(scan(tmp_path).files[0].file.entries[0].state)

    assert (True, True, [OPEN, CLOSED]) == (transport.is_shared, transport.beat(), states)


def test_unusable_directory_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each failure is counted, the first is logged, with the path and the system's words."""
    with caplog.at_level(logging.WARNING, "pool_exporter"):
        transport = Storage(tmp_path / "missing")
        beats = [transport.beat() for _ in range(3)]
    slots = transport.place(*POOL)

    assert ([True] * 3, False, 4) == (beats, transport.is_shared, transport.errors)
    assert [0] * layout.SLOT_COUNT == slots
    assert 1 == len(caplog.messages)
    assert "missing cannot be used" in caplog.messages[0]
    assert "No such file or directory" in caplog.messages[0]


def test_beat_tells_that_words_have_to_move(tmp_path: Path) -> None:
    """When its file was deleted, or the directory can be used at last, a beat says so, once."""
    late = Storage(tmp_path / "late")
    (tmp_path / "late").mkdir()
    found = [late.beat(), late.beat()]
    [path] = (tmp_path / "late").iterdir()
    path.unlink()
    found += [late.beat(), late.beat()]

    assert [False, True, False, True] == found


def test_child_has_files_of_its_own(tmp_path: Path) -> None:
    """Leaving begins another file, and what it returns unmaps the parent's, which is then nobody's."""
    transport = Storage(tmp_path)
    unmap = transport.leave()
    both = [found.is_alive for found in scan(tmp_path).files]
    unmap()

    assert [True, True] == both
    assert [False, True] == sorted(found.is_alive for found in scan(tmp_path).files)


def test_end_is_told(tmp_path: Path) -> None:
    """A process that ends by itself says so."""
    transport = Storage(tmp_path)
    transport.end()

    assert CLOSED == scan(tmp_path).files[0].file.state
