"""The id of source files, by which compiled modules are found that fit them.

This file imports nothing of the package: hatch_build.py runs it where no dependency is installed.
"""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path


def source_id(root: Path, names: Iterable[str]) -> str:
    """Return an id that differs where a file has another name or content.

    Args:
        root: The folder of the files.
        names: Their paths in it, with slashes.

    Raises:
        OSError: A file cannot be read.
    """
    found = sha256()
    for name in sorted(names):
        content = (root / name).read_bytes()
        found.update(f"{name} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()[:16]
