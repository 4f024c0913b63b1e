"""The two copies at the end of a worker file: at every moment at least one of them is whole."""

from binascii import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.workers.reports.copies import BYTES, COPY_BYTES, TEXT_BYTES_MAX, CopiesWriter, newest_text

WORD = 8


def written(*texts: bytes) -> bytearray:
    """Return the bytes after these texts were written."""
    data = bytearray(BYTES)
    writer = CopiesWriter(memoryview(data))
    for text in texts:
        writer.write(text)
    writer.release()
    return data


def test_nothing_was_written() -> None:
    """A new file has no text."""
    assert b"" == newest_text(bytes(BYTES))


def test_newest_text_is_read() -> None:
    """Each text takes the place of the one before the last."""
    texts = [b"first", b"second", b"", b"x" * TEXT_BYTES_MAX]

    assert texts == [newest_text(bytes(written(*texts[: count + 1]))) for count in range(len(texts))]


def test_older_copy_is_read_while_the_newer_is_written() -> None:
    """Whichever of the stores has arrived when the writer is killed, a reader finds the old text or the new one."""
    before, after = written(b"a", b"before"), written(b"a", b"before", b"afterwards")
    at = next(at for at in range(0, BYTES, COPY_BYTES) if after[at : at + WORD] != before[at : at + WORD])
    stores = [slice(at + word * WORD, at + word * WORD + WORD) for word in range(3)] + [slice(at + 24, at + 40)]
    found = set()
    for arrived in range(2 ** len(stores)):
        data = bytearray(before)
        for number, store in enumerate(stores):
            if arrived >> number & 1:
                data[store] = after[store]
        found.add(newest_text(bytes(data)))

    assert {b"before", b"afterwards"} == found


@pytest.mark.parametrize("length", [-1, TEXT_BYTES_MAX + 1, 2**62])
def test_impossible_length_is_no_text(length: int) -> None:
    """A damaged length reads nothing outside of the copy."""
    head = (1).to_bytes(8, "little") + length.to_bytes(8, "little", signed=True)
    data = (head + crc32(b"", crc32(head)).to_bytes(8, "little")).ljust(BYTES, b"\0")

    assert b"" == newest_text(data)


@given(st.binary(max_size=64), st.integers(0, BYTES))
def test_any_bytes_are_read(noise: bytes, place: int) -> None:
    """Bytes that are overwritten by anything give one of the texts, or none."""
    data = written(b"one", b"two")
    data[place : place + len(noise)] = noise

    assert newest_text(bytes(data[:BYTES])) in (b"", b"one", b"two")


@pytest.mark.parametrize("size", [0, 5, COPY_BYTES, BYTES - 1])
def test_file_that_ends_too_early(size: int) -> None:
    """A file without space for both copies has what is whole."""
    assert newest_text(bytes(written(b"one", b"two"))[:size]) in (b"", b"two")
