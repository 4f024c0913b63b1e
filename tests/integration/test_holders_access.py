"""Who may see what the workers hold, by a sidecar as a process: each kind of address, password and certificate."""

import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import bcrypt
import pytest

from tests.fixtures.certificates import Authority
from tests.fixtures.sidecar import Sidecar, UnixConnection, ask, basic, sidecar, worker

HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
OWNER = "Task-17"
"""The owner of a connection that the worker holds."""
PATHS = ("/", "/-/pools.json")
EVERYWHERE = ("0.0.0.0:0",)


@pytest.fixture(name="directory", scope="module")
def _directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a worker that holds a connection."""
    directory = tmp_path_factory.mktemp("held") / "shared"
    directory.mkdir()
    with worker(directory):
        yield directory


def shown(running: Sidecar, tls: ssl.SSLContext | None = None, **headers: str) -> set[bool]:
    """Return whether the page and the JSON show the owner."""
    answers = [running.ask(path, tls, **headers) for path in PATHS]

    assert {200} == {answer.status for answer in answers}
    assert {True} == {"orders" in answer.body for answer in answers}
    return {OWNER in answer.body for answer in answers}


def test_addresses(directory: Path, tmp_path: Path) -> None:
    """A loopback address and a unix socket show it, to a local Host; every other address, and other Hosts, do not."""
    addresses = ("127.0.0.1:0", *EVERYWHERE, f"unix:{tmp_path / 's'}")
    with sidecar(directory, addresses=addresses) as running:
        loopback, everywhere = (int(each.rpartition(":")[2]) for each in running.addresses[:2])
        local = Sidecar(running.process, running.log, [f"127.0.0.1:{loopback}"])
        wide = Sidecar(running.process, running.log, [f"0.0.0.0:{everywhere}"])
        with closing(UnixConnection(tmp_path / "s")) as connection:
            by_socket = [ask(connection, path).body for path in PATHS]

        assert ({True}, {False}) == (shown(local), shown(wide))
        assert {True} == {OWNER in body for body in by_socket}
        assert {False} == shown(local, Host=f"evil.example:{loopback}")
        assert {False} == shown(wide, Host="localhost", X_Forwarded_For="127.0.0.1")


def test_allowed(directory: Path) -> None:
    """--web.enable-diagnosis shows it to everyone."""
    with sidecar(directory, "--web.enable-diagnosis", addresses=EVERYWHERE) as running:
        assert {True} == shown(running, Host="metrics.example")


def test_password(directory: Path, tmp_path: Path) -> None:
    """Behind a password it is shown on every address; without the password nothing is."""
    file = tmp_path / "web.yml"
    file.write_text(f"basic_auth_users: {{alice: {HASH}}}")
    with sidecar(directory, "--web.config.file", file, addresses=EVERYWHERE) as running:
        assert {True} == shown(running, Authorization=basic("alice", "right"), Host="metrics.example")
        assert {401} == {running.ask(path).status for path in PATHS}


def test_certificates(directory: Path, tmp_path: Path) -> None:
    """Behind certificates of clients it is shown on every address."""
    authority = Authority(tmp_path / "authority")
    server, client = authority.server(), authority.client()
    file = tmp_path / "web.yml"
    file.write_text(
        f"tls_server_config: {{cert_file: {server.cert}, key_file: {server.key}, client_ca_file: {authority.cert}, "
        "client_auth_type: RequireAndVerifyClientCert}"
    )
    context = ssl.create_default_context(cafile=str(authority.cert))
    context.load_cert_chain(client.cert, client.key)
    with sidecar(directory, "--web.config.file", file, addresses=EVERYWHERE) as running:
        assert {True} == shown(running, context, Host="metrics.example")
