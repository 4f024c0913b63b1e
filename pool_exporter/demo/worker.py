"""`python -m pool_exporter.demo.worker FD`: one worker of the demo's service, on the socket that it is given.

Its database comes on stdin. It serves until a signal comes, or until stdin is closed: then the demo is gone.
"""

import asyncio
import pickle
import socket
import sys

from pool_exporter.demo.database import Database
from pool_exporter.demo.run import own_accidents_unsaid, served, started, until_signal
from pool_exporter.demo.service import create_app


def main() -> None:
    """Serve."""
    database: Database = pickle.load(sys.stdin.buffer)  # noqa: S301  # our parent's
    listener = socket.socket(fileno=int(sys.argv[1]))
    with own_accidents_unsaid():
        asyncio.run(until_signal(_serve(database, listener)))


async def _serve(database: Database, listener: socket.socket) -> None:
    app, is_alone = create_app(database.engine()), asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), is_alone.set)
    async with started(app, database), served(app, listener):
        await is_alone.wait()
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


if __name__ == "__main__":
    main()
