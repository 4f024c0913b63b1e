"""Words are stored whole, over whatever buffer they stand in."""

import mmap
import sys

import pytest

from pool_exporter.state import layout

LARGEST, SMALLEST = 2**63 - 1, -(2**63)


def test_new_words_are_zero() -> None:
    """A new pool's words are as many as the layout has, all zero."""
    assert [0] * layout.SLOT_COUNT == list(layout.new_slots())


def test_words_keep_every_64_bit_value() -> None:
    """A word gives back the very integer that was stored, to both ends of its range."""
    slots = layout.new_slots()

    slots[0], slots[layout.SLOT_COUNT - 1] = LARGEST, SMALLEST

    assert (LARGEST, SMALLEST) == (slots[0], slots[layout.SLOT_COUNT - 1])
    assert [0] * (layout.SLOT_COUNT - 2) == list(slots)[1:-1]


def test_words_of_two_pools_are_their_own() -> None:
    """What is written to one pool's words is seen in no other's."""
    one, other = layout.new_slots(), layout.new_slots()

    one[0] = 1

    assert 0 == other[0]


def test_words_over_a_mapping_are_in_the_mapping() -> None:
    """A view of a mapped file is words too: what is stored in it stands in the file, in the machine's byte order."""
    with mmap.mmap(-1, layout.SLOT_COUNT * 8) as mapping, memoryview(mapping) as view, view.cast("q") as slots:
        slots[1] = 258

        assert (258).to_bytes(8, sys.byteorder) == mapping[8:16]


@pytest.mark.parametrize("value", [LARGEST + 1, SMALLEST - 1, 0.5])
def test_what_is_no_word_is_refused_by_a_mapping(value: int) -> None:
    """A value that does not fit is an error where it is stored, and changes nothing."""
    slots = memoryview(bytearray(8)).cast("q")

    with pytest.raises((ValueError, TypeError)):
        slots[0] = value

    assert 0 == slots[0]
