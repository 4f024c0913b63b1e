"""The format of a worker file: what is written is read again, and all other bytes are a CorruptFile."""

import json
import os
import sys
from dataclasses import replace
from hashlib import blake2s

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.workers import file_format, file_parser
from pool_exporter.workers.file_format import (
    ENTRIES,
    ENTRIES_MAX,
    ENTRY_BYTES,
    ENTRY_HEAD,
    FILE_BYTES,
    HEADER,
    HEADER_BYTES,
    IDENTITY_BYTES,
    OPEN,
    WorkerFile,
    Writer,
    entries_at,
    new_entry,
    new_file,
)
from pool_exporter.workers.file_parser import parse
from pool_exporter.workers.schema_translation import SCHEMA

WRITER = Writer(b"u" * 16, b"p" * 16, b"b" * 16, b"1.2.3".ljust(16, b"\0"), 10, 20, 30, 40, 50, 60)
IDENTITY = PoolIdentity("orders", "postgresql", "shop", "db", "5432", "api")
CONFIG = PoolConfig(15, 5, {"driver": "asyncpg"})


def filled(records: int = 1) -> bytearray:
    """Return a file with so many entries; every slot of an entry is the entry's number plus 1."""
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


def test_big_endian_machine_reads_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are little-endian: a reader that would take the bytes of each slot in the other order refuses them."""
    monkeypatch.setattr(sys, "byteorder", "big")
    with pytest.raises(CorruptFile, match="this machine is big-endian") as caught:
        parse(bytes(filled()), "f")

    assert "version" == caught.value.reason


def test_empty_file_is_read() -> None:
    """A new file describes its process, and has no pool."""
    assert WorkerFile(WRITER, OPEN, WRITER.monotonic, 0, 0, 0, ()) == parse(new_file(WRITER), "f")


@pytest.mark.parametrize("count", [1, 2, ENTRIES_MAX])
def test_records_are_read(count: int) -> None:
    """Every entry gives its pool's identity, configuration and slots."""
    records = parse(bytes(filled(count)), "f").entries

    assert [f"orders{number}" for number in range(count)] == [record.identity.name for record in records]
    assert [[number + 1] * layout.SLOT_COUNT for number in range(count)] == [list(record.slots) for record in records]
    assert [CONFIG] * count == [record.config for record in records]


def test_file_has_its_size_and_room() -> None:
    """A file has the size of the format, and its entries end before it does."""
    assert FILE_BYTES == len(new_file(WRITER))
    assert entries_at(new_file(WRITER)) + ENTRIES_MAX * ENTRY_BYTES <= FILE_BYTES


def test_long_names_are_cut() -> None:
    """An identity that does not fit is cut, so that the pool is shown at all."""
    record = new_entry(PoolIdentity("x" * 5000, "y" * 5000), CONFIG)

    assert IDENTITY_BYTES == len(record)
    assert b'"' + b"x" * 64 + b'"' in record


def test_long_names_outside_the_bmp_are_cut() -> None:
    """A character that takes 12 bytes of JSON is no reason to fail: issue 10, item 28."""
    entry = new_entry(PoolIdentity(*["\N{PILE OF POO}" * 200] * 7), CONFIG)

    assert IDENTITY_BYTES == len(entry)


@pytest.mark.parametrize(
    "identity",
    [
        b'{"identity": ["x"], "max": 1%s, "idle_max": null, "labels": {}}' % (b"0" * 400),
        b'{"identity": ["x"], "max": -5, "idle_max": null, "labels": {}}',
        b'{"identity": ["x"], "max": 1.5, "idle_max": null, "labels": {}}',
        b'{"identity": ["x"], "max": true, "idle_max": null, "labels": {}}',
        b'{"identity": ["x"], "max": null, "idle_max": 1e999, "labels": {}}',
    ],
    ids=["huge", "negative", "float", "bool", "infinite"],
)
def test_impossible_limit_is_refused(identity: bytes) -> None:
    """A limit is a whole number that a float can hold: issue 10, item 20."""
    data = filled()
    at = entries_at(data)
    data[at : at + 16 + len(identity)] = len(identity).to_bytes(8, "little") + data[at + 8 : at + 16] + identity

    with pytest.raises(CorruptFile, match="identity of an entry is damaged"):
        parse(bytes(data), "f")


