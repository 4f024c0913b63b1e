"""`python -m tests.compiled.calls SEED`: random calls of the state machine on a fake clock, and the bytes of its slots.

Prints a line for each call: its name, what it returned, and a checksum of all slots, which are in a mapped file as
those of a worker are. Compiled and as Python, the same seed must print the same lines.
"""

import mmap
import random
import sys
import zlib
from collections.abc import Callable, Iterator

from pool_exporter.metrics.pool_metrics import CLOSE_REASONS, ERROR_TYPES
from pool_exporter.state.connection import Connection
from pool_exporter.state.layout import SLOT_COUNT, SLOT_FORMAT, Slots
from pool_exporter.state.pool_slots import UNLIMITED
from pool_exporter.state.pool_state import PoolState
from pool_exporter.units import Unit
from tests.fakes import FakeClock

CALLS = 3_000
SECONDS = (0.0, 1e-9, 0.0001, 0.00010001, 0.02, 3.0, 40.0)


class Calls:
    """One pool, its pending callers and its connections, and a random call at a time."""

    def __init__(self, seed: int) -> None:
        self.random, self.clock = random.Random(seed), FakeClock()
        self.file = mmap.mmap(-1, 8 * SLOT_COUNT)
        slots: Slots = memoryview(self.file).cast(SLOT_FORMAT)  # type: ignore[assignment]  # typeshed: no insert()
        self.state = PoolState(self.clock, self.random.choice((UNLIMITED, 1, 3, 40)), slots)
        self.tokens: list[int] = []
        self.connections: list[Connection] = []
        self.units = [None, Unit("first"), Unit("second")]

    def checksum(self) -> int:
        """Return that of the mapped bytes."""
        return zlib.crc32(self.file[:])

    def start(self) -> object:
        """A caller begins to wait."""
        self.tokens.append(self.state.acquire_started(self.random.choice(self.units)))
        return self.tokens[-1]

    def acquire(self) -> object:
        """A caller gets a connection, which may be used already, as a StaticPool's."""
        if not self.tokens or not self.connections:
            return self.open()
        caller = (None, "x", self.random.choice(self.units), None, 0, None, 0)
        checkout = self.random.choice((None, lambda: None, lambda: self))
        return self.state.acquired(self._token(), self.random.choice(self.connections), checkout, caller)

    def fail(self) -> object:
        """A caller gets an error."""
        return self.tokens and self.state.acquire_failed(self._token(), self.random.choice(ERROR_TYPES.values))

    def abandon(self) -> None:
        """A caller gives up."""
        if self.tokens:
            self.state.acquire_abandoned(self._token())

    def open(self) -> object:
        """A connection is opened."""
        took = self.random.choice((None, 5, 10**9))
        self.connections.append(self.state.opened(took, is_old=self.random.random() < 0.1))
        return self.connections[-1].slot

    def give_back(self) -> None:
        """A use ends by a return."""
        if not self.connections:
            return
        connection = self.random.choice(self.connections)
        connection.is_lost = self.random.random() < 0.1
        self.state.returned(connection, connection.checkout)

    def leave(self) -> None:
        """A use, or a connection, ends in another way."""
        if not self.connections:
            return
        connection = self.random.choice(self.connections)
        method = self.random.choice((self.state.released, self.state.detached))
        method(connection)

    def close(self) -> None:
        """A connection is closed."""
        if self.connections:
            self.state.closed(self.connections.pop(), self.random.choice(CLOSE_REASONS.values))

    def replace(self) -> None:
        """Another pool takes over."""
        self.state.replaced(self.random.choice((UNLIMITED, 2, 5)))

    def _token(self) -> int:
        return self.tokens.pop(self.random.randrange(len(self.tokens)))


METHODS: dict[Callable[[Calls], object], int] = {
    Calls.start: 9,
    Calls.acquire: 9,
    Calls.fail: 2,
    Calls.abandon: 1,
    Calls.open: 3,
    Calls.give_back: 8,
    Calls.leave: 2,
    Calls.close: 2,
    Calls.replace: 1,
}
"""How often each is called, relative to the others."""


def lines(seed: int) -> Iterator[str]:
    """Yield a line for each call."""
    calls = Calls(seed)
    for _ in range(CALLS):
        calls.clock.advance(calls.random.choice(SECONDS))
        (method,) = calls.random.choices([*METHODS], [*METHODS.values()])
        yield f"{method.__name__} {method(calls)} {calls.checksum():08x}"


if __name__ == "__main__":
    for line in lines(int(sys.argv[1])):
        sys.stdout.write(f"{line}\n")
