"""The words of one pool, writable: a list in memory, or a view of signed 64-bit words over a mapped file.

How they are written (state.py is the only writer): an aligned word of a cast view is stored in one piece, which
`struct.pack_into` does not do, so a reader in another process never sees half of one. `words[i] += n` in a straight
line, with no call between the read and the store, loses no update on CPython with the GIL, because the interpreter
hands the GIL over only at calls and loops. There is no lock: SQLAlchemy returns a lost connection from a finalizer, on
whatever thread allocates, and a plain lock that this thread holds already would never be given back (locked.py has what
interpreters without the GIL need).
"""

from collections.abc import MutableSequence
from typing import TypeAlias

from pool_exporter.layout import WORDS

Words: TypeAlias = MutableSequence[int]
"""`layout.WORDS` numbers, of 63 bits and a sign."""


def allocate() -> Words:
    """Return the words of a new pool, all zero, in memory: a list takes half the time of a view."""
    return [0] * WORDS
