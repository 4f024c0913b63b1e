"""The health check: exit code 0 if a sidecar responds at the address, with any status, else 1 and a reason."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest

from tests.fixtures.certificates import Authority
from tests.fixtures.sidecar import command, sidecar


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Path:
    directory = tmp_path / "shared"
    directory.mkdir()
    return directory


def check(*arguments: str | Path) -> tuple[int, str]:
    """Run the health check; return its exit code and its output."""
    done = command("healthcheck", "--timeout=30", *arguments)

    assert "" == done.stdout
    return done.returncode, done.stderr


@contextmanager
def saying(words: bytes) -> Iterator[int]:
    """Serve a port that sends *words* on every connection and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)

        def serve() -> None:
            for _ in range(3):
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(words)
                    connection.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_healthy(directory: Path) -> None:
    """A sidecar that answers is healthy, at its port by any name of the machine and at its unix socket."""
    path = directory.parent / "s.sock"
    with sidecar(directory, addresses=(":0", f"unix:{path}")) as running:
        port = running.port
        addresses = [f":{port}", f"127.0.0.1:{port}", f"[::]:{port}", f"0.0.0.0:{port}", f"unix:{path}"]
        found = [check(address) for address in addresses]

    assert [(0, "")] * 5 == found


@pytest.mark.parametrize(
    "text",
    [
        f"basic_auth_users: {{alice: {bcrypt.hashpw(b'right', bcrypt.gensalt(4)).decode()}}}",
        "rate_limit: {interval: 1h, burst: 1}",
    ],
    ids=["password", "rate limit"],
)
def test_refusal_is_healthy(directory: Path, text: str) -> None:
    """A sidecar that only refuses the request is healthy: it responds."""
    file = directory.parent / "web.yml"
    file.write_text(text)
    with sidecar(directory, "--web.config.file", file) as running:
        found = [check(f":{running.port}") for _ in range(2)]

    assert [(0, "")] * 2 == found


@pytest.mark.parametrize("demand", ["", ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: CA"])
@pytest.mark.parametrize("version", ["TLS12", "TLS13"])
def test_tls_is_healthy(directory: Path, tmp_path: Path, demand: str, version: str) -> None:
    """A sidecar with TLS is found without an option, also one that wants a client certificate."""
    authority = Authority(tmp_path / "certificates")
    pair = authority.server()
    file = tmp_path / "web.yml"
    text = f"tls_server_config: {{cert_file: {pair.cert}, key_file: {pair.key}, max_version: {version}{demand}}}"
    file.write_text(text.replace("CA", str(authority.cert)))
    with sidecar(directory, "--web.config.file", file) as running:
        found = [check(f":{running.port}") for _ in range(3)]

    assert [(0, "")] * 3 == found


def test_no_server(tmp_path: Path) -> None:
    """At a port without a server, it is 1 and one line that says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = [check(f"127.0.0.1:{port}"), check(f"unix:{tmp_path}/none.sock")]

    assert [1, 1] == [code for code, _ in found]
    assert f"127.0.0.1:{port}: [Errno 111] Connection refused\n" == found[0][1]
    assert f"unix:{tmp_path}/none.sock: [Errno 2] No such file or directory\n" == found[1][1]


def test_no_response() -> None:
    """At a server that sends nothing, it is 1 in time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code, line = check(f":{listener.getsockname()[1]}", "--timeout=0.2")

    assert (1, True) == (code, "timed out" in line)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", "responds with status 500"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "responds with status 404"),
        (b"220 smtp.example ESMTP\r\n", "speaks neither HTTP nor HTTPS: "),
        (b"", "speaks neither HTTP nor HTTPS: "),
        (b"\x15\x03\x03\x00\x02\x02\x28", "speaks neither HTTP nor HTTPS: "),
    ],
)
def test_something_else_is_there(words: bytes, expected: str) -> None:
    """For a response of something else it is 1, with one line that describes the response."""
    with saying(words) as port:
        code, line = check(f"127.0.0.1:{port}")

    assert (1, 1) == (code, line.count("\n"))
    assert line.startswith(f"127.0.0.1:{port}: {expected}")


def test_bad_address() -> None:
    """A malformed address is exit code 2, as for every command."""
    code, line = check("nonsense")

    assert (2, True) == (code, "--web.listen-address='nonsense': must be an address such as" in line)


def test_standard_library_alone() -> None:
    """It imports nothing that has to be installed: it runs every few seconds."""
    code = "import sys, pool_exporter.commands.healthcheck; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    known = {*sys.stdlib_module_names, "pool_exporter", "__main__", "sitecustomize"}

    assert set() == {name for name in done.stdout.split() if not name.startswith("_")} - known
