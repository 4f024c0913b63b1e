"""Each fault of a sidecar's directory has its sentence and one line in the log, and ends when it is mended."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from pool_exporter.metrics.exporter_metrics import DIRECTORY_FAULTS
from pool_exporter.metrics.snapshot import PREVENT_READING, DirectoryFaults, Snapshot
from pool_exporter.sidecar.directory_check import NO_WORKER_SECONDS, DirectoryCheck
from pool_exporter.sidecar.server import PagesSource

MIB = 1024 * 1024
WORKER = "w-0123456789abcdef0123456789abcdef.pool"


@pytest.fixture(name="directory")
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty directory on a volume with space, whatever volume the tests run on."""
    set_volume(monkeypatch, free=64 * MIB)
    directory = tmp_path / "pools"
    directory.mkdir()
    return directory


def set_volume(
    monkeypatch: pytest.MonkeyPatch, free: int, whole: int = 64 * MIB, files: int = 1000, files_free: int = 1000
) -> None:
    """Let the volume have so many bytes and files."""
    volume = SimpleNamespace(f_bavail=free, f_blocks=whole, f_frsize=1, f_files=files, f_favail=files_free)
    monkeypatch.setattr(os, "statvfs", lambda _: volume)


def found(check: DirectoryCheck) -> dict[str, str]:
    """Return what one more look finds."""
    return dict(check().texts)


def denied(*_: object) -> NoReturn:
    """Stand in for `os.listdir` of a directory that this user may not read; root may read any."""
    raise PermissionError(13, "Permission denied")


# The faults.


def test_nothing_is_wrong(directory: Path) -> None:
    """A directory with a worker's file has no fault, and a new sidecar may wait for one."""
    check = DirectoryCheck(directory)

    assert {} == found(check)
    (directory / WORKER).touch()
    assert {} == found(check)


def test_missing_directory(directory: Path) -> None:
    """A path that does not exist is named; it is no fault once it is made."""
    directory.rmdir()
    check = DirectoryCheck(directory)
    before = found(check)
    directory.mkdir()

    assert [f"{directory} does not exist"] == [before[each].partition(":")[0] for each in before]
    assert ["missing"] == list(before)
    assert {} == found(check)


@pytest.mark.parametrize("path", ["file", "file/pools"])
def test_path_that_is_no_directory(directory: Path, path: str) -> None:
    """A file in place of the directory, or of one above it, is named."""
    (directory / "file").touch()

    assert ["no_directory"] == list(found(DirectoryCheck(directory / path)))


