"""The names of the living pools of this process; the second of a name gets `#2`.

Nothing here may search: taking and freeing a name costs the same for the first pool and for the 5,000th.
"""

from typing import Final

_MANY: Final = 10**9
"""More pools than a process can have."""


class PoolNames:
    """The names that are taken, and from which number on to look for a free one."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def take(self, name: str) -> str:
        """Return *name*, or the first of `name#2`, `name#3`, … that is free, and take it."""
        number = self._next.get(name, 1)
        while (unique := _numbered(name, number)) in self._taken:
            number += 1
        self._taken.add(unique)
        self._next[name] = number + 1
        return unique

    def free(self, unique: str) -> None:
        """Give back a name that `take` returned; another thread may be inside `take`."""
        self._taken.discard(unique)
        name, _, number = unique.rpartition("#")
        begin = self._next.get(name)
        if begin is not None and number.isdecimal() and len(number) < len(str(_MANY)) and int(number) < begin:
            self._next[name] = int(number)
        self._next.pop(unique, None)  # From 1 on again.


def without_number(unique: str) -> str:
    """Return the name for which `take` returned *unique*, or *unique* if that ends with no number of two or more."""
    name, _, number = unique.rpartition("#")
    return name if name and number.isdecimal() and number.isascii() and number[0] != "0" and number != "1" else unique


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}#{number}"
