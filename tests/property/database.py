"""A database that counts its connections: SQLite in memory, with connections that report their begin and end.

It is the oracle for what is open. It does not know pools, or what is measured.
"""

import sqlite3
from typing import Any
from weakref import WeakSet

from tests.fakes import FakeClock


class DriverConnection:
    """One connection of the driver. It ends by close(), or when nothing refers to it any more.

    It wraps SQLite's connection, which is part of a reference cycle and would end only when the garbage collector runs.
    """

    def __init__(self, database: "Database") -> None:
        self.database = database
        self.is_open = True
        #: Whether the present hooks count it; False after other hooks have replaced those that did.
        self.is_counted = True
        self._real = sqlite3.connect(":memory:", check_same_thread=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def close(self) -> None:
        """Close it, as a client does; closing twice does nothing."""
        if self.is_open:
            self.is_open = False
            self.database.closed += 1
        self._real.close()

    def kill(self) -> None:
        """End it as a server does: the client notices at the next use, and has it open until it closes it."""
        self._real.close()

    @property
    def is_killed(self) -> bool:
        """Whether the server has ended it."""
        try:
            return self._real.total_changes < 0
        except sqlite3.ProgrammingError:
            return True

    def __del__(self) -> None:
        if self.is_open:
            self.is_open = False
            self.database.dropped += 1
            self.database.lost += self.is_counted
        self._real.close()


class Database:
    """Opens connections, and counts how they end."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.opened = self.closed = self.dropped = 0
        #: How many of the dropped ones the present hooks count.
        self.lost = 0
        self.connections: WeakSet[DriverConnection] = WeakSet()
        #: How long opening a connection takes, and whether it then fails.
        self.opening_ns = 0
        self.is_refusing = False

    def connect(self) -> DriverConnection:
        """Open a connection; raise sqlite3.OperationalError when the server refuses it."""
        self.clock.advance_ns(self.opening_ns)
        if self.is_refusing:
            raise sqlite3.OperationalError("the server refuses connections")
        connection = DriverConnection(self)
        self.connections.add(connection)
        self.opened += 1
        return connection

    @property
    def open(self) -> int:
        """The number of connections that are open."""
        return self.opened - self.closed - self.dropped

    @property
    def counted(self) -> int:
        """The number of open connections that the present hooks count."""
        return sum(connection.is_open and connection.is_counted for connection in list(self.connections))
