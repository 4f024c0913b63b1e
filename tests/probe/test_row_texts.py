"""Rows of a server: each text in them can be encoded, whatever a client is named."""

import asyncio

from pool_exporter.probe.server_connection import Row, ServerConnection


def test_texts_can_be_encoded() -> None:
    """A database without an encoding gives bytes, and a driver may give half a surrogate pair; all else is as it is."""

    async def execute(_: str) -> list[Row]:
        return [{"user": b"caf\xe9", "db": "a\udce9", "pid": 7, "state": None}]

    rows = asyncio.run(ServerConnection(5.0, execute, lambda: None).fetch("SELECT 1"))

    assert [{"user": "caf\N{REPLACEMENT CHARACTER}", "db": "a?", "pid": 7, "state": None}] == rows
