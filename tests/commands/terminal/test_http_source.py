"""Where a server has the state of its pools, found from the URL that an operator has at hand."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from pool_exporter.commands.terminal.http_source import HttpSource, SourceError
from pool_exporter.web.status.pools_json import to_document
from pool_exporter.web.status.values import Status
from tests.fixtures.incidents import leak

Serve = Callable[[str], str]


@pytest.fixture(name="serve")
def _serve() -> Iterator[Serve]:
    """Return a function that serves the state at one path, and returns the server's URL without a path."""
    with ExitStack() as servers:

        def serve(path: str) -> str:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(200 if self.path == path else 404)
                    self.end_headers()
                    self.wfile.write(json.dumps(to_document(leak().status())).encode())

                def log_message(self, *arguments: object) -> None:
                    pass

            server = servers.enter_context(HTTPServer(("127.0.0.1", 0), Handler))
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            servers.callback(thread.join)
            servers.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}"

        yield serve


@pytest.mark.parametrize("given", ["", "/", "/metrics", "/metrics/", "/metrics/-/page", "/metrics/-/pools.json"])
@pytest.mark.parametrize("path", ["/-/pools.json", "/metrics/-/pools.json"])
def test_state_is_found(serve: Serve, path: str, given: str) -> None:
    """From the root, the metrics or the page, for an exporter beside `/metrics` and for one that is mounted there."""
    source = HttpSource(serve(path) + given)

    assert isinstance(source(), Status)
    assert isinstance(source(), Status)


def test_server_without_state(serve: Serve) -> None:
    """The error says what else to give."""
    with pytest.raises(SourceError, match=r"it has no /-/pools.json: give the URL of make_asgi_app\(\)"):
        HttpSource(serve("/other"))()
