"""The waits of `tests.fixtures.deadlines` end when they should, and keep nothing of what they observe."""

import asyncio
from collections.abc import Callable
from weakref import ref

import pytest

from tests.fixtures.deadlines import eventually, until

_FEW_SECONDS = 5


class Kept:
    """An object that its only holder drops when it is observed for the second time."""


def observed_twice() -> Callable[[], object]:
    """Return a function that returns an object at its first call, and None after that if nothing else holds it."""
    holder = [Kept()]
    reference, calls = ref(holder[0]), iter([lambda: None, holder.clear])

    def observe() -> object:
        next(calls, holder.clear)()
        return reference()

    return observe


def test_until_keeps_nothing() -> None:
    """An object that was alive at one observation can be freed before the next."""
    until(None, observed_twice(), _FEW_SECONDS)


@pytest.mark.asyncio
async def test_eventually_keeps_nothing() -> None:
    """The same holds while the event loop runs."""
    await eventually(None, observed_twice(), _FEW_SECONDS)


def test_until_shows_what_it_saw_last() -> None:
    """At the deadline, the error shows the last observation."""
    with pytest.raises(AssertionError, match="'ready' == 'starting'"):
        until("ready", lambda: "starting", 0)


def test_eventually_shows_what_it_saw_last() -> None:
    """The error shows the last observation there, too."""
    with pytest.raises(AssertionError, match="'ready' == 'starting'"):
        asyncio.run(eventually("ready", lambda: "starting", 0))
