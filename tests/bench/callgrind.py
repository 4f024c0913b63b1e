"""Instructions of a program, counted by valgrind's callgrind: to about 2 %, also on a busy machine.

The program calls `mark()` before and after each piece of work that counts: callgrind writes what it has counted since
the last mark, so that imports and the end of the interpreter are left out. Nothing here may know what the work is.
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
    """End a sample and begin the next one; without callgrind, do nothing."""
    os.getppid()


def is_found() -> bool:
    """Return whether valgrind is installed."""
    return shutil.which(PROGRAM) is not None


def instructions(command: Sequence[str], environ: Mapping[str, str], where: Path | None = None) -> list[int]:
    """Run a program and return the instructions from each of its marks to the next one.

    Args:
        command: The program and its arguments.
        environ: Variables beside those of this process.
        where: Its working directory; None for that of this process.

    Raises:
        RuntimeError: The program failed, or has not called `mark()` twice; the error has its output.
    """
    with tempfile.TemporaryDirectory(prefix="pool_exporter_callgrind_") as directory:
        counts = Path(directory) / "counts"
        options = ["--tool=callgrind", f"--callgrind-out-file={counts}", f"--dump-before={_MARK}"]
        # Without a fixed seed, dictionaries collide differently in each process.
        given = {**os.environ, **environ, "PYTHONHASHSEED": "0"}
        given.pop("PYTHONDONTWRITEBYTECODE", None)  # To compile all modules takes longer than all that is counted.
        done = subprocess.run(
            [PROGRAM, *options, *command], env=given, cwd=where, capture_output=True, text=True, check=False
        )
        parts = sorted(Path(directory).glob("counts.*"), key=lambda path: int(path.suffix[1:]))
        if done.returncode or len(parts) < 2:  # The first part is what is before the first mark.
            raise RuntimeError(f"{command} ended with code {done.returncode}: {done.stderr[-2000:]}")
        return [parse(part.read_text()) for part in parts[1:]]


def parse(text: str) -> int:
    """Return how many instructions were counted in a part of callgrind's output.

    Raises:
        RuntimeError: *text* has no sum.
    """
    found = re.search(r"^summary: (\d+)$", text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"callgrind has written no sum: {text[:200]}")
    return int(found[1])
