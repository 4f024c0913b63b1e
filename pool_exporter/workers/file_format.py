"""The format of a worker file: the counters of one process's pools, in shared memory, for readers in other processes.

This docstring is the protocol between writer and readers. The other modules of this wing refer to it.

Layout. All numbers are little-endian; all slots are aligned to 8 bytes. The size never changes after creation:

    0        256      entries_at                              entries_at + entry_bytes
    | header | schema | entry 0: length, state, JSON | slots  | entry 1 ...   | zeros up to total_bytes

- The *header* (256 bytes, `_HEADER`) has magic, versions, sizes, the offsets of what follows, the six values that
  change (`ENTRIES` to `TRANSPORT_ERRORS`), and a description of the process that writes the file (`Writer`).
- The *schema* is JSON that says which slot holds which value (schema_translation.py), with a digest in the header. It
  lets a reader of another release find the values that it knows.
- A *pool entry* has a head (length of the JSON, state of the pool), the pool's identity and configuration as JSON, and
  the pool's slots.

What the writer does, and when:

1. It fills the whole file under a temporary name, locks it with `flock`, and renames it to `w-<uuid>.pool`, where
   <uuid> is `file_uuid` of the header. A file under any other name is a copy, and no reader counts it.
2. To add a pool, it writes the entry first and raises `ENTRIES` last. The identity of an entry never changes.
3. After that it stores single slots only, each with one aligned 8-byte store: the six changing values of the header,
   the state of an entry, and the entry's slots. It takes no lock for that.
4. The kernel drops the lock when the last process that maps the file is gone. The lock alone says that the writer is
   alive; process ids say nothing across namespaces.

What a reader may rely on, and what not:

- A slot is never half written. This holds because CPython's `memoryview.cast("q")` stores an aligned 8-byte value with
  one instruction, on x86-64 and on arm64.
- Two slots may be of different moments. x86-64 keeps the order of stores; arm64 promises none. Therefore each slot
  makes sense by itself (state/layout.py), and a reader reads until two readings agree (file_reader.py).
- The magic and the fields before `schema_at` keep their offsets in every version. A reader refuses a file of another
  MAJOR version, and reads one of another MINOR version by the lengths that its header gives.
- A file may hold anything: it may be damaged, or written by another program. `parse` returns a `WorkerFile` or raises
  CorruptFile, whatever the bytes are.

Limits: `MAX_FILE_BYTES` for a file, `ENTRIES_READ_MAX` pools in it, `IDENTITY_READ_MAX` bytes for the JSON of a pool.

Nothing here may open, map or lock a file: file_reader.py reads files, file_writer.py writes them.
"""

import json
import struct
from array import array
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2s
from typing import Final

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
"""Pool entries in a file that this version writes."""

MAX_FILE_BYTES: Final = 1024 * 1024
"""A larger file is refused without being read."""
ENTRIES_READ_MAX: Final = 256
"""A file that claims more pool entries is refused."""
IDENTITY_READ_MAX: Final = 8 * 1024
"""A file with a longer identity is refused: the identity becomes label values."""

_HEADER: Final = struct.Struct("<8sIHHIIII16sIIII6q6q16s16s16s16s")
_ENTRY_HEAD: Final = struct.Struct("<qq")
_NUMBER_MAX: Final = 2**62
"""No count and no sum of times reaches it. The bits of a NaN, and half of all garbage, do."""

ENTRIES, STATE, HEARTBEAT, HOOK_ERRORS, DROPPED, TRANSPORT_ERRORS = range(8, 14)
"""Indexes (in units of 8 bytes) of the header's values that change: the number of pool entries, the state of the
process, the monotonic time of its last heartbeat in nanoseconds, its hook errors, the pools for which there was no
space, and the failures of the directory. The last three are written into the first file of a process only."""

OPEN, CLOSED = 1, 2
"""State of a process or of a pool entry. A dead process that is not CLOSED was killed. A CLOSED pool no longer exists;
its counters remain."""

Translate = Callable[[Sequence[int]], list[int]]
"""Turns the slots of a file into slots in the order of our own layout."""


@dataclass(frozen=True, slots=True)
class Writer:
    """The process that writes a file, as the header describes it.

    Attributes:
        file_uuid: 16 bytes, unique for the file and part of its name.
        process_uuid: 16 bytes, the same in all files of a process; the `file_uuid` of its first file.
        boot: 16 bytes that identify the boot of the machine, zeros where that is unknown.
        version: 16 bytes, the version of pool_exporter, padded with zeros.
        created: Wall clock at creation, in nanoseconds since 1970.
        monotonic: Monotonic clock at creation, in nanoseconds.
        pid: Process id, in the writer's own namespace.
        pid_start: Start time of the process in clock ticks since boot, 0 if unknown.
        pid_namespace: Inode number of the PID namespace, 0 if unknown.
        time_namespace: Inode number of the time namespace, 0 if unknown.
    """

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
    """One pool of a file. Its slots are in the order of our own layout, whatever release wrote the file."""

    identity: PoolIdentity
    config: PoolConfig
    state: int
    slots: MutableSequence[int]