def test_directory_that_may_not_be_read(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text has the user, the system's reason and what to do."""
    monkeypatch.setattr(os, "listdir", denied)
    texts = found(DirectoryCheck(directory))

    assert ["unreadable"] == list(texts)
    assert f"cannot be read by user {os.geteuid()}: Permission denied; run the sidecar as" in texts["unreadable"]


def test_files_that_may_not_be_read(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text has how many worker files, and one of them; other files do not count, nor one that is gone."""
    for name in (WORKER, WORKER.replace("0", "1"), "acc.json", "notes"):
        (directory / name).touch()
    check = DirectoryCheck(directory)
    monkeypatch.setattr(os, "access", lambda path, *_, **__: path.name != WORKER)
    texts = found(check)
    (directory / WORKER).unlink()

    assert ["files_unreadable"] == list(texts)
    assert texts["files_unreadable"].startswith(f"1 of 2 worker files in {directory} cannot be read, such as {WORKER}:")
    assert {} == found(check)


def test_file_that_is_compacted_during_the_look(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that was listed and is gone when its permissions are read, is no file that may not be read."""
    monkeypatch.setattr(os, "listdir", lambda _: [WORKER])

    assert {} == found(DirectoryCheck(directory))


def test_no_worker_was_ever_seen(directory: Path) -> None:
    """It is a fault after half a minute, until the first worker's file; when that is compacted, it stays over."""
    now = [100.0]
    check = DirectoryCheck(directory, clock=lambda: now[0])
    now[0] += NO_WORKER_SECONDS - 1
    early = found(check)
    now[0] += 1
    late = found(check)
    (directory / WORKER).touch()
    seen = found(check)
    (directory / WORKER).unlink()

    assert ({}, ["no_worker"], {}, {}) == (early, list(late), seen, found(check))


def test_totals_are_a_sign_of_a_worker(directory: Path) -> None:
    """A sidecar that is started after all workers have ended knows by the totals that there were some."""
    (directory / "acc.json").touch()
    now = [100.0]
    check = DirectoryCheck(directory, clock=lambda: now[0])
    now[0] += NO_WORKER_SECONDS

    assert {} == found(check)


@pytest.mark.parametrize(
    ("free", "whole", "is_fault"),
    [
        (6 * MIB, 64 * MIB, True),
        (7 * MIB, 64 * MIB, False),
        (16 * MIB - 1, 2**40, True),
        (16 * MIB, 2**40, False),
        (0, 0, False),
    ],
    ids=["small and full", "small", "large and full", "large", "unknown"],
)
def test_volume_that_is_nearly_full(
    directory: Path, monkeypatch: pytest.MonkeyPatch, free: int, whole: int, is_fault: bool
) -> None:
    """Less than a tenth is free, and less than 16 MiB: a tenth of a large disk is enough for ever."""
    set_volume(monkeypatch, free, whole)

    assert is_fault == ("nearly_full" in found(DirectoryCheck(directory)))


def test_text_of_a_volume_that_is_nearly_full(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes are readable; and a volume may have space, and no file left."""
    set_volume(monkeypatch, 3 * MIB // 2)
    of_bytes = found(DirectoryCheck(directory))["nearly_full"]
    set_volume(monkeypatch, 64 * MIB, files_free=9)
    of_files = found(DirectoryCheck(directory))["nearly_full"]

    assert of_bytes.startswith(f"the volume of {directory} has 1.5 MiB of 64.0 MiB left")
    assert of_files.startswith(f"the volume of {directory} has 9 of 1000 files left")


def test_volume_without_numbers(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that does not say how full the volume is, is no fault."""
    monkeypatch.setattr(os, "statvfs", denied)

    assert {} == found(DirectoryCheck(directory))


def test_path_that_is_no_utf8(directory: Path) -> None:
    """A path may have any bytes; the page, which must be able to encode it, has `?` for what is no UTF-8."""
    texts = found(DirectoryCheck(directory / "caf\udce9"))

    assert texts["missing"].startswith(f"{directory}/caf? does not exist")


def test_two_directories(directory: Path) -> None:
    """Both are named, beside what is wrong with the one that is read."""
    directory.rmdir()
    texts = found(DirectoryCheck(directory, Path("/run/other")))

    assert ["two_directories", "missing"] == list(texts)
    assert f"--dir is {directory}, and POOL_EXPORTER_DIR is /run/other" in texts["two_directories"]


def test_every_fault_is_of_the_catalogue() -> None:
    """The metric has each fault with 0 or 1, and those that prevent reading are among them."""
    shown = DirectoryFaults({"no_worker": "…"}).directory_faults

    assert set(PREVENT_READING) < set(DIRECTORY_FAULTS.values)
    assert {fault: int(fault == "no_worker") for fault in DIRECTORY_FAULTS.values} == shown


# The log.


def test_one_line_for_each_change(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A fault is logged when it begins and when it ends, however often it is seen between."""
    caplog.set_level(logging.INFO, "pool_exporter")
    check = DirectoryCheck(directory)
    directory.rmdir()
    for _ in range(3):
        check()
    directory.mkdir()
    for _ in range(3):
        check()

    assert [("WARNING", {"fault": "missing"}), ("INFO", {"fault": "missing"})] == [
        (record.levelname, vars(record)["fields"]) for record in caplog.records
    ]
    assert f"{directory} does not exist" in caplog.text


def test_it_looks_before_anything_is_scraped(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first look is at the start, so that the log has it also where nothing is ever scraped."""
    directory.rmdir()
    with DirectoryCheck(directory).running():
        texts = caplog.messages

    assert [True] == [f"{directory} does not exist" in text for text in texts]


# What the pages have.


def pages(outcomes: Iterator[Snapshot | OSError], check: DirectoryCheck) -> PagesSource:
    """Return the source of the pages over a source with these outcomes."""

    def source() -> Snapshot:
        outcome = next(outcomes)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    return PagesSource(source, check)


def test_pages_of_a_directory_that_cannot_be_read(directory: Path) -> None:
    """They have the fault and no pool, and the counter of errors does not fall; later they have the pools again."""
    check, whole = DirectoryCheck(directory), Snapshot(hook_errors=3)
    source = pages(iter([whole, FileNotFoundError(), whole]), check)
    source()
    directory.rmdir()
    check()
    without = source()

    assert (3, None, ["missing"]) == (
        without.hook_errors,
        without.directory,
        list((without.faults or check.last).texts),
    )
    assert whole is source()


def test_other_errors_are_raised(directory: Path) -> None:
    """What is no fault of the directory, such as too many open files, is an error of the request as before."""
    source = pages(iter([OSError(24, "Too many open files")]), DirectoryCheck(directory))
    with pytest.raises(OSError, match="Too many"):
        source()
