"""The words of one pool, writable: a view of signed 64-bit words over any buffer, memory or a mapped file.

How they are written (state.py is the only writer): an aligned word of a cast view is stored in one piece, which
`struct.pack_into` does not do, so a reader in another process never sees half of one. `words[i] += n` in a straight
line, with no call between the read and the store, loses no update on CPython with the GIL, because the interpreter
hands the GIL over only at calls and loops. There is no lock: SQLAlchemy returns a lost connection from a finalizer, on
whatever thread allocates, and a plain lock that this thread holds already would never be given back (locked.py has what
interpreters without the GIL need).
"""

from pool_exporter.layout import WORDS

Words = memoryview
"""A view of `layout.WORDS` words; indexing it gives and takes int."""


def allocate() -> "Words[int]":
    """Return the words of a new pool, all zero, in memory."""
    return memoryview(bytearray(WORDS * 8)).cast("q")