def with_schema(schema: dict[str, object]) -> bytes:
    """Return a file with another schema, and the right digest."""
    text = json.dumps(schema, separators=(",", ":")).encode()
    fields = list(HEADER.unpack_from(filled()))
    data, old = filled(), entries_at(filled())
    fields[7:10] = [len(text), blake2s(text, digest_size=16).digest(), (HEADER_BYTES + len(text) + 7) // 8 * 8]
    header = HEADER.pack(*fields).ljust(HEADER_BYTES, b"\0")
    return ((header + text).ljust(fields[9], b"\0") + data[old:])[:FILE_BYTES].ljust(FILE_BYTES, b"\0")


def test_schema_with_a_float_is_refused() -> None:
    """In JSON 282.0 equals 282, and no slice takes it: issue 10, item 20."""
    with pytest.raises(CorruptFile, match="schema"):
        parse(with_schema({**SCHEMA, "words": float(layout.SLOT_COUNT)}), "f")
    assert 1 == len(parse(with_schema(dict(SCHEMA)), "f").entries)


def test_any_error_of_reading_is_corrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a check forgot, the result is a CorruptFile."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(file_parser, "_entry", fail)

    with pytest.raises(CorruptFile, match="ZeroDivisionError"):
        parse(bytes(filled()), "f")


def test_too_many_pools_or_too_long_names_are_refused() -> None:
    """What one file may cost a reader is bounded: issue 10, item 25."""
    data = filled()
    head = [*HEADER.unpack_from(data)]
    head[10:14] = [8, 10_000, 0, 1_000]
    data[:HEADER_BYTES] = HEADER.pack(*head).ljust(HEADER_BYTES, b"\0")

    with pytest.raises(CorruptFile, match="at most 256"):
        parse(bytes(data), "f")
    with pytest.raises(ValueError, match="head of an entry"):
        file_parser._entry(ENTRY_HEAD.pack(9_000, OPEN) + bytes(20_000), 10_000, 1, list, None)


@pytest.mark.parametrize(
    ("at", "value", "fault"),
    [
        (0, b"NOTMINE\0", "does not begin"),
        (8, b"\1\2\3\4", "does not begin"),
        (12, b"\2\0", "version 2"),
        (20, b"\0\0\0\0", "says 0 bytes"),
        (24, b"\xff\xff\0\0", "schema is damaged"),
        (300, b"?", "schema is damaged"),
        (52, b"\7\0\0\0", "do not fit"),
        (52, b"\xf8\xff\xff\0", "beyond its end"),
        (60, b"\xf8\xff\xff\0", "beyond their entry"),
        (64, b"\xff", "do not fit"),
        (80, b"\xff" * 8, "below 0"),
    ],
    ids=["magic", "order", "version", "total", "schema", "digest", "odd", "long", "words", "records", "heartbeat"],
)
def test_damaged_header_is_refused(at: int, value: bytes, fault: str) -> None:
    """Each number of the header that cannot be right is refused, and the error says what is wrong."""
    data = filled()
    data[at : at + len(value)] = value

    with pytest.raises(CorruptFile, match=fault):
        parse(bytes(data), "f")


@pytest.mark.parametrize("identity", [b"", b"{}", b"[1]", b'{"identity": [1], "max": 1, "idle_max": 1, "labels": {}}'])
def test_damaged_identity_is_refused(identity: bytes) -> None:
    """An entry is refused if its pool has no readable name."""
    data = filled()
    at = entries_at(data)
    data[at : at + 16 + len(identity)] = len(identity).to_bytes(8, "little") + data[at + 8 : at + 16] + identity

    with pytest.raises(CorruptFile, match="identity of an entry is damaged"):
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


def test_unknown_labels_are_left_out() -> None:
    """Only the configuration labels of the catalogue are taken from a file: any other text is ignored."""
    data = filled()
    at = entries_at(data)
    data[at : at + IDENTITY_BYTES] = new_entry(IDENTITY, PoolConfig(1, 1, {"driver": "d", "sql": "SELECT secret"}))

    assert {"driver": "d"} == parse(bytes(data), "f").entries[0].config.labels


def test_process_identifiers_differ() -> None:
    """Two files of one process differ in `file_uuid` and agree in `process_uuid`."""
    other = WRITER._replace(file_uuid=os.urandom(16))

    assert parse(new_file(other), "f").writer.process_uuid == parse(new_file(WRITER), "g").writer.process_uuid
    assert parse(new_file(other), "f").writer.file_uuid != parse(new_file(WRITER), "g").writer.file_uuid
    assert file_format.MAJOR == 1