@dataclass(frozen=True, slots=True)
class WorkerFile:
    """The content of a worker file. *heartbeat* is a monotonic time in nanoseconds."""

    writer: Writer
    state: int
    heartbeat: int
    hook_errors: int
    dropped: int
    transport_errors: int
    entries: tuple[PoolEntry, ...]

    @property
    def is_first(self) -> bool:
        """Whether this is the first file of its process. To count processes, count these files."""
        return self.writer.file_uuid == self.writer.process_uuid


def new_file(writer: Writer) -> bytes:
    """Return the bytes of a file without pool entries.

    Raises:
        ValueError: The schema leaves no space for `ENTRIES_MAX` pools.
    """
    schema = json.dumps(SCHEMA, separators=(",", ":")).encode()
    at = _aligned(HEADER_BYTES + len(schema))
    if at + ENTRIES_MAX * ENTRY_BYTES > FILE_BYTES:
        raise ValueError(f"a schema of {len(schema)} bytes leaves no space for {ENTRIES_MAX} pools")
    offsets = (HEADER_BYTES, len(schema), _digest(schema), at, ENTRY_BYTES, ENTRIES_MAX, IDENTITY_BYTES)
    changing = (0, OPEN, writer.monotonic, 0, 0, 0)
    times_and_pids = (writer.created, writer.monotonic, writer.pid, writer.pid_start)
    namespaces = (writer.pid_namespace, writer.time_namespace)
    ids = (writer.file_uuid, writer.process_uuid, writer.boot, writer.version)
    versions = (MAGIC, BYTE_ORDER, MAJOR, MINOR, HEADER_BYTES, FILE_BYTES)
    header = _HEADER.pack(*versions, *offsets, *changing, *times_and_pids, *namespaces, *ids)
    return (header.ljust(HEADER_BYTES, b"\0") + schema).ljust(FILE_BYTES, b"\0")


def entries_at(data: bytes | bytearray | memoryview) -> int:
    """Return the offset of the first pool entry in a file that `new_file` made."""
    at: int = _HEADER.unpack_from(data)[9]
    return at


def new_entry(identity: PoolIdentity, config: PoolConfig) -> bytes:
    """Return the first `IDENTITY_BYTES` of a pool entry: all but its slots. Names that do not fit are cut."""
    text = _identity_json(identity, config)
    for length in (64, 8):  # A character outside the BMP takes 12 bytes of JSON: 7 names of 64 do not always fit.
        if len(text) > IDENTITY_BYTES - _ENTRY_HEAD.size:
            cut = PoolIdentity(*(value[:length] for value in identity.values()))
            text = _identity_json(cut, replace(config, labels={}))
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
    """Return how many bytes of a file of *size* bytes have content, going by its header. The header may be damaged."""
    if len(header) < _HEADER.size:
        return size
    fields: Sequence[int] = _HEADER.unpack_from(header)
    return min(size, max(HEADER_BYTES, fields[9] + max(0, fields[13]) * fields[10]))


def parse(data: bytes, path: str, size: int | None = None) -> WorkerFile:
    """Read the content of a worker file.

    Args:
        data: The bytes of the file: all of them, or the first `filled_bytes`.
        path: Path of the file, for the error.
        size: Size of the file in bytes; by default the length of *data*.

    Raises:
        CorruptFile: The bytes are not a worker file of a known version. Nothing else is raised, whatever the bytes are.
    """
    try:
        return _parse(data, path, len(data) if size is None else size)
    except CorruptFile:
        raise
    except ValueError as error:
        raise CorruptFile(path, str(error)) from None
    except Exception as error:  # noqa: BLE001  # bytes that a check forgot must cost this file alone, not the scrape
        raise CorruptFile(path, f"its content is damaged: {type(error).__name__}") from None


def _parse(data: bytes, path: str, size: int) -> WorkerFile:
    if len(data) < HEADER_BYTES:
        raise ValueError(f"it has {len(data)} bytes, a header has {HEADER_BYTES}")
    fields = _HEADER.unpack_from(data)
    magic, order, major, _, header_bytes, total = fields[:6]
    if magic != MAGIC or order != BYTE_ORDER:
        raise ValueError("it does not begin as a worker file does")
    if major != MAJOR:
        raise CorruptFile(path, f"it is of version {major}, this reader knows {MAJOR}", "version")
    if header_bytes < HEADER_BYTES or total != size:
        raise ValueError(f"its header says {total} bytes, there are {size}")
    return _content(data, fields, fields[8], *fields[25:])


