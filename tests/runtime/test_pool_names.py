"""Names of pools: unique among the living, free again afterwards, and found without a search."""

import time

from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.runtime.pool_names import PoolNames, without_number


def test_second_of_a_name_gets_a_number() -> None:
    """The first pool has the bare name, and each further one the next number, past names that are taken."""
    names = PoolNames()

    assert ["orders#2", "orders", "orders#3", "orders#2#2"] == [
        names.take(name) for name in ("orders#2", "orders", "orders", "orders#2")
    ]


def test_number_is_a_number() -> None:
    """Only what `take` adds is left out: no other text after a `#`."""
    names = ("orders", "orders#2", "orders#10", "orders#team", "orders#1", "orders#02", "#2", "orders#²", "orders#", "")

    assert ["orders", "orders", "orders", *names[3:]] == [without_number(name) for name in names]


def test_freed_names_are_taken_again() -> None:
    """The first free number is taken, the bare name first of all."""
    names = PoolNames()
    for _ in range(4):
        names.take("orders")
    for name in ("orders#3", "orders#2", "orders"):
        names.free(name)

    assert ["orders", "orders#2", "orders#3", "orders#5"] == [names.take("orders") for _ in range(4)]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["a", "a#2", "a#", "a#x", "a#2#2", "b#0", "", "#", "#2"]))))
def test_names_are_unique(steps: list[tuple[bool, str]]) -> None:
    """Whatever is taken and freed in whatever order, no two living pools have one name."""
    names, living = PoolNames(), list[str]()
    for is_new, name in steps:
        if is_new or not living:
            living.append(names.take(name))
        else:
            names.free(living.pop(len(name) % len(living)))

        assert len(set(living)) == len(living)


def test_a_number_too_long_to_read() -> None:
    """A name may end in more digits than Python turns into a number."""
    names, long = PoolNames(), "orders#" + "9" * 5000
    names.take("orders")
    names.free(names.take(long))

    assert [long, "orders#2"] == [names.take(long), names.take("orders")]


def test_thousands_of_one_name() -> None:
    """The 5,000th pool of one name is named as fast as the first; a search took half a millisecond."""
    names = PoolNames()
    for _ in range(5_000):
        names.take("orders")
    began = time.thread_time()
    for _ in range(100):
        names.free("orders#4000")
        names.take("orders")

    assert time.thread_time() - began < 0.025
