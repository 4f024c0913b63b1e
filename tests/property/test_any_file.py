"""Any bytes as a worker file, or as the totals, give a snapshot or a CorruptFile, and nothing else.

Random bytes are refused at the first eight; so most of these are files as workers write them, with a part changed.
`make fuzz` reads more of them, as FUZZ_FACTOR says.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2s
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.holders import Holder, Waiter
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.state import layout
from pool_exporter.web.responses import Request, respond
from pool_exporter.workers.dead_worker_totals import TOTALS_FILE, Totals, load
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_format import FIRST_FILE_BYTES, HEADER, HEADER_BYTES, WorkerFile
from pool_exporter.workers.file_parser import parse
from pool_exporter.workers.file_reader import name_of
from pool_exporter.workers.file_writer import WorkerFiles
from pool_exporter.workers.reports.directory_reports import DirectoryReports
from pool_exporter.workers.schema_translation import SCHEMA

FACTOR = int(os.environ.get("FUZZ_FACTOR", "1"))
MEMORY = "/dev/shm"  # noqa: S108  # directories of their own are made in it
FILE = f"w-{'0' * 32}.pool"


@contextmanager
def directory() -> Iterator[Path]:
    """Lend a directory, in memory where there is such a place."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as path:
        yield Path(path)


@cache
def valid() -> bytes:
    """Return a file with two pools that have been used."""
    with directory() as place:
        worker = WorkerFiles(place, "1.2.3")
        for name in ("orders", "users"):
            slots = worker.allocate(PoolIdentity(name, "postgresql", "shop"), PoolConfig(15, 5, {"driver": "asyncpg"}))
            assert slots is not None
            slots[layout.OPEN_COUNT] = slots[layout.CONNECTS] = 3
            slots[layout.CHECKOUT_TIMES] = slots[layout.PENDING_TIMES] = layout.SECOND
            report = PoolReport(PoolIdentity(name), (Holder(1.0, "a.py:1 in f"),), (Waiter(1.0),), "leak", "leaks")
            worker.write_holders([(slots, 2 * layout.SECOND, report)], 1.5)
        [path] = place.glob("w-*")
        data = path.read_bytes()
        worker.unmap()
    return data


UUID_AT = HEADER.size - 4 * 16
SCHEMA_END = HEADER_BYTES + len(json.dumps(SCHEMA, separators=(",", ":")))
PLACES = st.one_of(
    st.integers(0, HEADER.size - 1), st.integers(HEADER_BYTES, SCHEMA_END), st.integers(0, FIRST_FILE_BYTES - 1)
)
CHANGES = st.lists(st.tuples(PLACES, st.binary(min_size=1, max_size=9)), min_size=1, max_size=6)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def replaced(draw: st.DrawFn, *where: Any) -> None:  # any part of any JSON
    """Replace one value of any JSON by another, or remove it."""
    part = draw(st.sampled_from([each for each in where if each]))
    keys = st.sampled_from(sorted(part)) if isinstance(part, dict) else st.integers(0, len(part) - 1)
    key = draw(keys)
    if draw(st.booleans()):
        part[key] = draw(JSON | st.integers(-2, 2 * layout.SLOT_COUNT))
    else:
        del part[key]


@st.composite
def schemas(draw: st.DrawFn) -> Any:  # JSON
    """Return the package's schema with some of its values replaced."""
    schema = json.loads(json.dumps(SCHEMA))
    parts = [*[schema] * 8, *(part for part in schema.values() if isinstance(part, dict)), *schema["labelled"].values()]
    for _ in range(draw(st.integers(1, 2))):
        replaced(draw, *parts, schema["bounds_ns"])
        if not isinstance(schema.get("bounds_ns"), list):
            break
    return schema


class File(bytes):
    """The bytes of a file; its `repr` shows how it differs from the valid one."""

    def __repr__(self) -> str:
        changed = {at: new for at, (new, old) in enumerate(zip(self, valid(), strict=False)) if new != old}
        return f"<{len(self)} bytes, {changed}>"[:4000]


