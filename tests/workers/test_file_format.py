"""The bytes of a worker's file: what is written is read again, and whatever else is read is refused as CorruptFile."""

import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.workers import file_format
from pool_exporter.workers.file_format import (
    ENTRIES,
    ENTRIES_MAX,
    ENTRY_BYTES,
    FILE_BYTES,
    HEADER_BYTES,
    IDENTITY_BYTES,
    OPEN,
    WorkerFile,
    Writer,
    entries_at,
    new_entry,
    new_file,
    parse,
)

WRITER = Writer(b"u" * 16, b"p" * 16, b"b" * 16, b"1.2.3".ljust(16, b"\0"), 10, 20, 30, 40, 50, 60)
IDENTITY = PoolIdentity("orders", "postgresql", "shop", "db", "5432", "api")
CONFIG = PoolConfig(15, 5, {"driver": "asyncpg"})


def filled(records: int = 1) -> bytearray:
    """Return a file with so many records, whose words are all their record's number plus 1."""
    data = bytearray(new_file(WRITER))
    for number in range(records):
        at = entries_at(data) + number * ENTRY_BYTES
        data[at : at + IDENTITY_BYTES] = new_entry(replace(IDENTITY, name=f"orders{number}"), CONFIG)
        slots = memoryview(data)[at + IDENTITY_BYTES : at + ENTRY_BYTES].cast("q")
        for i in range(layout.SLOT_COUNT):
            slots[i] = number + 1
        slots.release()
    header = memoryview(data).cast("q")
    header[ENTRIES] = records
    header.release()
    return data


def test_empty_file_is_read() -> None:
    """A new file tells of its process and of no pool."""
    assert WorkerFile(WRITER, OPEN, WRITER.monotonic, 0, 0, 0, ()) == parse(new_file(WRITER), "f")


@pytest.mark.parametrize("count", [1, 2, ENTRIES_MAX])
def test_records_are_read(count: int) -> None:
    """Every record gives its pool's identity, configuration and words."""
    records = parse(bytes(filled(count)), "f").entries

    assert [f"orders{number}" for number in range(count)] == [record.identity.name for record in records]
    assert [[number + 1] * layout.SLOT_COUNT for number in range(count)] == [list(record.slots) for record in records]
    assert [CONFIG] * count == [record.config for record in records]


def test_file_has_its_size_and_room() -> None:
    """A file is as long as the format says, and its records end before it does."""
    assert FILE_BYTES == len(new_file(WRITER))
    assert entries_at(new_file(WRITER)) + ENTRIES_MAX * ENTRY_BYTES <= FILE_BYTES


def test_long_names_are_cut() -> None:
    """An identity that does not fit its place is cut, so that the pool is seen at all."""
    record = new_entry(PoolIdentity("x" * 5000, "y" * 5000), CONFIG)

    assert IDENTITY_BYTES == len(record)
    assert b'"' + b"x" * 64 + b'"' in record


@pytest.mark.parametrize(
    ("at", "value", "fault"),
    [
        (0, b"NOTMINE\0", "does not begin"),
        (8, b"\1\2\3\4", "does not begin"),
        (12, b"\2\0", "version 2"),
        (20, b"\0\0\0\0", "tells of 0 bytes"),
        (24, b"\xff\xff\0\0", "schema is damaged"),
        (300, b"?", "schema is damaged"),
        (52, b"\7\0\0\0", "do not fit"),
        (52, b"\xf8\xff\xff\0", "beyond its end"),
        (60, b"\xf8\xff\xff\0", "beyond their record"),
        (64, b"\xff", "do not fit"),
        (80, b"\xff" * 8, "below 0"),
    ],
    ids=["magic", "order", "version", "total", "schema", "digest", "odd", "long", "words", "records", "heartbeat"],
)
def test_damaged_header_is_refused(at: int, value: bytes, fault: str) -> None:
    """Each number of the header that cannot be right is refused with what is wrong."""
    data = filled()
    data[at : at + len(value)] = value

    with pytest.raises(CorruptFile, match=fault):
        parse(bytes(data), "f")


@pytest.mark.parametrize("identity", [b"", b"{}", b"[1]", b'{"identity": [1], "max": 1, "idle_max": 1, "labels": {}}'])
def test_damaged_identity_is_refused(identity: bytes) -> None:
    """A record whose pool has no readable name is refused."""
    data = filled()
    at = entries_at(data)
    data[at : at + 16 + len(identity)] = len(identity).to_bytes(8, "little") + data[at + 8 : at + 16] + identity

    with pytest.raises(CorruptFile, match="identity is damaged"):
        parse(bytes(data), "f")


@given(st.binary(max_size=2048))
def test_any_bytes_are_a_file_or_corrupt(data: bytes) -> None:
    """Whatever the bytes are, the result is a WorkerFile or a CorruptFile, and nothing else."""
    try:
        result: object = parse(data, "f")
    except CorruptFile as error:
        result = error

    assert isinstance(result, WorkerFile | CorruptFile)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, HEADER_BYTES + 4000), st.integers(0, 255)), min_size=1, max_size=6))
def test_flipped_bytes_are_a_file_or_corrupt(flips: list[tuple[int, int]]) -> None:
    """A real file with some bytes changed is a WorkerFile or a CorruptFile, and nothing else."""
    data = filled(2)
    for at, value in flips:
        data[at] = value
    try:
        result: object = parse(bytes(data), "f")
    except CorruptFile as error:
        result = error

    assert isinstance(result, WorkerFile | CorruptFile)


def test_labels_that_are_not_ours_are_left_out() -> None:
    """Only the configuration labels of the catalogue are taken from a file: the rest is somebody else's text."""
    data = filled()
    at = entries_at(data)
    data[at : at + IDENTITY_BYTES] = new_entry(IDENTITY, PoolConfig(1, 1, {"driver": "d", "sql": "SELECT secret"}))

    assert {"driver": "d"} == parse(bytes(data), "f").entries[0].config.labels


def test_process_identifiers_differ() -> None:
    """Two files of one process are told apart by their uuid, and known for one process by the other."""
    other = replace(WRITER, file_uuid=os.urandom(16))

    assert parse(new_file(other), "f").writer.process_uuid == parse(new_file(WRITER), "g").writer.process_uuid
    assert parse(new_file(other), "f").writer.file_uuid != parse(new_file(WRITER), "g").writer.file_uuid
    assert file_format.MAJOR == 1
