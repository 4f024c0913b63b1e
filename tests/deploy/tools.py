"""Programs that pip brings as packages of the extra `deploy`, beside the interpreter. Nothing is run here."""

import os
import sys
from pathlib import Path

from tests.fixtures.programs import require


def tool(program: str) -> Path:
    """Return the path of *program*; the test is skipped, or fails in CI, where there is none."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return require(program, {**os.environ, "PATH": path})
