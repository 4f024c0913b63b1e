"""Frames as values: their texts, and those of the application among them.

A `Frame` is a code object and the instruction that it is at. It is kept instead of Python's frame object, which would
keep the local variables of the application alive. Nothing here reads a frame object, and the texts that are kept do not
keep the code.
"""

from types import CodeType
from typing import Final, TypeAlias
from weakref import ref

from pool_exporter.encodable import encodable
from pool_exporter.hooks.code_origin import Origin, origin_of
from pool_exporter.state import connection

Frame: TypeAlias = connection.Frame
Frames: TypeAlias = tuple[Frame, ...]
"""Innermost first."""

APPLICATION_FRAMES_MAX: Final = 4
_TEXTS_MAX: Final = 2000
_PATH_PARTS: Final = 2
_SHOWN: Final = (Origin.APPLICATION, Origin.LIBRARY)
"""What is shown of a stack, best first."""

_texts: Final[dict[tuple[int, int], tuple["ref[CodeType]", str]]] = {}
"""The keys are a code object's id and an instruction. The weak reference shows if the id is still that object's."""


def is_application(code: CodeType) -> bool:
    """Return whether *code* is the application's: not of an installed package, nor of a module to be skipped."""
    return origin_of(code) is Origin.APPLICATION


def shown_frames(frames: Frames, start: int = 0) -> Frames:
    """Return the frames that show a developer where the code is.

    Args:
        frames: A stack, innermost first.
        start: The first frame to consider; those before it are of a call into the driver.

    Returns:
        Up to four frames of the application, innermost first; of libraries where there is none of the application.
    """
    for origin in _SHOWN:
        found = [frame for frame in frames[start:] if origin_of(frame[0]) is origin]
        if found:
            return tuple(found[:APPLICATION_FRAMES_MAX])
    return ()


def text_of(frame: Frame) -> str:
    """Return *frame* as an operator reads it, as "orders/api.py:42 in create_order"."""
    code, instruction = frame
    key = (id(code), instruction)
    kept = _texts.get(key)
    if kept is not None and kept[0]() is code:
        return kept[1]
    if len(_texts) >= _TEXTS_MAX:
        _texts.clear()
    text = _text(code, _line(code, instruction))
    _texts[key] = (ref(code), text)
    return text


def text_of_code(code: CodeType) -> str:
    """Return the function that *code* is of, with its first line, as "orders/api.py:31 in create_order"."""
    return _text(code, code.co_firstlineno)


def _text(code: CodeType, line: int) -> str:
    file = "/".join(code.co_filename.replace("\\", "/").split("/")[-_PATH_PARTS:])
    name = getattr(code, "co_qualname", code.co_name)  # Python 3.10 has no qualified name here.
    return encodable(f"{file}:{line} in {name.replace('<locals>.', '')}")


def _line(code: CodeType, instruction: int) -> int:
    # Reading a frame's f_lineno does the same, but only while there is a frame.
    lines = (line for start, end, line in code.co_lines() if start <= instruction < end and line)
    return next(lines, code.co_firstlineno)
