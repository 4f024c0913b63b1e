"""The bytes of a worker's file: one process's pools, for readers in other processes. Pure functions of bytes.

    0        256      entries_at                               entries_at + entry_bytes
    | header | schema | record 0: length, state, JSON | words  | record 1 …   | zeros to total_bytes

All numbers are little-endian, all words aligned to 8 bytes. The file's size never changes. The writer fills a record,
then raises the header's ENTRIES; a record's identity never changes after that. While the process lives, it stores
single words: ENTRIES and the five after it into the header, and a record's state and words. A reader takes what it
finds:

- A word is never half written (slots.py); two words may belong to different moments (state.py says what that costs).
- The magic and the first numbers of a header never change their places; a file of another MAJOR is not read at all, and
  one of another MINOR by the lengths that its own header tells.
- Whatever the bytes are, the result is a `WorkerFile` or a CorruptFile that says what is wrong, and nothing else.

Nothing here may open, map or lock a file: directory.py reads, shm.py writes.
"""

import json
import struct
from array import array
from collections.abc import Callable, MutableSequence, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2s
from typing import Any, Final

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_metrics import INFO_LABELS
from pool_exporter.state import layout
from pool_exporter.state.layout import SLOT_COUNT
from pool_exporter.workers.schema_translation import SCHEMA, translator

MAGIC: Final = b"POOLEXP\0"
BYTE_ORDER: Final = 0x01020304
MAJOR: Final = 1
MINOR: Final = 0
HEADER_BYTES: Final = 256
FILE_BYTES: Final = 64 * 1024
IDENTITY_BYTES: Final = 1024
ENTRY_BYTES: Final = IDENTITY_BYTES + SLOT_COUNT * 8
ENTRIES_MAX: Final = 14
MAX_FILE_BYTES: Final = 1024 * 1024
"""A larger file is not ours: nothing that long is read."""

_HEADER: Final = struct.Struct("<8sIHHIIII16sIIII6q6q16s16s16s16s")
_NUMBER_MAX: Final = 2**62
"""No count and no sum of times reaches it; the bits of a NaN, and half of all garbage, do."""

_ENTRY_HEAD: Final = struct.Struct("<qq")

ENTRIES, STATE, HEARTBEAT, HOOK_ERRORS, DROPPED, TRANSPORT_ERRORS = range(8, 14)
"""The header's words that change while the process lives: how many records there are, the process's state, the
monotonic time of its last heartbeat in nanoseconds, its hook errors, the pools that found no place, and how often the
directory failed it. The last three are in a process's first file only, whose uuid is the process's."""

OPEN, CLOSED = 1, 2
"""A process's state, and a record's. A process that ended without CLOSED was killed; a closed record's pool is gone."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes a file. Times are nanoseconds; the namespaces are inode numbers, 0 where they cannot be read."""

    file_uuid: bytes
    process_uuid: bytes
    boot: bytes
    version: bytes
    created: int
    monotonic: int
    pid: int
    pid_start: int
    pid_namespace: int
    time_namespace: int


@dataclass(frozen=True, slots=True)
class PoolEntry:
    """One pool of a file; its words as our own layout has them."""

    identity: PoolIdentity
    config: PoolConfig
    state: int
    slots: MutableSequence[int]


@dataclass(frozen=True, slots=True)
class WorkerFile:
    """All that a file says."""

    writer: Writer
    state: int
    heartbeat: int
    hook_errors: int
    dropped: int
    transport_errors: int
    entries: tuple[PoolEntry, ...]

    @property
    def is_first(self) -> bool:
        """Tell whether it is its process's first file: who counts processes counts these."""
        return self.writer.file_uuid == self.writer.process_uuid


def new_file(writer: Writer) -> bytes:
    """Return the bytes of a file without records."""
    schema = json.dumps(SCHEMA, separators=(",", ":")).encode()
    entries_at = _aligned(HEADER_BYTES + len(schema))
    if entries_at + ENTRIES_MAX * ENTRY_BYTES > FILE_BYTES:
        raise ValueError(f"a schema of {len(schema)} bytes leaves no place for {ENTRIES_MAX} pools")
    place = (HEADER_BYTES, len(schema), _digest(schema), entries_at, ENTRY_BYTES, ENTRIES_MAX, IDENTITY_BYTES)
    live = (0, OPEN, writer.monotonic, 0, 0, 0)
    who = (writer.created, writer.monotonic, writer.pid, writer.pid_start)
    where = (writer.pid_namespace, writer.time_namespace)
    ids = (writer.file_uuid, writer.process_uuid, writer.boot, writer.version)
    header = _HEADER.pack(MAGIC, BYTE_ORDER, MAJOR, MINOR, HEADER_BYTES, FILE_BYTES, *place, *live, *who, *where, *ids)
    return (header.ljust(HEADER_BYTES, b"\0") + schema).ljust(FILE_BYTES, b"\0")


def entries_at(data: bytes | bytearray | memoryview) -> int:
    """Return where the records of a file that we made begin."""
    at: int = _HEADER.unpack_from(data)[9]
    return at


def new_entry(identity: PoolIdentity, config: PoolConfig) -> bytes:
    """Return the head of a record, without its words; names that are too long are cut."""
    text = _identity_json(identity, config)
    if len(text) > IDENTITY_BYTES - _ENTRY_HEAD.size:
        text = _identity_json(PoolIdentity(*(value[:64] for value in identity.values())), replace(config, labels={}))
    return (_ENTRY_HEAD.pack(len(text), OPEN) + text).ljust(IDENTITY_BYTES, b"\0")


