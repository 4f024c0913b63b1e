"""Parses the bytes of a worker file: the result is a `WorkerFile` or a CorruptFile, whatever the bytes are.

The format is in file_format.py. Pure functions of bytes; nothing here may open a file.
"""

import json
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Final, NamedTuple

from pool_exporter.encodable import encodable
from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_metrics import INFO_LABELS
from pool_exporter.state import layout
from pool_exporter.workers import unit_table
from pool_exporter.workers.file_format import (
    BYTE_ORDER,
    CLOSED,
    ENTRIES_READ_MAX,
    ENTRY_BYTES_MIN,
    ENTRY_HEAD,
    HEADER,
    HEADER_BYTES,
    IDENTITY_READ_MAX,
    MAGIC,
    MAJOR,
    OPEN,
    PoolEntry,
    WorkerFile,
    Writer,
    aligned,
    digest_of,
)
from pool_exporter.workers.reports import copies
from pool_exporter.workers.reports.copies import newest_text
from pool_exporter.workers.schema_translation import translator
from pool_exporter.workers.unit_table import WORDS, read_texts, read_units

Translate = Callable[[Sequence[int]], list[int]]
"""Turns the slots of a file into slots in the order of this version's layout."""

_NUMBER_MAX: Final = 2**62
"""No count and no sum of times reaches it; the bits of a NaN and half of all random numbers do."""
_ZEROS: Final = bytes(layout.SERVER_PIDS)


class _Header(NamedTuple):
    """The header of a file, in the order of HEADER; file_format.py says what each value is."""

    magic: bytes
    byte_order: int
    major: int
    minor: int
    header_bytes: int
    size: int
    schema_at: int
    schema_bytes: int
    digest: bytes
    entries_at: int
    entry_bytes: int
    entries_max: int
    slots_at: int
    entries: int
    state: int
    heartbeat: int
    hook_errors: int
    dropped: int
    transport_errors: int
    created: int
    monotonic: int
    pid: int
    pid_start: int
    pid_namespace: int
    time_namespace: int
    file_uuid: bytes
    process_uuid: bytes
    boot: bytes
    version: bytes

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers that are not negative in any file: all from the heartbeat on."""
        of_process = self.created, self.monotonic, self.pid, self.pid_start, self.pid_namespace, self.time_namespace
        return (self.heartbeat, self.hook_errors, self.dropped, self.transport_errors, *of_process)

    @property
    def writer(self) -> Writer:
        """The process that writes the file: all fields that `Writer` has."""
        return Writer(*_of_writer(self))


_of_writer: Final = attrgetter(*Writer._fields)


def filled_bytes(header: bytes, size: int) -> int:
    """Return how many bytes of a file of *size* bytes have content, going by its header. The header may be damaged."""
    if len(header) < HEADER.size:
        return size
    found = _Header._make(HEADER.unpack_from(header))
    return min(size, max(HEADER_BYTES, found.entries_at + max(0, found.entries) * found.entry_bytes))


def parse(data: bytes, path: str, size: int | None = None) -> WorkerFile:
    """Read the content of a worker file.

    Args:
        data: The bytes of the file: all of them, or the first `filled_bytes`, which lack what the process holds.
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
    except Exception as error:  # noqa: BLE001  # damage that no check finds must not fail the scrape
        raise CorruptFile(path, f"its content is damaged: {type(error).__name__}") from None


def _parse(data: bytes, path: str, size: int) -> WorkerFile:
    if len(data) < HEADER_BYTES:
        raise ValueError(f"it has {len(data)} bytes, a header has {HEADER_BYTES}")
    header = _Header._make(HEADER.unpack_from(data))
    if header.magic != MAGIC or header.byte_order != BYTE_ORDER:
        raise ValueError("it does not begin with the magic and the byte order of a worker file")
    if sys.byteorder != "little":
        raise CorruptFile(path, "its numbers are little-endian, and this machine is big-endian", "version")
    if header.major != MAJOR:
        raise CorruptFile(path, f"it is of version {header.major}, this reader knows {MAJOR}", "version")
    if header.header_bytes < HEADER_BYTES or header.size != size:
        raise ValueError(f"its header says {header.size} bytes, there are {size}")
    return _content(data, header)


