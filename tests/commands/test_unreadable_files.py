"""Commands that read a shared directory say which worker files they may not read, and end with an error."""

import os
from collections.abc import Iterator
from dataclasses import replace
from errno import EACCES, ENOENT, ENOTDIR
from pathlib import Path
from typing import Any

import pytest

from pool_exporter.cli import main
from pool_exporter.diagnosis.outside.set_aside import ADVICE
from pool_exporter.workers import file_reader
from pool_exporter.workers.contents.readable import denied_files
from tests.workers.reports.test_directory_reports import HOLDER, Worker

COMMANDS = {
    "diagnose": ["diagnose"],
    "diagnose --json": ["diagnose", "--json"],
    "dump": ["dump"],
    "check": ["check"],
    "advise": ["advise", "--window=1s"],
    "top": ["top", "--once"],
    "top --json": ["top", "--json"],
}


@pytest.fixture(name="names")
def _names(tmp_path: Path) -> Iterator[list[str]]:
    workers = [Worker(tmp_path), Worker(tmp_path)]
    for worker in workers:
        worker.hold()
        worker.write(replace(HOLDER, seconds=8.0), verdict="leak")
    yield [path.name for path in tmp_path.glob(f"{file_reader.PREFIX}*{file_reader.SUFFIX}")]
    for worker in workers:
        worker.files.unmap()


def deny(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the system refuse to open these files, as it does for another user."""
    access, opened = os.access, os.open

    def refuse(path: str | Path, *arguments: int, **options: Any) -> int:
        if Path(path).name in names:
            raise PermissionError(EACCES, os.strerror(EACCES))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "access", lambda path, *_, **__: Path(path).name not in names and access(path, os.R_OK))
    monkeypatch.setattr(os, "open", refuse)


def run(capsys: pytest.CaptureFixture[str], command: str, directory: Path) -> tuple[int, str, str]:
    """Return the exit code of a command, and what it writes to stdout and stderr, with single spaces."""
    try:
        code: Any = main([*COMMANDS[command], f"--dir={directory}"])
    except SystemExit as error:
        code = error.code
    written = capsys.readouterr()
    return code, " ".join(written.out.split()), " ".join(written.err.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_no_file_can_be_read(
    command: str, tmp_path: Path, names: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """No command says that there is no pool: which files it is, whose they are, and what to do is said instead."""
    deny(monkeypatch, *names)
    code, out, err = run(capsys, command, tmp_path)

    assert code
    assert f"2 of 2 worker files cannot be read by user {os.geteuid()}, such as {file_reader.PREFIX}" in out + err
    assert f"(user {os.geteuid()}, group {os.getegid()}, mode 0" in out + err
    assert "in the workers' group, or set POOL_EXPORTER_FILE_MODE=0644 in the application" in out + err
    assert "No process has" not in out
    assert "No pool is" not in out


@pytest.mark.parametrize("command", ["diagnose", "diagnose --json", "dump", "top", "top --json"])
def test_one_file_cannot_be_read(
    command: str, tmp_path: Path, names: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """What can be read is shown, and the exit code is that of an error."""
    deny(monkeypatch, names[0])
    code, out, err = run(capsys, command, tmp_path)

    assert code
    assert "1 of 2 worker files cannot be read" in out + err
    assert "orders" in out
    assert command.startswith(("diagnose", "dump")) or "could not be used" not in out + err  # Those list such files.


@pytest.mark.parametrize("command", COMMANDS)
def test_all_files_can_be_read(command: str, tmp_path: Path, names: list[str], capsys: Any) -> None:
    """Without a fault, nothing is said of one."""
    _, out, err = run(capsys, command, tmp_path)

    assert 2 == len(names)
    assert "cannot be read" not in out + err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (ENOENT, "o such "),
        (ENOTDIR, "name the directory of the workers' POOL_EXPORTER_DIR"),
        (EACCES, "run this as a user of the workers' group"),
    ],
)
def test_directory_that_cannot_be_listed(
    command: str, number: int, advice: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The reason of the system and what to do are named."""

    def refuse(_: object) -> list[str]:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "listdir", refuse)
    code, out, err = run(capsys, command, Path("/"))

    assert code
    assert advice in out + err


def test_directory_without_permission_to_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is listed and of which nothing more may be known is not gone."""

    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "access", lambda *_, **__: False)

    assert [] == denied_files(tmp_path, ["gone"])
    monkeypatch.setattr(Path, "stat", refuse)
    assert ["file"] == denied_files(tmp_path, ["file"])


def test_link_to_nothing_is_no_file_without_permission(tmp_path: Path) -> None:
    """Another user could not read it either: the reader counts it as another kind of file."""
    (tmp_path / "w-link.pool").symlink_to(tmp_path / "gone")

    assert [] == denied_files(tmp_path, ["w-link.pool", "w-gone.pool"])


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "diagnose"])
def test_damaged_file(command: str, tmp_path: Path, names: list[str], capsys: Any) -> None:
    """Each command names a worker file that it could not use, and why; what it can read is shown."""
    (tmp_path / "w-a.pool").write_text("nonsense")
    _, out, err = run(capsys, command, tmp_path)

    assert 2 == len(names)
    assert 1 == err.count("w-a.pool") + bool(out.count("w-a.pool"))
    assert "it has 8 bytes, too few for a worker file" in out + err
    assert "orders" in out


@pytest.mark.parametrize("command", ["check", "advise", "top", "top --json"])
@pytest.mark.usefixtures("names")
def test_what_to_do_with_a_damaged_file(command: str, tmp_path: Path, capsys: Any) -> None:
    """What to do is in the same sentence; the other commands have it in their own form."""
    (tmp_path / "w-a.pool").write_text("nonsense")
    _, out, err = run(capsys, command, tmp_path)

    assert " ".join(ADVICE["irregular"].split()[:4]) in out + err
