"""What stands beside a use's row: the server's number of the connection, and the name of who checked it out.

Only who reads the words elsewhere wants it, so it is written when a connection is opened, or looked at; never by a
transition, and never read by one.
"""

from pool_exporter.layout import OWNER_ROW, OWNER_WORDS, SERVER_ROW, USE_ROW
from pool_exporter.slots import Words


def write_server(words: Words, row: int, number: int) -> None:
    """Write the number by which the server knows the connection; *row* is 0 for a connection without one."""
    if row:
        words[SERVER_ROW + row - USE_ROW] = number


def write_owner(words: Words, row: int, name: str) -> None:
    """Write the first bytes of the owner's name."""
    start = OWNER_ROW + (row - USE_ROW) * OWNER_WORDS
    text = name.encode()[: OWNER_WORDS * 8].ljust(OWNER_WORDS * 8, b"\0")
    for i in range(OWNER_WORDS if row else 0):
        words[start + i] = int.from_bytes(text[i * 8 : i * 8 + 8], "little", signed=True)


def read_owner(words: Words, row: int) -> str:
    """Return what `write_owner` wrote, without a character that was cut in two."""
    start = OWNER_ROW + (row - USE_ROW) * OWNER_WORDS
    text = b"".join(word.to_bytes(8, "little", signed=True) for word in words[start : start + OWNER_WORDS])
    return text.rstrip(b"\0").decode(errors="ignore")
