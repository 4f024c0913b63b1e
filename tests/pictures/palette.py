"""Makes a PNG of Chromium smaller: at most 256 colours, one byte a pixel. Standard library only."""

import zlib
from struct import pack, unpack


def smaller(png: bytes) -> bytes:
    """Return a picture of at most 256 colours: of more, each takes that of the most frequent ones that is nearest."""
    width, height, rows = _pixels(png)
    counts: dict[bytes, int] = {}
    for row in rows:
        for start in range(0, len(row), 3):
            colour = row[start : start + 3]
            counts[colour] = counts.get(colour, 0) + 1
    palette = sorted(counts, key=lambda each: -counts[each])[:256]
    index = {colour: palette.index(min(palette, key=lambda each: _distance(each, colour))) for colour in counts}
    lines = b"".join(b"\0" + bytes(index[row[at : at + 3]] for at in range(0, len(row), 3)) for row in rows)
    chunks = (
        (b"IHDR", pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", b"".join(palette)),
        (b"IDAT", zlib.compress(lines, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _distance(one: bytes, other: bytes) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))


def _pixels(png: bytes) -> tuple[int, int, list[bytes]]:
    """Return width, height and the rows of an RGB picture, three bytes a pixel."""
    data, at, parts = b"", 8, []
    while at < len(png):
        (length,), kind = unpack(">I", png[at : at + 4]), png[at + 4 : at + 8]
        parts.append((kind, png[at + 8 : at + 8 + length]))
        at += length + 12
    width, height, depth, colours = unpack(">IIBB", parts[0][1][:10])
    size = {2: 3, 6: 4}[colours]
    assert depth == 8
    data = zlib.decompress(b"".join(body for kind, body in parts if kind == b"IDAT"))
    rows, before = [], bytearray(width * size)
    for row in range(height):
        start = row * (width * size + 1)
        before = _unfiltered(data[start], bytearray(data[start + 1 : start + 1 + width * size]), before, size)
        rows.append(
            bytes(before) if size == 3 else b"".join(bytes(before[x : x + 3]) for x in range(0, len(before), 4))
        )
    return width, height, rows


def _unfiltered(kind: int, line: bytearray, above: bytearray, size: int) -> bytearray:
    for at in range(len(line)):
        left = line[at - size] if at >= size else 0
        corner = above[at - size] if at >= size else 0
        guess = (0, left, above[at], (left + above[at]) // 2, _paeth(left, above[at], corner))[kind]
        line[at] = (line[at] + guess) & 255
    return line


def _paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda each: abs(guess - each))
