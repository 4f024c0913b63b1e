"""`python -m pool_exporter.demo.worker FD`: one worker of the demo's service, on the listening socket FD.

It reads its database from stdin. It serves until a signal, or until stdin is closed, as when the demo has ended.
Nothing here may know the load or a scene.
"""

import asyncio
import pickle
import socket
import sys

from pool_exporter.demo.database import Database
from pool_exporter.demo.run import expected_errors_unlogged, served, started, until_signal
from pool_exporter.demo.service import create_app


def main() -> None:
    """Serve."""
    database: Database = pickle.load(sys.stdin.buffer)  # noqa: S301  # written by the parent process
    listener = socket.socket(fileno=int(sys.argv[1]))
    with expected_errors_unlogged():
        asyncio.run(until_signal(_serve(database, listener)))


async def _serve(database: Database, listener: socket.socket) -> None:
    app, has_demo_ended = create_app(database.engine()), asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), has_demo_ended.set)
    async with started(app, database), served(app, listener):
        await has_demo_ended.wait()
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


if __name__ == "__main__":
    main()
