"""The format of a worker file: the counters of one process's pools, in shared memory, for readers in other processes.

This docstring is the protocol between writer and readers. The other modules of this wing refer to it.

Layout. Files are little-endian; a big-endian machine keeps its pools in memory. All slots are aligned to 8 bytes. The
size never changes after creation:

    0        256              entries_at                              entries_at + entry_bytes
    | header | schema | texts | entry 0: length, state, JSON | slots | units | entry 1 ... | holders

- The *header* (256 bytes, `HEADER`) has magic, versions, sizes, the offsets of what follows, the six values that
  change (`ENTRIES` to `TRANSPORT_ERRORS`), and a description of the process that writes the file (`Writer`).
- The *schema* is JSON that says which slot holds which value (schema_translation.py), with a digest in the header. It
  lets a reader of another release find the values that it knows.
- A *pool entry* has a head (length of the JSON, state of the pool), the pool's identity and configuration as JSON, and
  the pool's slots.
- The *texts* between the schema and the first entry, and the *units* behind the slots of each entry, say which units of
  work use the pools. Their format is in unit_table.py.
- The *holders*, in the first file of a process only, say which code holds the connections. Their format is in reports/.

What the writer does, and when:

1. It fills the whole file under a temporary name, locks it with `flock`, and renames it to `w-<uuid>.pool`, where
   <uuid> is `file_uuid` of the header. A file under any other name is a copy, and no reader counts it.
2. To add a pool, it writes the entry first and raises `ENTRIES` last. The identity of an entry never changes.
3. After that it stores single slots only, each with one aligned 8-byte store: the six changing values of the header,
   the state of an entry, and the entry's slots. It takes no lock for that. Only step 4 writes more: `process_uuid`, in
   two stores. Texts, units and holders are written in other ways, which their modules describe.
4. A process leaves a file when it is no worker any more, or when all pools of the file have ended. It marks the file
   and its entries as CLOSED, sets `process_uuid` to 0, and unmaps the file. No worker is counted as ended for a file
   with `process_uuid` 0. If the process still has open connections of which the server's pids are known, it keeps the
   file mapped until it makes the next one. The mapping keeps the lock, and by the lock a probe sees that these
   connections have an owner.
5. The kernel drops the lock when the last process that maps the file is gone. The lock alone says that the writer is
   alive; process ids say nothing across namespaces.

What a reader may rely on, and what not:

- state/layout.py says what holds for slots, and so for the six changing values of the header: none is half written, and
  two may be of different moments.
- The magic and the fields before `schema_at` keep their offsets in every version. A reader refuses a file of another
  MAJOR version, and reads one of another MINOR version by the lengths that its header gives.
- A file may hold anything: it may be damaged, or written by another program. `file_parser.parse` returns a `WorkerFile`
  or raises CorruptFile, whatever the bytes are.

Limits: `MAX_FILE_BYTES` for a file, `ENTRIES_READ_MAX` pools in it, `IDENTITY_READ_MAX` bytes for the JSON of a pool.

What a scrape makes for each file and pool is a NamedTuple: a frozen dataclass takes three times as long to make.

Nothing here may open, map or lock a file: file_reader.py reads files and mapped_file.py writes them. What is read is
checked in file_parser.py.
"""

import json
import struct
from collections.abc import MutableSequence
from dataclasses import replace
from hashlib import blake2s
from typing import Final, NamedTuple

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state.layout import SLOT_COUNT
from pool_exporter.workers.reports import copies
from pool_exporter.workers.schema_translation import SCHEMA
from pool_exporter.workers.unit_table import NO_UNITS, TEXTS_BYTES_MIN, WORDS, EntryUnits

MAGIC: Final = b"POOLEXP\0"
BYTE_ORDER: Final = 0x01020304
MAJOR: Final = 1
MINOR: Final = 0
HEADER_BYTES: Final = 256
FILE_BYTES: Final = 64 * 1024
FIRST_FILE_BYTES: Final = FILE_BYTES + copies.BYTES
"""The size of the first file of a process."""
IDENTITY_BYTES: Final = 1024
ENTRY_BYTES: Final = IDENTITY_BYTES + (SLOT_COUNT + WORDS) * 8
ENTRIES_MAX: Final = 14
"""Pool entries in a file that this version writes."""

MAX_FILE_BYTES: Final = 1024 * 1024
"""A larger file is refused without being read."""
ENTRIES_READ_MAX: Final = 256
"""A file that claims more pool entries is refused."""
ENTRY_BYTES_MIN: Final = 2 * 1024
"""A file with more entries for its size is refused: so the size of the volume bounds what its content takes in memory.
Every release has used larger entries."""
IDENTITY_READ_MAX: Final = 2 * IDENTITY_BYTES
"""A file with a longer identity is refused: the identity becomes label values."""

HEADER: Final = struct.Struct("<8sIHHIIII16sIIII6q6q16s16s16s16s")
VERSION_BYTES: Final = 16
_DEGRADED: Final = "+degraded"
ENTRY_HEAD: Final = struct.Struct("<qq")

ENTRIES, STATE, HEARTBEAT, HOOK_ERRORS, DROPPED, TRANSPORT_ERRORS = range(8, 14)
"""Indexes (in units of 8 bytes) of the header's values that change:

- the number of pool entries, and the state of the process;
- the monotonic time of its last heartbeat, in nanoseconds;
- in the first file of a process only: its hook errors, the pools for which there was no space, and the failures of the
  directory.
"""

PROCESS_UUID: Final = 22
"""Index of `process_uuid`, which has two slots; the last change to a file that its process leaves sets them to 0."""

