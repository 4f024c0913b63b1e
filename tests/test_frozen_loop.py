"""The event loop with a clock that a test moves: timers wait for it, sockets do not, and a test that hangs is ended."""

import asyncio
import socket

import pytest

from tests.fixtures import frozen_loop
from tests.fixtures.frozen_loop import advance, becomes, frozen, turns


@frozen
async def test_timers_wait_for_the_clock() -> None:
    """A timer runs when the clock has reached its time, and not before; so do the timers that it sets."""
    loop, ran = asyncio.get_running_loop(), list[float]()
    loop.call_later(60, lambda: ran.append(loop.time()))
    loop.call_later(60, lambda: loop.call_later(60, lambda: ran.append(loop.time())))
    await turns()
    await advance(59.9)
    before = list(ran)
    await advance(0.1)
    await advance(60)

    assert ([], [60.0, 120.0]) == (before, ran)


@frozen
async def test_sockets_are_real() -> None:
    """Reading waits for what is sent, while the clock stands still."""
    loop, (own, peer) = asyncio.get_running_loop(), socket.socketpair()
    own.setblocking(False)
    reading = asyncio.ensure_future(loop.sock_recv(own, 10))
    await turns()
    peer.send(b"said")
    heard, now = await reading, loop.time()
    own.close()
    peer.close()

    assert (b"said", 0.0) == (heard, now)


def test_a_test_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for something that never comes is cancelled after a real time."""
    monkeypatch.setattr(frozen_loop, "REAL_SECONDS_MAX", 0.01)

    @frozen
    async def hang() -> None:
        await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        hang()


@frozen
async def test_becomes_says_what_it_saw() -> None:
    """What becomes right is waited for; what stays wrong is an error with the last value."""
    values = iter(range(100))
    await becomes(5, lambda: next(values))

    assert 6 == next(values)
