"""The tests' wire carries bytes both ways, or none, and closes the other side of what is closed."""

import socket

import pytest

from tests.fixtures.deadlines import until
from tests.fixtures.wire import wire


def dial(port: int) -> socket.socket:
    """Connect, with a short timeout."""
    return socket.create_connection(("127.0.0.1", port), timeout=0.2)


def test_bytes_go_both_ways_until_it_is_dead() -> None:
    """What is sent on one side arrives on the other; on a dead wire nothing arrives, until it is alive again."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        wire(server.getsockname()[1]) as line,
        dial(line.port) as client,
        server.accept()[0] as accepted,
    ):
        client.sendall(b"ask")
        assert b"ask" == accepted.recv(10)

        accepted.sendall(b"answer")
        assert b"answer" == client.recv(10)

        line.is_dead = True
        accepted.sendall(b"lost")
        with pytest.raises(TimeoutError):
            client.recv(10)

        line.is_dead = False
        accepted.sendall(b"found")
        assert b"found" == client.recv(10)


def test_end_of_one_side_is_the_others() -> None:
    """A client that hangs up is gone from both sides."""
    with socket.create_server(("127.0.0.1", 0)) as server, wire(server.getsockname()[1]) as line:
        client = dial(line.port)
        with server.accept()[0] as accepted:
            until(2, lambda: line.open)
            client.close()
            accepted.settimeout(5)
            assert b"" == accepted.recv(10)

            until(0, lambda: line.open)


def test_wire_without_a_server_accepts_and_sends_nothing() -> None:
    """It is dead from the start, and notices a client that hangs up."""
    with wire() as line:
        with dial(line.port) as client:
            client.sendall(b"ask")
            until(1, lambda: line.open)
            with pytest.raises(TimeoutError):
                client.recv(10)
        until(0, lambda: line.open)