def _content(data: bytes, header: _Header) -> WorkerFile:
    first, entry_bytes, entries_max = header.entries_at, header.entry_bytes, header.entries_max
    slots_at, count, schema_end = header.slots_at, header.entries, header.schema_at + header.schema_bytes
    if not 0 <= count <= entries_max or first % 8 or entry_bytes % 8 or slots_at % 8:
        raise ValueError(f"its {count} entries of {entry_bytes} bytes do not fit its space for {entries_max}")
    if count > ENTRIES_READ_MAX or count * ENTRY_BYTES_MIN > header.size:
        raise ValueError(f"it has {count} entries, at most {ENTRIES_READ_MAX} are read, and one in 2 KiB")
    if first + count * entry_bytes > len(data):
        raise ValueError("its entries reach beyond its end")
    if min(header.numbers) < 0:
        raise ValueError("its header has a number below 0")
    slot_count, translate, has_units, has_holders = _translator(data[header.schema_at : schema_end], header.digest)
    if slots_at < ENTRY_HEAD.size or slots_at + slot_count * 8 > entry_bytes:
        raise ValueError("its slots reach beyond their entry")
    starts = range(first, first + count * entry_bytes, entry_bytes)
    texts = read_texts(data[aligned(schema_end) : first]) if has_units else None
    entries = tuple(_entry(data[at : at + entry_bytes], slots_at, slot_count, translate, texts) for at in starts)
    behind = first + entries_max * entry_bytes
    holders = newest_text(data[behind : behind + copies.BYTES]) if has_holders else b""
    return WorkerFile(
        header.writer,
        header.state,
        header.heartbeat,
        header.hook_errors,
        header.dropped,
        header.transport_errors,
        entries,
        holders,
    )


@lru_cache(maxsize=16)
def _translator(schema: bytes, digest: bytes) -> tuple[int, Translate, bool, bool]:
    """Return how many slots a schema describes, and what translates them.

    Also whether it has this version's unit table, and this version's copies of what the process holds. Cached: all
    workers of a release have it.
    """
    if digest_of(schema) != digest:
        raise ValueError("its schema is damaged")
    try:
        described = json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its schema is no JSON: {error}") from None
    translate = translator(described)
    slot_count = described["words"]
    if type(slot_count) is not int:  # In JSON 282.0 equals 282, and no slice takes it.
        raise ValueError(f"its schema has {slot_count!r} slots")
    has_units, has_holders = described.get("unit_table") == unit_table.SCHEMA, described.get("holders") == copies.SCHEMA
    return slot_count, translate, has_units, has_holders


def _entry(data: bytes, slots_at: int, slot_count: int, translate: Translate, texts: Sequence[str] | None) -> PoolEntry:
    length, state = ENTRY_HEAD.unpack_from(data)
    if not 0 <= length <= min(IDENTITY_READ_MAX, slots_at - ENTRY_HEAD.size) or state not in (OPEN, CLOSED):
        raise ValueError("the head of an entry is damaged")
    identity, config = _identity(data[ENTRY_HEAD.size : ENTRY_HEAD.size + length])
    # An array holds no objects that the garbage collector has to visit, and creates only those that are read.
    stored = array("q", data[slots_at : slots_at + slot_count * 8])
    slots = stored if translate is list else translate(stored)
    # If the highest byte of every number is 0, no number has to be checked. In another layout that says nothing.
    is_small = translate is list and data[slots_at + 7 : slots_at + layout.SERVER_PIDS * 8 : 8] == _ZEROS
    if not is_small and _has_impossible(slots[: layout.SERVER_PIDS]):
        raise ValueError("an entry has an impossible number")
    if texts is None:
        return PoolEntry(identity, config, state, slots)
    behind = slots_at + slot_count * 8
    return PoolEntry(identity, config, state, slots, read_units(data[behind : behind + WORDS * 8], texts))


def _has_impossible(numbers: Sequence[int]) -> bool:
    negative = {at for at, number in enumerate(numbers) if number < 0}
    return max(numbers) >= _NUMBER_MAX or not negative <= layout.SIGNED_SLOTS


@lru_cache(maxsize=16_384)
def _identity(text: bytes) -> tuple[PoolIdentity, PoolConfig]:
    """Read the JSON of an entry. Cached: it never changes. It becomes label values, so only text is accepted."""
    try:
        pool = json.loads(text)
        labels = {key: encodable(str(value)) for key, value in pool["labels"].items() if key in INFO_LABELS}
        identity = PoolIdentity(*map(_text, pool["identity"]))
        return identity, PoolConfig(_limit(pool, "max"), _limit(pool, "idle_max"), labels)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"the identity of an entry is damaged: {error!r}") from None


def _limit(pool: Mapping[str, object], name: str) -> int | None:
    limit = pool[name]
    if limit is not None and (type(limit) is not int or not 0 <= limit < _NUMBER_MAX):
        raise ValueError(f"{name} must be null or a whole number from 0 to {_NUMBER_MAX - 1}, not {limit!r:.40}")
    return limit


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a name must be text, not {type(value).__name__}")
    return encodable(value)
