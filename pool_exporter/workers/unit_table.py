"""The part of a worker file that says which units of work use the connections of its pools.

The names are in one table of texts for the whole file, between the schema and the first pool entry: their number, then
each text as its length (16 bits) and its bytes. Behind the slots of each pool entry, in further 64-bit numbers:

- the nanoseconds of ended uses, of up to `UNITS_MAX` units and then of all others;
- for each of these units, the number of its name in the table of texts (16 bits each); 0 where there is no unit yet;
- for each tracked checkout, the unit that holds its connection (8 bits each): 0 for none, else its index plus 1.

The writer's heartbeat thread stores all of it, once a second. A text and an index, once given, never change; the number
of the texts is stored after the text, and a unit's time after its name. On x86-64 a reader sees these stores in that
order. On arm64 it may see a later one first: then the text is empty or cut, or the unit has no name, until it reads
again. What has no index or no name, or is not written yet, counts as used without a unit. A reader of an earlier
release skips both parts.

Pure functions of bytes and stores into views that are given; nothing here may open a file.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pool_exporter.metrics.unit_use import OTHER, UNITS_MAX
from pool_exporter.state.aggregate import last_moment
from pool_exporter.state.layout import CHECKOUT_TIMES, ORIGIN, TRACKED_MAX, Slots
from pool_exporter.state.unit_uses import UnitTotals, add_open, ended_totals

_NAMES_AT: Final = UNITS_MAX + 1
_CHECKOUTS_AT: Final = _NAMES_AT + (UNITS_MAX + 3) // 4
WORDS: Final = _CHECKOUTS_AT + (TRACKED_MAX + 7) // 8
"""How many 64-bit numbers are behind the slots of a pool entry."""
SCHEMA: Final[Mapping[str, object]] = {"words": WORDS, "units": UNITS_MAX, "row_count": TRACKED_MAX}
"""What the schema of a worker file says of them; a reader with another table leaves them out."""

TEXTS_BYTES_MIN: Final = 4096
"""A file has at least so much space for texts."""

_CHARACTERS_MAX: Final = 200
_BYTES_MAX: Final = 2 * _CHARACTERS_MAX
_TEXTS_MAX: Final = 0xFFFF
_LENGTH: Final = struct.Struct("<H")
_COUNT: Final = struct.Struct("<q")
_NUMBER_MAX: Final = 2**62
_ZEROS: Final = bytes(WORDS * 8)


@dataclass(frozen=True, slots=True)
class EntryUnits:
    """What units use of one pool entry.

    Attributes:
        ns_by_name: Nanoseconds of ended uses by the name of the unit.
        holders: The name of the unit of each tracked checkout, in the order of their slots; "" for none.
    """

    ns_by_name: Mapping[str, int] = field(default_factory=dict)
    holders: Sequence[str] = ()

    def totals(self, slots: Slots, written: int, until: int) -> UnitTotals:
        """Return what the units hold and have used.

        Args:
            slots: The slots of the entry.
            written: When the units were written; a checkout that began later has another unit. Nanoseconds of the
                writer's monotonic clock, as *until*.
            until: The time up to which open uses are counted.
        """
        if self is NO_UNITS:  # As most of many pools.
            return {}
        totals, origin = ended_totals(self.ns_by_name), slots[ORIGIN]
        for at, name in enumerate(self.holders):
            since = slots[CHECKOUT_TIMES + at]
            if name and since and origin + since <= written:
                add_open(totals, name, max(0, until - origin - since))
        return totals

    def final(self, slots: Slots, written: int, until: int) -> dict[str, int]:
        """Return what the units of a process that has ended have used; the arguments are those of `totals`."""
        totals = self.totals(slots, written, last_moment(slots, until)) if self.ns_by_name else {}
        return {name: ns for name, (_, ns) in totals.items() if ns}


NO_UNITS: Final = EntryUnits()


def read_texts(data: bytes) -> tuple[str, ...]:
    """Return the texts of a file, as far as they make sense; the first has the number 1."""
    texts, at = [], _COUNT.size
    count = _COUNT.unpack_from(data)[0] if len(data) >= at else 0
    for _ in range(max(0, min(count, _TEXTS_MAX))):
        if at + _LENGTH.size > len(data):
            break
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        texts.append(data[at : at + length].decode("utf-8", "replace")[:_CHARACTERS_MAX])
        at += length
    return tuple(texts)


def read_units(data: bytes, texts: Sequence[str]) -> EntryUnits:
    """Return the units of a pool entry from its `WORDS` in *data*; what makes no sense is left out."""
    if len(data) < WORDS * 8 or data == _ZEROS:
        return NO_UNITS
    ns = struct.unpack_from(f"<{UNITS_MAX + 1}q", data)
    numbers = struct.unpack_from(f"<{UNITS_MAX}H", data, _NAMES_AT * 8)
    indexes = data[_CHECKOUTS_AT * 8 : _CHECKOUTS_AT * 8 + TRACKED_MAX]
    names = [texts[number - 1] if 0 < number <= len(texts) else "" for number in numbers] + [OTHER]
    used = {name: used for name, used in zip(names, ns, strict=True) if name and 0 <= used < _NUMBER_MAX}
    holders = [names[index - 1] if 0 < index <= len(names) else "" for index in indexes] if any(indexes) else ()
    return EntryUnits(used, holders)


class TextTable:
    """Writes the texts of one mapped file."""

    def __init__(self, data: memoryview) -> None:
        """Write into *data*, the bytes between the schema and the first pool entry, which are 0."""
        self._data, self._end = data, _COUNT.size
        self._count = data[: _COUNT.size].cast("q")
        self._numbers: dict[str, int] = {}

    def number_of(self, text: str) -> int:
        """Return the number of a text, which is added if it is new; 0 if there is no space for it."""
        number = self._numbers.get(text, 0)
        encoded = text.encode("utf-8", "replace")[:_BYTES_MAX]
        begin, end = self._end + _LENGTH.size, self._end + _LENGTH.size + len(encoded)
        if number or end > len(self._data) or len(self._numbers) == _TEXTS_MAX:
            return number
        self._data[self._end : begin], self._data[begin:end] = _LENGTH.pack(len(encoded)), encoded
        self._end, number = end, len(self._numbers) + 1
        self._numbers[text] = self._count[0] = number  # Last; on arm64 a reader may see it first.
        return number

    def release(self) -> None:
        """Release the views of the mapping."""
        self._count.release()
        self._data.release()


class UnitRows:
    """Writes the units of one pool entry.

    Attributes:
        ns_by_name: What was written last.
    """

    def __init__(self, words: memoryview, texts: TextTable) -> None:
        """Write into *words*, the `WORDS` of the entry, which are 0."""
        self._words, self._texts = words, texts
        self._indexes: dict[str, int] = {}
        self.ns_by_name: dict[str, int] = {}

    def write(self, ns_by_name: Mapping[str, int], held: Iterable[tuple[int, str]]) -> None:
        """Store the ended uses, which never fall, and the units of tracked checkouts.

        Args:
            ns_by_name: Nanoseconds of ended uses by the name of the unit.
            held: The slot of each tracked checkout with a unit, and the name of the unit.
        """
        held = list(held)
        if not held and not any(ns_by_name.values()) and not self.ns_by_name:  # As in most applications.
            return
        self.ns_by_name, other = dict(ns_by_name), 0
        for name, ns in ns_by_name.items():
            index = self._index_of(name)
            other += ns if index == UNITS_MAX else 0
            if index != UNITS_MAX:
                self._words[index] = ns
        self._words[UNITS_MAX] = other
        holders = bytearray(TRACKED_MAX + 7)
        for slot, name in held:
            if slot:
                holders[slot - CHECKOUT_TIMES] = self._index_of(name) + 1
        for at in range(WORDS - _CHECKOUTS_AT):
            self._words[_CHECKOUTS_AT + at] = int.from_bytes(holders[at * 8 : at * 8 + 8], "little", signed=True)

    def release(self) -> None:
        """Release the view of the mapping."""
        self._words.release()

    def _index_of(self, name: str) -> int:
        index = self._indexes.get(name)
        if index is not None:
            return index
        index = len(self._indexes)
        number = self._texts.number_of(name) if name != OTHER and index < UNITS_MAX else 0
        if not number:
            return UNITS_MAX
        self._indexes[name] = index
        word, shift = _NAMES_AT + index // 4, index % 4 * 16
        names = (self._words[word] & 0xFFFF_FFFF_FFFF_FFFF) | number << shift
        self._words[word] = int.from_bytes(names.to_bytes(8, "little"), "little", signed=True)
        return index