def with_schema(schema: object) -> bytes:
    """Return a valid file with another schema and a header that fits it, if there is space."""
    text, data = json.dumps(schema, separators=(",", ":")).encode(), bytearray(valid())
    text = text[: SCHEMA_END - HEADER_BYTES]
    data[HEADER_BYTES : HEADER_BYTES + len(text)] = text
    data[28:32] = len(text).to_bytes(4, "little")
    data[32:48] = blake2s(text, digest_size=16).digest()
    return bytes(data)


def with_changes(changes: list[tuple[int, bytes]]) -> bytes:
    """Return a valid file with bytes overwritten."""
    data = bytearray(valid())
    for place, new in changes:
        data[place : place + len(new)] = new
    return bytes(data[:FIRST_FILE_BYTES])


def with_length(length: int) -> bytes:
    """Return a valid file, cut or made longer."""
    return valid()[:length].ljust(length, b"\xff")


def damaged() -> st.SearchStrategy[File]:
    """Return files with another schema, with bytes overwritten, or of another length."""
    lengths = st.integers(0, FIRST_FILE_BYTES + 4096)
    kinds = (schemas().map(with_schema), CHANGES.map(with_changes), lengths.map(with_length))
    return st.one_of(*kinds).map(File)


@st.composite
def totals(draw: st.DrawFn) -> bytes:
    """Return totals with one of their values replaced by anything."""
    slots: list[Any] = [0] * layout.SLOT_COUNT
    stored: dict[str, Any] = {
        "schema": json.loads(json.dumps(SCHEMA)),
        "pools": [[PoolIdentity("orders").values(), slots]],
        "folded": [FILE],
        "ended": {"crashed": 1},
        "counts": [0, 0, 0],
    }
    replaced(draw, stored, stored["schema"], stored["pools"][0], slots, stored["ended"])
    return json.dumps(stored).encode()


def read(place: Path) -> int:
    """Return the status of two scrapes of a directory, the second after the first has compacted it."""
    assert isinstance(DirectoryReports(place)(), tuple)
    reader = DirectoryReader(place)
    answers = {respond(Request("GET", "/metrics", "", ""), reader).status for _ in range(2)}
    [status] = answers
    assert isinstance(reader(), Snapshot)
    return status


@settings(max_examples=300 * FACTOR)
@given(st.one_of(damaged(), st.binary(max_size=2048)))
def test_any_bytes_are_a_file_or_corrupt(data: bytes) -> None:
    """The parser gives a WorkerFile or raises CorruptFile."""
    with suppress(CorruptFile):
        assert isinstance(parse(data, "f"), WorkerFile)


@settings(max_examples=100 * FACTOR)
@given(damaged())
def test_any_file_is_served_or_set_aside(data: bytes) -> None:
    """Whatever a dead worker's file holds, scrapes are answered: before it is compacted and after."""
    with directory() as place:
        (place / name_of(valid()[UUID_AT : UUID_AT + 16])).write_bytes(data)

        assert 200 == read(place)


@settings(max_examples=100 * FACTOR)
@given(damaged())
def test_any_file_of_a_living_worker_is_served_or_set_aside(data: bytes) -> None:
    """Whatever a living worker's file holds, scrapes are answered."""
    with directory() as place:
        worker = WorkerFiles(place, "1")
        [path] = place.glob("w-*")
        uuid = path.read_bytes()[UUID_AT : UUID_AT + 16]  # Otherwise every file would be a copy of another.
        with path.open("r+b") as file:
            file.write((data[:UUID_AT] + uuid + data[UUID_AT + 16 :])[:FIRST_FILE_BYTES])

        assert 200 == read(place)
        worker.unmap()


@settings(max_examples=100 * FACTOR)
@given(st.one_of(st.binary(max_size=200), JSON.map(lambda value: json.dumps(value).encode()), totals()))
def test_any_totals_are_read_or_corrupt(data: bytes) -> None:
    """Totals are read or refused; either way scrapes are answered."""
    with directory() as place:
        (place / TOTALS_FILE).write_bytes(data)
        with suppress(CorruptFile):
            assert isinstance(load(place), Totals)

        assert 200 == read(place)
