"""A YAML file as nested mappings, lists and strings. Every scalar is a string, and config.py converts it by its key.

So a user may be named `no` or `1234`. A duplicate key is an error, where YAML libraries take the last one. No text of
the file but a duplicate key is in an error message, because it may be a secret.
"""

import os
import stat
from collections.abc import Hashable
from errno import EINVAL
from pathlib import Path
from typing import Final

from pool_exporter.errors import Problem, SettingsError

FILE_BYTES_MAX: Final = 1024 * 1024


def load(path: Path) -> object:
    """Read a file.

    Returns:
        Mappings, lists and strings; None if the file is empty.

    Raises:
        SettingsError: The file cannot be read, is longer than FILE_BYTES_MAX, or is not valid YAML.
    """
    return _parsed(path, _content(path))


def regular_content(path: Path, size: int = -1) -> bytes:
    """Return the content of a file, or its first *size* bytes.

    Raises:
        OSError: It cannot be read, or is not a regular file: a pipe would block the server until it is written to.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123  # a descriptor
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(EINVAL, "not a regular file")
        return file.read(size)


def _content(path: Path) -> bytes:
    try:
        content = regular_content(path, FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(Problem(str(path), None, f"cannot be read: {error.strerror}")) from None
    if len(content) > FILE_BYTES_MAX:
        raise SettingsError(Problem(str(path), None, f"is longer than {FILE_BYTES_MAX} bytes"))
    return content


def _parsed(path: Path, content: bytes) -> object:
    import yaml

    class Loader(yaml.BaseLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:  # noqa: FBT001, FBT002  # as yaml's
            keys = [key.value for key, _ in node.value]
            for number, (key, _) in enumerate(node.value):
                if key.value in keys[:number]:
                    fault = f"duplicate key {key.value}"
                    raise yaml.MarkedYAMLError(problem=fault, problem_mark=key.start_mark)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(content, Loader)  # noqa: S506  # it makes only strings, lists and mappings
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        # The error's own text quotes the line, which may have a secret.
        mark, fault = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    line = f", line {mark.line + 1}" if mark else ""
    raise SettingsError(Problem(f"{path}{line}", None, f"is not valid YAML: {fault or 'it cannot be parsed'}"))