def _content(data: bytes, fields: Sequence[int], digest: bytes, *ids: bytes) -> WorkerFile:
    schema_at, schema_bytes = fields[6:8]
    first, entry_bytes, entries_max, slots_at, count = fields[9:14]
    state, heartbeat, hook_errors, dropped, transport_errors = fields[14:19]
    if not 0 <= count <= entries_max or first % 8 or entry_bytes % 8 or slots_at % 8:
        raise ValueError(f"its {count} entries of {entry_bytes} bytes do not fit its space for {entries_max}")
    if count > ENTRIES_READ_MAX:
        raise ValueError(f"it has {count} entries, at most {ENTRIES_READ_MAX} are read")
    if first + count * entry_bytes > len(data):
        raise ValueError("its entries reach beyond its end")
    if min(heartbeat, hook_errors, dropped, transport_errors, *fields[19:25]) < 0:
        raise ValueError("its header has a number below 0")
    slot_count, translate = _translator(data[schema_at : schema_at + schema_bytes], digest)
    if slots_at < _ENTRY_HEAD.size or slots_at + slot_count * 8 > entry_bytes:
        raise ValueError("its slots reach beyond their entry")
    starts = range(first, first + count * entry_bytes, entry_bytes)
    entries = tuple(_entry(data[at : at + entry_bytes], slots_at, slot_count, translate) for at in starts)
    file_uuid, process_uuid, boot, version = ids
    writer = Writer(file_uuid, process_uuid, boot, version, *fields[19:25])
    return WorkerFile(writer, state, heartbeat, hook_errors, dropped, transport_errors, entries)


@lru_cache(maxsize=16)
def _translator(schema: bytes, digest: bytes) -> tuple[int, Translate]:
    """Return how many slots a schema describes, and what translates them. Cached: all workers of a release have it."""
    if _digest(schema) != digest:
        raise ValueError("its schema is damaged")
    try:
        described = json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its schema is no JSON: {error}") from None
    translate = translator(described)
    slot_count = described["words"]
    if type(slot_count) is not int:  # In JSON 282.0 equals 282, and no slice takes it.
        raise ValueError(f"its schema has {slot_count!r} slots")
    return slot_count, translate


def _entry(data: bytes, slots_at: int, slot_count: int, translate: Translate) -> PoolEntry:
    length, state = _ENTRY_HEAD.unpack_from(data)
    if not 0 <= length <= min(IDENTITY_READ_MAX, slots_at - _ENTRY_HEAD.size) or state not in (OPEN, CLOSED):
        raise ValueError("the head of an entry is damaged")
    identity, config = _identity(data[_ENTRY_HEAD.size : _ENTRY_HEAD.size + length])
    # An array holds no objects that the garbage collector has to visit, and creates only those that are read.
    stored = array("q", data[slots_at : slots_at + slot_count * 8])
    slots = stored if translate is list else translate(stored)
    # If the highest byte of every number is 0, no number has to be checked. In another layout that says nothing.
    is_small = translate is list and not data[slots_at + 7 : slots_at + layout.SERVER_PIDS * 8 : 8].strip(b"\0")
    if not is_small and _has_impossible(slots[: layout.SERVER_PIDS]):
        raise ValueError("an entry has an impossible number")
    return PoolEntry(identity, config, state, slots)


def _has_impossible(numbers: Sequence[int]) -> bool:
    negative = {at for at, number in enumerate(numbers) if number < 0}
    return max(numbers) >= _NUMBER_MAX or not negative <= layout.SIGNED_SLOTS


@lru_cache(maxsize=16_384)
def _identity(text: bytes) -> tuple[PoolIdentity, PoolConfig]:
    """Read the JSON of an entry. Cached: it never changes. It becomes label values, so only text is accepted."""
    try:
        pool = json.loads(text)
        labels = {str(key): str(value) for key, value in pool["labels"].items() if key in INFO_LABELS}
        identity = PoolIdentity(*map(_text, pool["identity"]))
        return identity, PoolConfig(_limit(pool, "max"), _limit(pool, "idle_max"), labels)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"the identity of an entry is damaged: {error!r}") from None


def _limit(pool: Mapping[str, object], name: str) -> int | None:
    limit = pool[name]
    if limit is not None and (type(limit) is not int or not 0 <= limit < _NUMBER_MAX):
        raise ValueError(f"{name} is no limit")
    return limit


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a name is text, not {type(value).__name__}")
    return value.encode("utf-8", "replace").decode()


def _digest(schema: bytes) -> bytes:
    return blake2s(schema, digest_size=16).digest()


def _aligned(size: int) -> int:
    return (size + 7) // 8 * 8
