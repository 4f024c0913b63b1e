"""Two copies of a text at the end of a worker file; at least one of them is whole at every moment.

A copy is three int64 and then the text: the number of the copy, which grows by one with each text, the length of the
text in bytes, and a CRC-32 of both and of the text. The writer overwrites the older copy, in whatever order its stores
arrive. So a reader takes the copy with the highest number and a right CRC: a copy that is torn, because the writer
is at it or was killed there, has another CRC, and the copy before it is whole.

The copies are behind the space of the last pool entry, where an earlier release reads nothing, in the first file of a
process only. Pure functions of bytes and stores into views that are given; nothing here may know what the text says.
"""

import struct
from binascii import crc32
from collections.abc import Mapping
from typing import Final

COPIES: Final = 2
COPY_BYTES: Final = 16 * 1024
BYTES: Final = COPIES * COPY_BYTES
"""The space that both take in a file."""
SCHEMA: Final[Mapping[str, object]] = {"version": 1, "copies": COPIES, "bytes": COPY_BYTES}
"""What the schema of a worker file says of them; a reader with other copies leaves them out."""

_HEAD: Final = struct.Struct("<qqq")
_WORDS: Final = _HEAD.size // 8
_CHECKED: Final = struct.Struct("<qq")
TEXT_BYTES_MAX: Final = COPY_BYTES - _HEAD.size
"""A longer text has no space."""


def newest_text(data: bytes) -> bytes:
    """Return the newest whole text in *data*, the last `BYTES` of a file; b"" if there is none."""
    found = (0, b"")
    for at in range(0, min(len(data), BYTES) - COPY_BYTES + 1, COPY_BYTES):
        number, length, check = _HEAD.unpack_from(data, at)
        text = data[at + _HEAD.size : at + _HEAD.size + length] if 0 <= length <= TEXT_BYTES_MAX else b""
        if number > found[0] and len(text) == length and check == _check(number, text):
            found = (number, text)
    return found[1]


def _check(number: int, text: bytes) -> int:
    return crc32(text, crc32(_CHECKED.pack(number, len(text))))


class CopiesWriter:
    """Writes the copies of one mapped file."""

    def __init__(self, data: memoryview) -> None:
        """Write into *data*, the last `BYTES` of the file, which are 0."""
        self._data, self._words = data, data.cast("q")
        self._number = 0

    def write(self, text: bytes) -> None:
        """Write a text of at most `TEXT_BYTES_MAX` bytes over the older copy."""
        self._number += 1
        at = self._number % COPIES * COPY_BYTES
        self._data[at + _HEAD.size : at + _HEAD.size + len(text)] = text
        head = (self._number, len(text), _check(self._number, text))
        for word in range(_WORDS):
            self._words[at // 8 + word] = head[word]

    def release(self) -> None:
        """Release the views of the mapping."""
        self._words.release()
        self._data.release()
