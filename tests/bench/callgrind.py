"""Instructions of a program, counted by valgrind's callgrind.

The program forks, and a child calls `mark()` before and after the work that counts: callgrind writes what it has
counted since the last mark, so that imports and the end of the interpreter are left out. Nothing here may know what the
work is.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

PROGRAM: Final = "valgrind"
_MARK: Final = "getppid"
"""The C function that `mark()` calls, and that nothing else in these programs does."""


def mark() -> None:
    """Begin what counts, or end it; without callgrind, do nothing."""
    os.getppid()


def is_found() -> bool:
    """Return whether valgrind is installed."""
    return shutil.which(PROGRAM) is not None


def instructions(
    command: Sequence[str], environ: Mapping[str, str], where: Path | None = None
) -> list[tuple[str, int | str]]:
    """Run a program, and return what each of its children has counted between its two marks.

    Args:
        command: The program and its arguments. It prints a line for each child: the name of what that has counted, and
            the child's process id, or why it has failed.
        environ: Variables beside those of this process.
        where: Its working directory; None for that of this process.

    Returns:
        For each line the name, and the instructions or the reason.

    Raises:
        RuntimeError: The program failed or has printed nothing; the error has its output.
    """
    with tempfile.TemporaryDirectory(prefix="pool_exporter_callgrind_") as directory:
        options = [f"--callgrind-out-file={directory}/counts.%p", f"--dump-before={_MARK}", "--dump-line=no"]
        options.append("--separate-threads=yes")  # Only the first thread counts, and not a heartbeat, for example.
        given = {**os.environ, "PYTHONHASHSEED": "0", **environ, "TMPDIR": directory}
        given.pop("PYTHONDONTWRITEBYTECODE", None)  # To compile all modules takes longer than all that is counted.
        done = subprocess.run(
            [PROGRAM, "--tool=callgrind", *options, *command],
            env=given,
            cwd=where,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not done.stdout.strip():
            raise RuntimeError(f"{command} ended with code {done.returncode}: {done.stderr[-2000:]}")
        lines = [line.partition(" ") for line in done.stdout.splitlines()]
        return [(name, _counted(Path(directory), rest) if rest.isdigit() else rest) for name, _, rest in lines]


def _counted(directory: Path, pid: str) -> int | str:
    """Return what a child has counted; its first part is what was before the first mark."""
    part = directory / f"counts.{pid}.2-01"
    return parse(part.read_text()) if part.is_file() else "it has not set two marks"


def parse(text: str) -> int:
    """Return how many instructions were counted in a part of callgrind's output.

    Raises:
        RuntimeError: *text* has no sum.
    """
    found = re.search(r"^summary: (\d+)$", text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"callgrind has written no sum: {text[:200]}")
    return int(found[1])