OPEN, CLOSED = 1, 2
"""State of a process or of a pool entry. A dead process that is not CLOSED was killed. A CLOSED pool no longer exists;
its counters remain."""


class Writer(NamedTuple):
    """The process that writes a file, as the header describes it.

    Attributes:
        file_uuid: 16 bytes, unique for the file and part of its name.
        process_uuid: 16 bytes, the same in all files of a process: the `file_uuid` of its first one.
            Zeros in a file that was left.
        boot: 16 bytes that identify the boot of the machine, zeros where that is unknown.
        version: 16 bytes, the version of pool_exporter, padded with zeros. It ends with `+degraded` where the process
            cannot measure its SQLAlchemy; its file has no pool.
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

    @property
    def process(self) -> str:
        """What identifies the process in all files that it has written, also after it has left some or lost them."""
        return f"{self.boot.hex()}-{self.pid_namespace}-{self.pid}-{self.pid_start}"

    @property
    def is_first(self) -> bool:
        """Whether the file is the first of its process."""
        return self.file_uuid == self.process_uuid

    @property
    def is_degraded(self) -> bool:
        """Whether the process cannot measure its SQLAlchemy."""
        return self.version.rstrip(b"\0").endswith(_DEGRADED.encode())


def degraded_version(version: str) -> str:
    """Return the version that a process writes which cannot measure its SQLAlchemy: cut where it has no space."""
    return version[: VERSION_BYTES - len(_DEGRADED)] + _DEGRADED


class PoolEntry(NamedTuple):
    """One pool of a file. Its slots are in the order of this version's layout, whatever release wrote the file."""

    identity: PoolIdentity
    config: PoolConfig
    state: int
    slots: MutableSequence[int]
    units: EntryUnits = NO_UNITS


class WorkerFile(NamedTuple):
    """The content of a worker file. *heartbeat* is a monotonic time in nanoseconds.

    *holders* is the text about what the process holds; b"" where there is none, or only the slots were read.
    """

    writer: Writer
    state: int
    heartbeat: int
    hook_errors: int
    dropped: int
    transport_errors: int
    entries: tuple[PoolEntry, ...]
    holders: bytes = b""

    @property
    def is_first(self) -> bool:
        """Whether this is the first file of its process. To count processes, count these files."""
        return self.writer.is_first

    @property
    def is_owned(self) -> bool:
        """Whether its process has not left it: a file that was left says nothing about a process."""
        return any(self.writer.process_uuid)


def new_file(writer: Writer) -> bytes:
    """Return the bytes of a file without pool entries.

    Raises:
        ValueError: The schema leaves no space for `ENTRIES_MAX` pools.
    """
    schema = json.dumps(SCHEMA, separators=(",", ":")).encode()
    at = FILE_BYTES - ENTRIES_MAX * ENTRY_BYTES
    if aligned(HEADER_BYTES + len(schema)) + TEXTS_BYTES_MIN > at:
        raise ValueError(f"a schema of {len(schema)} bytes leaves no space for {ENTRIES_MAX} pools and their texts")
    size = FIRST_FILE_BYTES if writer.is_first else FILE_BYTES
    offsets = (HEADER_BYTES, len(schema), digest_of(schema), at, ENTRY_BYTES, ENTRIES_MAX, IDENTITY_BYTES)
    changing = (0, OPEN, writer.monotonic, 0, 0, 0)
    times_and_pids = (writer.created, writer.monotonic, writer.pid, writer.pid_start)
    namespaces = (writer.pid_namespace, writer.time_namespace)
    ids = (writer.file_uuid, writer.process_uuid, writer.boot, writer.version)
    versions = (MAGIC, BYTE_ORDER, MAJOR, MINOR, HEADER_BYTES, size)
    header = HEADER.pack(*versions, *offsets, *changing, *times_and_pids, *namespaces, *ids)
    return (header.ljust(HEADER_BYTES, b"\0") + schema).ljust(size, b"\0")


def entries_at(data: bytes | bytearray | memoryview) -> int:
    """Return the offset of the first pool entry in a file that `new_file` made."""
    at: int = HEADER.unpack_from(data)[9]
    return at


def texts_at(data: bytes | bytearray | memoryview) -> int:
    """Return the offset of the texts in a file that `new_file` made."""
    schema_at, schema_bytes = HEADER.unpack_from(data)[6:8]
    return aligned(schema_at + schema_bytes)


def new_entry(identity: PoolIdentity, config: PoolConfig) -> bytes:
    """Return the first `IDENTITY_BYTES` of a pool entry: all but its slots. Names that do not fit are cut."""
    text = _identity_json(identity, config)
    for length in (64, 8):  # A character outside the BMP takes 12 bytes of JSON: 7 names of 64 do not always fit.
        if len(text) > IDENTITY_BYTES - ENTRY_HEAD.size:
            cut = PoolIdentity(*(value[:length] for value in identity.values()))
            text = _identity_json(cut, replace(config, labels={}))
    return (ENTRY_HEAD.pack(len(text), OPEN) + text).ljust(IDENTITY_BYTES, b"\0")


def _identity_json(identity: PoolIdentity, config: PoolConfig) -> bytes:
    pool = {
        "identity": identity.values(),
        "max": config.max,
        "idle_max": config.idle_max,
        "labels": dict(config.labels),
    }
    return json.dumps(pool, separators=(",", ":")).encode()


def digest_of(schema: bytes) -> bytes:
    """Return the digest of a schema that the header has."""
    return blake2s(schema, digest_size=16).digest()


def aligned(size: int) -> int:
    """Return the next offset that 8 divides."""
    return (size + 7) // 8 * 8
