"""An event loop with the time of a FakeClock: timeouts of half a minute take no time, and end when they are due."""

import asyncio

from tests.fakes import FakeClock

ROUNDS_MAX = 1000
QUIET_ROUNDS = 3
"""A timer that is due is found in one round and run in the next."""


class StillLoop(asyncio.SelectorEventLoop):
    """A real event loop that is run until nothing in it can go on by itself."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._fake = clock

    def time(self) -> float:
        """Return the clock's time in seconds."""
        return self._fake() / 1_000_000_000

    def settle(self) -> None:
        """Run until every task waits for the machine; AssertionError if that never happens."""
        self.run_until_complete(self._quiet())

    async def _quiet(self) -> None:
        quiet = 0
        for _ in range(ROUNDS_MAX):
            await asyncio.sleep(0)
            quiet = 0 if self._ready else quiet + 1  # type: ignore[attr-defined]  # callbacks that are due
            if quiet == QUIET_ROUNDS:
                return
        raise AssertionError(f"the loop did not come to rest in {ROUNDS_MAX} rounds")
