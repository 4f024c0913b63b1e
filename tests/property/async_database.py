"""The counting database for asyncio: a driver like aiosqlite without threads, so that all happens while the loop runs.

Each of its operations can be made to wait: the machine decides which waits, and when it goes on.
"""

import asyncio
import sqlite3
from collections.abc import Generator
from typing import Any
from weakref import WeakValueDictionary

from sqlalchemy.util.concurrency import in_greenlet
from typing_extensions import Self

OPERATIONS = ("connect", "ping", "rollback", "close")
PING = "SELECT 1"


class AsyncDriverConnection:
    """One connection of the driver, for SQLAlchemy's aiosqlite dialect."""

    isolation_level = ""
    _connection = True

    def __init__(self, database: "AsyncDatabase") -> None:
        self.database = database
        self.is_open = True
        self._real = sqlite3.connect(":memory:", check_same_thread=False)

    def cursor(self) -> "AsyncCursor":
        """Return a new cursor."""
        return AsyncCursor(self)

    async def create_function(self, *arguments: Any, **options: Any) -> None:
        """Add a function to SQL; the dialect does so with each new connection."""
        self._real.create_function(*arguments, **options)

    async def rollback(self) -> None:
        """End the transaction."""
        await self.database.passage("rollback")
        self._real.rollback()

    async def close(self) -> None:
        """Close it: it is open until that has ended, however it ends."""
        try:
            await self.database.passage("close")
        finally:
            self._end()
            self._real.close()

    def stop(self) -> None:
        """Close it at once, without the loop; outside of any task the garbage collector calls this."""
        self.database.terminated += self.is_open and not in_greenlet()
        self._end()
        self._real.close()

    def kill(self) -> None:
        """End it as the server does."""
        self._real.close()

    def _end(self) -> None:
        if self.is_open:
            self.is_open = False
            self.database.closed += 1

    def __del__(self) -> None:
        if self.is_open:
            self.is_open = False
            self.database.dropped += 1
        self._real.close()


class AsyncCursor:
    """A cursor; SQLAlchemy 2.0 awaits a new one, 2.1 enters it."""

    def __init__(self, connection: AsyncDriverConnection) -> None:
        self._connection = connection
        self._real = connection._real.cursor()

    def __await__(self) -> Generator[Any, None, "AsyncCursor"]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        return self

    @property
    def description(self) -> Any:
        """The columns of the last query."""
        return self._real.description

    async def execute(self, operation: str, parameters: Any = ()) -> None:
        """Execute one statement."""
        if operation == PING:
            await self._connection.database.passage("ping")
        self._real.execute(operation, parameters)

    async def fetchall(self) -> list[Any]:
        """Return all rows."""
        return self._real.fetchall()

    async def close(self) -> None:
        """Close the cursor."""
        self._real.close()


class AsyncDatabase:
    """Opens connections, counts how they end, and lets operations wait."""

    def __init__(self) -> None:
        self.opened = self.closed = self.dropped = self.terminated = 0
        self._connections: WeakValueDictionary[int, AsyncDriverConnection] = WeakValueDictionary()
        self.is_refusing = False
        #: The operations that have to wait from now on, and those that are waiting.
        self.barred: set[str] = set()
        self.waiting: list[asyncio.Future[None]] = []

    async def connect(self) -> AsyncDriverConnection:
        """Open a connection; raise sqlite3.OperationalError when the server refuses it."""
        await self.passage("connect")
        if self.is_refusing:
            raise sqlite3.OperationalError("the server refuses connections")
        connection = AsyncDriverConnection(self)
        self.opened += 1
        self._connections[self.opened] = connection
        return connection

    async def passage(self, operation: str) -> None:
        """Let an operation go on, now or when `let_pass` says so."""
        if operation in self.barred:
            waiting = asyncio.get_running_loop().create_future()
            self.waiting.append(waiting)
            try:
                await waiting
            finally:
                self.waiting.remove(waiting)

    def let_pass(self, n: int) -> None:
        """Let the n-th waiting operation go on, if there is one."""
        undecided = [waiting for waiting in self.waiting if not waiting.done()]
        if undecided:
            undecided[n % len(undecided)].set_result(None)

    def connections(self) -> list[AsyncDriverConnection]:
        """Return the open connections in the order of their opening."""
        return [connection for _, connection in sorted(self._connections.items()) if connection.is_open]

    @property
    def open(self) -> int:
        """The number of connections that are open."""
        return self.opened - self.closed - self.dropped
