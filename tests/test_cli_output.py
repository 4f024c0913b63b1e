"""The output of the command line: a closed pipe, a full disk or an old encoding ends no command with a traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from pool_exporter import cli


@contextmanager
def stdout(monkeypatch: pytest.MonkeyPatch, output: TextIO) -> Iterator[None]:
    """Let commands write to *output*, which is closed in the end."""
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", output)
        yield
    output.close()


def code_of(*arguments: str) -> int:
    """Return the exit code of the command line."""
    try:
        return cli.main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


def closed_pipe() -> TextIO:
    """Return a pipe that is read no more."""
    read, write = os.pipe()
    os.close(read)
    return os.fdopen(write, "w", encoding="utf-8")


COMMANDS = [
    ["dump", "--dir=."],
    ["diagnose", "--dir=."],
    ["top", "--dir=.", "--once"],
    ["check", "--explain=P31"],
    ["--help"],
]


@pytest.mark.parametrize("arguments", COMMANDS)
def test_pipe_that_is_read_no_more(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As in `pool-exporter dump | head`: that is no error, and none of the directory."""
    monkeypatch.chdir(tmp_path)
    with stdout(monkeypatch, closed_pipe()):
        code = code_of(*arguments)

    assert (0, "") == (code, capfd.readouterr().err)


@pytest.mark.parametrize("arguments", COMMANDS)
def test_disk_that_is_full(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One line says why, and the exit code is not 0: the output is not whole."""
    monkeypatch.chdir(tmp_path)
    with stdout(monkeypatch, Path("/dev/full").open("w", encoding="utf-8")):
        code = code_of(*arguments)

    assert (1, "pool-exporter: the output cannot be written: No space left on device\n") == (
        code,
        capfd.readouterr().err,
    )


def test_error_that_is_none_of_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of a command keeps its traceback."""

    def fail(_command_line: object) -> int:
        raise OSError("another one")

    monkeypatch.setattr(cli, "_run", fail)

    with pytest.raises(OSError, match="another one"):
        cli.main(["dump"])


def test_encoding_that_lacks_a_character(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is replaced, as in a terminal whose locale is not UTF-8."""
    output = tmp_path / "output"
    with stdout(monkeypatch, output.open("w", encoding="ascii")):
        code = code_of("check", "--help")

    assert (0, True) == (code, "ID,?" in output.read_text("ascii"))


def test_output_that_was_closed_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by `>&-`: Python has no stdout then, and the exit code is all that there is."""
    monkeypatch.setattr(sys, "stdout", None)
    code = code_of("check", "--explain=P31")
    sys.stdout.close()

    assert 0 == code
