"""The garbage collector goes through the objects of one file of tests, and not through those of all before it."""

import gc

EARLIER = [object()]
"""Made before the first test of this file."""


def test_earlier_objects_are_left_out() -> None:
    """What was there before the file's first test is in no collection; what a test makes is."""
    made = [object()]
    collected = {id(each) for each in gc.get_objects()}

    assert (False, True) == (id(EARLIER) in collected, id(made) in collected)