def _identity_json(identity: PoolIdentity, config: PoolConfig) -> bytes:
    pool = {
        "identity": identity.values(),
        "max": config.max,
        "idle_max": config.idle_max,
        "labels": dict(config.labels),
    }
    return json.dumps(pool, separators=(",", ":")).encode()


def filled_bytes(header: bytes, size: int) -> int:
    """Return how many bytes of a file of that *size* are worth reading, going by its header, whatever is in that."""
    if len(header) < _HEADER.size:
        return size
    fields: Sequence[int] = _HEADER.unpack_from(header)
    return min(size, max(HEADER_BYTES, fields[9] + max(0, fields[13]) * fields[10]))


def parse(data: bytes, path: str, size: int | None = None) -> WorkerFile:
    """Read the bytes of the file at *path*: all of its *size*, or those that `filled_bytes` says.

    Raises CorruptFile, and nothing else, for what is no file that we know.
    """
    size = len(data) if size is None else size
    if len(data) < HEADER_BYTES:
        raise CorruptFile(path, f"it has {len(data)} bytes, a header has {HEADER_BYTES}")
    magic, order, major, _, header_bytes, total, *places_and_more = _HEADER.unpack_from(data)
    if magic != MAGIC or order != BYTE_ORDER:
        raise CorruptFile(path, "it does not begin as a worker's file does")
    if major != MAJOR:
        raise CorruptFile(path, f"it is of version {major}, this reader knows {MAJOR}", "version")
    if header_bytes < HEADER_BYTES or total != size:
        raise CorruptFile(path, f"its header tells of {total} bytes, there are {size}")
    try:
        return _parse(data, places_and_more)
    except ValueError as error:
        raise CorruptFile(path, str(error)) from None


def _parse(data: bytes, header: list[Any]) -> WorkerFile:
    schema_at, schema_bytes, digest, entries_from, entry_bytes, entries_max, words_at = header[:7]
    count, state, heartbeat, hook_errors, dropped, transport_errors, *who = header[7:]
    if not 0 <= count <= entries_max or entries_from % 8 or entry_bytes % 8 or words_at % 8:
        raise ValueError(f"its {count} records of {entry_bytes} bytes do not fit its {entries_max} places")
    if entries_from + count * entry_bytes > len(data):
        raise ValueError("its records reach beyond its end")
    if min(heartbeat, hook_errors, dropped, transport_errors, *who[:6]) < 0:
        raise ValueError("its header has a number below 0")
    size, translate = _translator(data[schema_at : schema_at + schema_bytes], digest)
    heads = range(entries_from, entries_from + count * entry_bytes, entry_bytes)
    if words_at < _ENTRY_HEAD.size or words_at + size * 8 > entry_bytes:
        raise ValueError("its words reach beyond their record")
    entries = tuple(_entry(data[at : at + entry_bytes], words_at, size, translate) for at in heads)
    writer = Writer(who[6], who[7], who[8], who[9], *who[:6])
    return WorkerFile(writer, state, heartbeat, hook_errors, dropped, transport_errors, entries)


@lru_cache(maxsize=16)
def _translator(schema: bytes, digest: bytes) -> tuple[int, Callable[[Sequence[int]], list[int]]]:
    """Read a schema once: all workers of a version have the same."""
    if _digest(schema) != digest:
        raise ValueError("its schema is damaged")
    try:
        described = json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its schema is no JSON: {error}") from None
    translate = translator(described)
    return described["words"], translate


def _entry(data: bytes, words_at: int, size: int, translate: Callable[[Sequence[int]], list[int]]) -> PoolEntry:
    length, state = _ENTRY_HEAD.unpack_from(data)
    if not 0 <= length <= words_at - _ENTRY_HEAD.size or state not in (OPEN, CLOSED):
        raise ValueError("a record's head is damaged")
    identity, config = _identity(data[_ENTRY_HEAD.size : _ENTRY_HEAD.size + length])
    # An array has no objects in it for the garbage collector to visit, and makes only those that are asked for.
    stored = array("q", data[words_at : words_at + size * 8])
    slots = stored if translate is list else translate(stored)
    # Where every number's highest byte is 0, none has to be looked at; that of a foreign layout says nothing.
    is_small = translate is list and not data[words_at + 7 : words_at + layout.SERVER_PIDS * 8 : 8].strip(b"\0")
    if not is_small and _has_impossible(slots[: layout.SERVER_PIDS]):
        raise ValueError("a record has an impossible number")
    return PoolEntry(identity, config, state, slots)


def _has_impossible(numbers: Sequence[int]) -> bool:
    negative = {at for at, number in enumerate(numbers) if number < 0}
    return max(numbers) >= _NUMBER_MAX or not negative <= layout.SIGNED_SLOTS


@lru_cache(maxsize=16_384)
def _identity(text: bytes) -> tuple[PoolIdentity, PoolConfig]:
    """Read what a record says of its pool, once; it becomes label values, so nothing but text is taken."""
    try:
        pool = json.loads(text)
        labels = {str(key): str(value) for key, value in pool["labels"].items() if key in INFO_LABELS}
        limits = [None if pool[name] is None else int(pool[name]) for name in ("max", "idle_max")]
        identity = PoolIdentity(*map(_text, pool["identity"]))
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"a record's identity is damaged: {error!r}") from None
    return identity, PoolConfig(limits[0], limits[1], labels)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a name is text, not {type(value).__name__}")
    return value.encode("utf-8", "replace").decode()


def _digest(schema: bytes) -> bytes:
    return blake2s(schema, digest_size=16).digest()


def _aligned(size: int) -> int:
    return (size + 7) // 8 * 8
